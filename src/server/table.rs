//! A table: a number that begins its keys, a type of keys and a type of values.

use std::marker::PhantomData;

use bytes::Bytes;
use depesche_store::Range;

use crate::codec::{Key, Prefix};

/// A typed part of the ordered map.
pub struct Table<K, V> {
    /// The first byte of each key. Never reused; from [`depesche_store::VOLATILE_FROM`] on the table is volatile.
    pub number: u8,
    /// The name, for people.
    pub name: &'static str,
    types: PhantomData<fn() -> (K, V)>,
}

/// A stored value: how it becomes bytes and back.
pub trait Record: Sized {
    /// The bytes to store.
    fn encode(&self) -> Bytes;
    /// The value; an older version is brought up to date here. `None` if the bytes are not one.
    fn decode(bytes: &Bytes) -> Option<Self>;
}

impl<K: Key, V: Record> Table<K, V> {
    /// Declares a table: see `keyspace.rs`.
    pub const fn new(number: u8, name: &'static str) -> Self {
        Self { number, name, types: PhantomData }
    }

    /// The same rows, their values as they are stored.
    pub const fn stored(&self) -> Table<K, Bytes> {
        Table::new(self.number, self.name)
    }

    /// The stored key.
    pub fn key(&self, key: &K) -> Bytes {
        let mut out = Vec::with_capacity(48);
        out.push(self.number);
        key.write(&mut out);
        out.into()
    }

    /// The key from its stored form.
    pub fn parse(&self, bytes: &[u8]) -> Option<K> {
        let (number, rest) = bytes.split_first()?;
        (*number == self.number).then(|| K::read(rest)).flatten()
    }

    /// All keys that begin with these parts.
    pub fn under(&self, prefix: &impl Prefix<K>) -> Range {
        Range::prefix(self.prefix(prefix))
    }

    /// Keys that begin with these parts and are at or above `from`.
    pub fn from(&self, prefix: &impl Prefix<K>, from: &K) -> Range {
        Range::new(self.key(from), Range::prefix(self.prefix(prefix)).to)
    }

    /// Keys that begin with these parts and are behind `last`.
    pub fn behind(&self, prefix: &impl Prefix<K>, last: &K) -> Range {
        self.under(prefix).behind(&self.key(last))
    }

    /// Keys that begin with these parts and are below `to`.
    pub fn before(&self, prefix: &impl Prefix<K>, to: &K) -> Range {
        Range::new(self.prefix(prefix), self.key(to))
    }

    /// Keys from one to before another.
    pub fn between(&self, from: &K, to: &K) -> Range {
        Range::new(self.key(from), self.key(to))
    }

    fn prefix(&self, prefix: &impl Prefix<K>) -> Bytes {
        let mut out = Vec::with_capacity(48);
        out.push(self.number);
        prefix.write(&mut out);
        out.into()
    }
}

/// A value that says nothing: the key is the fact.
impl Record for () {
    fn encode(&self) -> Bytes {
        Bytes::new()
    }

    fn decode(_: &Bytes) -> Option<Self> {
        Some(())
    }
}

/// Text stored as it is, JSON above all.
impl Record for String {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

/// Bytes stored as they are.
impl Record for Bytes {
    fn encode(&self) -> Bytes {
        self.clone()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        Some(bytes.clone())
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Record for $number {
            fn encode(&self) -> Bytes {
                Bytes::copy_from_slice(&self.to_be_bytes())
            }

            fn decode(bytes: &Bytes) -> Option<Self> {
                Some(Self::from_be_bytes(bytes.as_ref().try_into().ok()?))
            }
        }
    )*};
}
numbers!(u32, u64);

/// Declares that a type is stored with [postcard](https://postcard.jamesmunns.com/) behind a version byte.
///
/// A field may be added only with a new version; `decode` of the older one is then written by hand, and the schema is
/// raised (`schemas.rs`), so that no older program takes the new rows for damage.
#[macro_export]
macro_rules! record {
    ($type:ty, $version:literal) => {
        impl $crate::table::Record for $type {
            fn encode(&self) -> ::bytes::Bytes {
                $crate::table::encode(self, $version)
            }

            fn decode(bytes: &::bytes::Bytes) -> Option<Self> {
                $crate::table::decode(bytes, $version)
            }
        }
    };
}

/// The version byte and the value.
pub fn encode(value: &impl serde::Serialize, version: u8) -> Bytes {
    // Most records fit; each time the bytes outgrow their place they are copied.
    let mut bytes = Vec::with_capacity(128);
    bytes.push(version);
    postcard::to_extend(value, bytes).expect("records hold no type that postcard cannot write").into()
}

/// The value, if the bytes are of this version and nothing follows.
pub fn decode<T: serde::de::DeserializeOwned>(bytes: &Bytes, version: u8) -> Option<T> {
    let (first, rest) = bytes.split_first()?;
    let (value, rest) = postcard::take_from_bytes(rest).ok()?;
    (*first == version && rest.is_empty()).then_some(value)
}
