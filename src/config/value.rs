//! The types a key can have: how each is read from TOML and written back.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;
use ruma::{OwnedServerName, OwnedUserId, RoomVersionId};
use toml::{Spanned, de::DeValue};
use url::Url;

use crate::section::{Description, Shown, Source};

/// A value of the configuration.
pub(crate) trait Value: Sized {
    /// Reads it; on a problem notes that and gives nothing.
    fn read<'t>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<Self>;
    /// Writes it in TOML; empty if there is none.
    fn show(&self) -> String;
    /// What the example says of the type, if that is not clear from the default.
    fn note() -> Option<String> {
        None
    }
    /// The keys of its entries, if the value is a list of tables; its keys, if it is one table.
    fn entries() -> Option<Description> {
        None
    }
    /// What stands in each of its tables, if the value is a table or a list of them.
    fn tables(&self) -> Vec<Vec<Shown>> {
        Vec::new()
    }
    /// Whether a value may stand several times.
    fn is_list() -> bool {
        false
    }
}

/// A value that TOML writes as a string, and what such a string looks like.
pub(crate) trait Text: Sized {
    const EXPECTED: &'static str;
    /// The value, or why it is none; an empty reason is replaced by what was expected.
    fn parse(text: &str) -> Result<Self, String>;
    fn text(&self) -> String;
}

fn read_text<'t, T: Text>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<T> {
    let Some(text) = value.get_ref().as_str() else {
        source.wrong(key, value, format!("must be {}, not {}", T::EXPECTED, kind(value.get_ref())));
        return None;
    };
    T::parse(text)
        .map_err(|reason| {
            let why = if reason.is_empty() { format!("must be {}", T::EXPECTED) } else { reason };
            source.wrong(key, value, format!("{why}, not {}", quote(text)));
        })
        .ok()
}

/// A basic string of TOML.
pub(crate) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// What a TOML value is, for messages.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text in quotes",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

macro_rules! text_values {
    ($($Type:ty),*) => {$(
        impl Value for $Type {
            fn read<'t>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<Self> {
                read_text(source, key, value)
            }

            fn show(&self) -> String {
                quote(&Text::text(self))
            }
        }
    )*};
}
text_values!(String, PathBuf, SocketAddr, IpNet, Url, OwnedServerName, OwnedUserId, RoomVersionId, Duration);

/// Lets a section be a value: a table in a section, or an entry of a list of tables.
macro_rules! section_as_value {
    ($Section:ty) => {
        impl $crate::value::Value for $Section {
            fn read<'t>(
                source: &mut $crate::section::Source<'t>,
                key: &str,
                value: &toml::Spanned<toml::de::DeValue<'t>>,
            ) -> Option<Self> {
                source.table(key, value)
            }

            fn show(&self) -> String {
                $crate::section::Section::inline(self)
            }

            fn entries() -> Option<$crate::section::Description> {
                Some(<Self as $crate::section::Section>::describe())
            }

            fn tables(&self) -> Vec<Vec<$crate::section::Shown>> {
                vec![$crate::section::Section::values(self)]
            }
        }

        // Ranges of keys need an order; sections have none.
        impl PartialOrd for $Section {
            fn partial_cmp(&self, _: &Self) -> Option<std::cmp::Ordering> {
                None
            }
        }
    };
}
pub(crate) use section_as_value;

macro_rules! parsed_texts {
    ($($Type:ty: $expected:literal;)*) => {$(
        impl Text for $Type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| String::new())
            }

            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
parsed_texts! {
    SocketAddr: "an address and port such as \"127.0.0.1:8008\" or \"[::1]:8008\"";
}

impl Text for IpNet {
    const EXPECTED: &'static str =
        "an address such as \"10.0.0.1\", or a network such as \"10.0.0.0/8\" or \"fd00::/8\"";

    /// An address is the network of it alone.
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(Self::from)).map_err(|_| String::new())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for String {
    const EXPECTED: &'static str = "text in quotes";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn text(&self) -> String {
        self.clone()
    }
}

