//! The declaration of a section, and the reader behind it.
//!
//! ```text
//! section! {
//!     /// What the section is about.
//!     [log]
//!     pub struct Log {
//!         /// What the key means.
//!         format: LogFormat = preset(LogFormat::Text),
//!         read_threads: usize = preset(4).within(1..=64),
//!         listen: Option<SocketAddr> = optional("127.0.0.1:9008"),
//!         name: OwnedServerName = required("example.org"),
//!     }
//! }
//! ```

use std::{collections::BTreeMap, ops::RangeInclusive};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    problem::{Problem, nearest},
    value::Value,
};

/// What a key is when the file does not set it, and what it may be.
pub(crate) struct Preset<T> {
    default: Option<T>,
    example: Option<&'static str>,
    range: Option<(T, T)>,
}

/// A key with a default.
pub(crate) fn preset<T>(default: T) -> Preset<T> {
    Preset { default: Some(default), example: None, range: None }
}

/// A key that may be left out, which means something by itself; the example is in TOML.
pub(crate) fn optional<T>(example: &'static str) -> Preset<Option<T>> {
    Preset { default: Some(None), example: Some(example), range: None }
}

/// A key that must be set; the example is in TOML.
pub(crate) fn required<T>(example: &'static str) -> Preset<T> {
    Preset { default: None, example: Some(example), range: None }
}

impl<T> Preset<T> {
    /// Refuses values outside this range.
    pub(crate) fn within(self, range: RangeInclusive<T>) -> Self {
        Self { range: Some(range.into_inner()), ..self }
    }

    /// Shows this in the example instead of the default.
    pub(crate) fn shown_as(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }
}

/// A section of the file. Implemented by [`section!`] only.
pub(crate) trait Section: Sized {
    /// Its name in the file.
    const NAME: &'static str;
    /// Takes what the file says; `None` if there was a problem, which is then noted.
    fn read(table: &mut Keys<'_, '_>) -> Option<Self>;
    /// Its documentation.
    fn describe() -> Description;
    /// The values, in the order of the description.
    fn values(&self) -> Vec<Shown>;

    /// The section as a table on one line.
    fn inline(&self) -> String {
        let keys = Self::describe().keys.into_iter().zip(self.values()).filter(|(_, value)| !value.text.is_empty());
        let keys: Vec<_> = keys.map(|(key, value)| format!("{} = {}", key.name, value.text)).collect();
        format!("{{ {} }}", keys.join(", "))
    }
}

/// A value as it is written.
pub(crate) struct Shown {
    /// In TOML, on one line; empty if there is none.
    pub(crate) text: String,
    /// What stands in each of its tables, if it is a table or a list of them.
    pub(crate) tables: Vec<Vec<Shown>>,
}

impl Shown {
    pub(crate) fn of(value: &impl Value) -> Self {
        Self { text: value.show(), tables: value.tables() }
    }
}

/// The documentation of a section.
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) about: Vec<&'static str>,
    pub(crate) keys: Vec<Key>,
}

/// The documentation of a key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) about: Vec<&'static str>,
    /// In TOML; none if the key must be set, empty if it is unset by default.
    pub(crate) default: Option<String>,
    /// What the example shows, in TOML.
    pub(crate) example: String,
    /// What follows the documentation: the range, the choices.
    pub(crate) note: Option<String>,
    /// The value is a table, or a list of tables, whose keys these are.
    pub(crate) entries: Option<Description>,
    /// The value is a list.
    pub(crate) is_list: bool,
}

impl Key {
    pub(crate) fn of<T: Value + PartialOrd>(name: &'static str, about: &[&'static str], preset: &Preset<T>) -> Self {
        let default = preset.default.as_ref().map(Value::show);
        let range = preset.range.as_ref().map(|(low, high)| format!("From {} to {}.", low.show(), high.show()));
        Self {
            name,
            about: about.to_vec(),
            example: preset.example.map_or_else(|| default.clone().unwrap_or_default(), str::to_owned),
            default,
            note: range.or_else(T::note),
            entries: T::entries(),
            is_list: T::is_list(),
        }
    }
}

