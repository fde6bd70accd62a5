//! The one codec of keys: tuples of parts whose bytes sort as the tuples do.
//!
//! Integers are big endian (signed ones with the sign bit flipped). Strings end with `00 01`, and a zero byte inside
//! one is written `00 FF`: a shorter string sorts before its extensions, and a reader knows where it ends.

use depesche_store::Position;
use ruma::{OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId};

/// Something that can stand in a key.
pub trait KeyPart: Sized {
    /// Appends the part.
    fn write(&self, out: &mut Vec<u8>);
    /// Takes the part off the front; `None` if the bytes are not one.
    fn read(input: &mut &[u8]) -> Option<Self>;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl KeyPart for $integer {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn read(input: &mut &[u8]) -> Option<Self> {
                let (bytes, rest) = input.split_first_chunk()?;
                *input = rest;
                Some(Self::from_be_bytes(*bytes))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64);

impl KeyPart for i32 {
    fn write(&self, out: &mut Vec<u8>) {
        (self.cast_unsigned() ^ (1 << 31)).write(out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        Some((u32::read(input)? ^ (1 << 31)).cast_signed())
    }
}

impl KeyPart for Position {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        u64::read(input).map(Self)
    }
}

impl KeyPart for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_text(self, out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        read_text(input)
    }
}

/// Opaque bytes, for hashes.
impl<const N: usize> KeyPart for [u8; N] {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let (bytes, rest) = input.split_first_chunk()?;
        *input = rest;
        Some(*bytes)
    }
}

macro_rules! identifiers {
    ($($identifier:ty),*) => {$(
        impl KeyPart for $identifier {
            fn write(&self, out: &mut Vec<u8>) {
                write_text(self.as_str(), out);
            }

            fn read(input: &mut &[u8]) -> Option<Self> {
                read_text(input)?.try_into().ok()
            }
        }
    )*};
}
identifiers!(OwnedUserId, OwnedRoomId, OwnedEventId, OwnedRoomAliasId, OwnedServerName);

impl KeyPart for OwnedDeviceId {
    fn write(&self, out: &mut Vec<u8>) {
        write_text(self.as_str(), out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        read_text(input).map(Self::from)
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let mut stretches = text.as_bytes().split(|byte| *byte == 0);
    out.extend_from_slice(stretches.next().unwrap_or_default());
    for stretch in stretches {
        out.extend_from_slice(&[0, 0xFF]);
        out.extend_from_slice(stretch);
    }
    out.extend_from_slice(&[0, 1]);
}

fn read_text(input: &mut &[u8]) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let (stretch, rest) = input.split_at(input.iter().position(|byte| *byte == 0)?);
        text.extend_from_slice(stretch);
        let (mark, rest) = rest.get(1..)?.split_first()?;
        *input = rest;
        match mark {
            0xFF => text.push(0),
            1 => return String::from_utf8(text).ok(),
            _ => return None,
        }
    }
}

/// A whole key of a table.
pub trait Key: Sized {
    /// Appends the parts.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads the parts; `None` unless the bytes are exactly one key.
    fn read(input: &[u8]) -> Option<Self>;
}

/// The first parts of a key: ranges are named by them.
pub trait Prefix<K> {
    /// Appends the parts.
    fn write(&self, out: &mut Vec<u8>);
}

macro_rules! tuples {
    ($(($($part:ident $index:tt),*)),* $(,)?) => {$(
        impl<$($part: KeyPart),*> Key for ($($part,)*) {
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$index.write(out);)*
            }

            fn read(mut input: &[u8]) -> Option<Self> {
                let key = ($($part::read(&mut input)?,)*);
                input.is_empty().then_some(key)
            }
        }
    )*};
}
tuples!((A 0), (A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3), (A 0, B 1, C 2, D 3, E 4));

macro_rules! prefixes {
    ($(($($part:ident $index:tt),*) of ($($whole:ident),*)),* $(,)?) => {$(
        impl<$($whole: KeyPart),*> Prefix<($($whole,)*)> for ($($part,)*) {
            fn write(&self, out: &mut Vec<u8>) {
                $(self.$index.write(out);)*
            }
        }
    )*};
}
prefixes!(
    (A 0) of (A, B),
    (A 0) of (A, B, C),
    (A 0) of (A, B, C, D),
    (A 0) of (A, B, C, D, E),
    (A 0, B 1) of (A, B, C),
    (A 0, B 1) of (A, B, C, D),
    (A 0, B 1) of (A, B, C, D, E),
    (A 0, B 1, C 2) of (A, B, C, D),
    (A 0, B 1, C 2) of (A, B, C, D, E),
    (A 0, B 1, C 2, D 3) of (A, B, C, D, E),
);

/// Every key of the table.
impl<K> Prefix<K> for () {
    fn write(&self, _: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes<K: Key>(key: &K) -> Vec<u8> {
        let mut out = Vec::new();
        key.write(&mut out);
        out
    }

    proptest! {
        #[test]
        fn sorts_as_the_tuples_do(a in any::<(String, u32, i32)>(), b in any::<(String, u32, i32)>()) {
            prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.cmp(&b));
        }

        #[test]
        fn reads_what_it_wrote(key in any::<(String, u64, String, i32, u8)>()) {
            prop_assert_eq!(Key::read(&bytes(&key)), Some(key));
        }

        #[test]
        fn reads_no_other_bytes(noise in any::<Vec<u8>>()) {
            if let Some(key) = <(String, u16) as Key>::read(&noise) {
                prop_assert_eq!(bytes(&key), noise);
            }
        }
    }
}