impl Text for PathBuf {
    const EXPECTED: &'static str = "a path in quotes";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(text.into()) }
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Text for Url {
    const EXPECTED: &'static str = "a URL such as \"https://matrix.example.org\"";

    fn parse(text: &str) -> Result<Self, String> {
        Url::parse(text).map_err(|_| String::new())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for OwnedServerName {
    const EXPECTED: &'static str = "a server name such as \"example.org\"";

    fn parse(text: &str) -> Result<Self, String> {
        text.try_into().map_err(|_| String::new())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for OwnedUserId {
    const EXPECTED: &'static str = "an address in Matrix such as \"@admin:example.org\"";

    fn parse(text: &str) -> Result<Self, String> {
        text.try_into().map_err(|_| String::new())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for RoomVersionId {
    const EXPECTED: &'static str = "a room version such as \"12\"";

    fn parse(text: &str) -> Result<Self, String> {
        text.try_into().map_err(|_| String::new())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// The units of durations, largest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

impl Text for Duration {
    const EXPECTED: &'static str = "a time such as \"30s\", \"5m\", \"12h\" or \"7d\"";

    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(String::new)?;
        let number: u64 = number.parse().map_err(|_| String::new())?;
        number.checked_mul(*unit_ms).map(Duration::from_millis).ok_or_else(String::new)
    }

    fn text(&self) -> String {
        let ms = u64::try_from(self.as_millis()).unwrap_or(u64::MAX);
        let (unit, unit_ms) =
            UNITS.iter().find(|(_, unit_ms)| ms >= *unit_ms && ms % unit_ms == 0).unwrap_or(&UNITS[3]);
        format!("{}{unit}", ms / unit_ms)
    }
}

macro_rules! numbers {
    ($($Type:ty),*) => {$(
        impl Value for $Type {
            fn read<'t>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<Self> {
                let Some(integer) = value.get_ref().as_integer() else {
                    source.wrong(key, value, format!("must be a whole number, not {}", kind(value.get_ref())));
                    return None;
                };
                let read = <$Type>::from_str_radix(integer.as_str(), integer.radix());
                if read.is_err() {
                    let highest = <$Type>::MAX;
                    source.wrong(key, value, format!("must be a whole number from 0 to {highest}, not {integer}"));
                }
                read.ok()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
numbers!(u16, u32, u64, usize);

impl Value for bool {
    fn read<'t>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<Self> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            source.wrong(key, value, format!("must be true or false, not {}", kind(value.get_ref())));
        }
        read
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    fn read<'t>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<Self> {
        T::read(source, key, value).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(Value::show).unwrap_or_default()
    }

    fn note() -> Option<String> {
        T::note()
    }

    fn entries() -> Option<Description> {
        T::entries()
    }

    fn tables(&self) -> Vec<Vec<Shown>> {
        self.as_ref().map(Value::tables).unwrap_or_default()
    }
}

impl<T: Value> Value for Vec<T> {
    fn read<'t>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<Self> {
        let Some(list) = value.get_ref().as_array() else {
            // A list of one needs no brackets.
            return T::read(source, key, value).map(|one| vec![one]);
        };
        let read: Vec<Option<T>> = list.iter().map(|entry| T::read(source, key, entry)).collect();
        read.into_iter().collect()
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(Value::show).collect::<Vec<_>>().join(", "))
    }

    fn note() -> Option<String> {
        T::note()
    }

    fn entries() -> Option<Description> {
        T::entries()
    }

    fn tables(&self) -> Vec<Vec<Shown>> {
        self.iter().flat_map(Value::tables).collect()
    }

    fn is_list() -> bool {
        true
    }
}

/// Declares an enum whose values are words in the file.
macro_rules! choices {
    (
        $(#[$about:meta])*
        pub enum $Enum:ident {
            $($(#[doc = $doc:literal])* $Variant:ident = $word:literal,)*
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq, PartialOrd)]
        pub enum $Enum {
            $($(#[doc = $doc])* $Variant,)*
        }

        impl $crate::value::Value for $Enum {
            fn read<'t>(
                source: &mut $crate::section::Source<'t>,
                key: &str,
                value: &toml::Spanned<toml::de::DeValue<'t>>,
            ) -> Option<Self> {
                const WORDS: &[&str] = &[$($word),*];
                match value.get_ref().as_str() {
                    $(Some($word) => Some(Self::$Variant),)*
                    other => {
                        let near = other.and_then(|word| $crate::problem::nearest(word, WORDS.iter().copied()));
                        let hint = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
                        source.wrong(key, value, format!("must be one of \"{}\"{hint}", WORDS.join("\", \"")));
                        None
                    }
                }
            }

            fn show(&self) -> String {
                match self {
                    $(Self::$Variant => format!("\"{}\"", $word),)*
                }
            }

            fn note() -> Option<String> {
                let lines = [$((concat!("\"", $word, "\""), [$($doc),*].concat())),*];
                Some(lines.map(|(word, about)| format!("{word}: {}", about.trim())).join("\n"))
            }
        }
    };
}
pub(crate) use choices;