/// Declares a section: see the head of this file.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        [$name:ident]
        pub struct $Section:ident {
            $($(#[doc = $doc:literal])* $key:ident: $Type:ty = $preset:expr,)*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Section {
            $($(#[doc = $doc])* pub $key: $Type,)*
        }

        impl $crate::section::Section for $Section {
            const NAME: &'static str = stringify!($name);

            fn read(table: &mut $crate::section::Keys<'_, '_>) -> Option<Self> {
                $(let $key = table.take::<$Type>(stringify!($key), $preset);)*
                table.no_others(&[$(stringify!($key)),*]);
                Some(Self { $($key: $key?,)* })
            }

            fn describe() -> $crate::section::Description {
                $crate::section::Description {
                    name: stringify!($name),
                    about: vec![$($about),*],
                    keys: vec![$($crate::section::Key::of::<$Type>(stringify!($key), &[$($doc),*], &$preset)),*],
                }
            }

            fn values(&self) -> Vec<$crate::section::Shown> {
                vec![$($crate::section::Shown::of(&self.$key)),*]
            }
        }
    };
}
pub(crate) use section;

/// A file while it is read: its sections and the problems found so far.
pub(crate) struct Source<'t> {
    text: &'t str,
    root: DeTable<'t>,
    problems: Vec<Problem>,
    /// Where each key stands that the file sets, for problems found later.
    places: BTreeMap<String, usize>,
}

impl<'t> Source<'t> {
    pub(crate) fn new(text: &'t str) -> Result<Self, Vec<Problem>> {
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_of(text, span.start));
            vec![Problem { line, key: None, message: error.message().to_owned() }]
        })?;
        Ok(Self { text, root: root.into_inner(), problems: Vec::new(), places: BTreeMap::new() })
    }

    pub(crate) fn section<S: Section>(&mut self) -> Option<S> {
        let empty = Spanned::new(0..0, DeValue::Table(DeTable::new()));
        let value = self.root.remove(S::NAME).unwrap_or(empty);
        self.table(S::NAME, &value)
    }

    /// Reads a table as a section, under the path of its key.
    pub(crate) fn table<S: Section>(&mut self, path: &str, value: &Spanned<DeValue<'t>>) -> Option<S> {
        let line = (!value.span().is_empty()).then(|| line_of(self.text, value.span().start));
        let DeValue::Table(table) = value.get_ref() else {
            self.problems.push(Problem {
                line,
                key: Some(path.to_owned()),
                message: format!("is a section: write it as [{path}]"),
            });
            return None;
        };
        let before = self.problems.len();
        let section = S::read(&mut Keys { source: self, table: table.clone(), path, line });
        section.filter(|_| self.problems.len() == before)
    }

    pub(crate) fn no_other_sections(&mut self, valid: &[&str]) {
        for (key, _) in std::mem::take(&mut self.root) {
            self.unknown("", &key, valid);
        }
    }

    fn unknown(&mut self, path: &str, key: &Spanned<std::borrow::Cow<'t, str>>, valid: &[&str]) {
        let name: &str = key.get_ref();
        let what = if path.is_empty() { "section" } else { "key" };
        let message = match nearest(name, valid.iter().copied()) {
            Some(near) => format!("there is no such {what}; did you mean \"{near}\"?"),
            None => format!("there is no such {what}; valid are: {}", valid.join(", ")),
        };
        let line = Some(line_of(self.text, key.span().start));
        self.problems.push(Problem { line, key: Some(join(path, name)), message });
    }

    /// Notes a problem with the value at this place.
    pub(crate) fn wrong(&mut self, key: &str, value: &Spanned<DeValue<'t>>, message: impl Into<String>) {
        let line = Some(line_of(self.text, value.span().start));
        self.problems.push(Problem { line, key: Some(key.to_owned()), message: message.into() });
    }

    /// Notes a problem with a key, found after reading: on its line if the file sets it.
    pub(crate) fn refuse(&mut self, key: &str, message: impl Into<String>) {
        let line = self.places.get(key).copied();
        self.problems.push(Problem { line, key: Some(key.to_owned()), message: message.into() });
    }

    /// The problems, in the order of the file.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }
}

/// The keys of one section that have not been taken yet.
pub(crate) struct Keys<'s, 't> {
    source: &'s mut Source<'t>,
    table: DeTable<'t>,
    path: &'s str,
    line: Option<usize>,
}

impl Keys<'_, '_> {
    pub(crate) fn take<T: Value + PartialOrd>(&mut self, name: &str, preset: Preset<T>) -> Option<T> {
        let key = join(self.path, name);
        let Some(value) = self.table.remove(name) else {
            if preset.default.is_none() {
                let example = preset.example.unwrap_or_default();
                let message = format!("must be set, for example: {name} = {example}");
                self.source.problems.push(Problem { line: self.line, key: Some(key), message });
            }
            return preset.default;
        };
        self.source.places.insert(key.clone(), line_of(self.source.text, value.span().start));
        let read = T::read(self.source, &key, &value)?;
        if let Some((low, high)) = &preset.range
            && !(low..=high).contains(&&read)
        {
            let message = format!("must be from {} to {}, not {}", low.show(), high.show(), read.show());
            self.source.wrong(&key, &value, message);
            return None;
        }
        Some(read)
    }

    pub(crate) fn no_others(&mut self, valid: &[&str]) {
        for (key, _) in std::mem::take(&mut self.table) {
            self.source.unknown(self.path, &key, valid);
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
