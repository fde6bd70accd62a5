//! Whether a body is JSON, and of the form that all endpoints take.

use std::{borrow::Cow, collections::HashMap, fmt};

use bytes::Bytes;
use depesche_rules::bounds::MAX_JSON_DEPTH;
use ruma::api::error::ErrorKind;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{json, value::RawValue};

use crate::error::Error;

/// Checks that a body is one JSON object in UTF-8, nested at most [`MAX_JSON_DEPTH`] deep, with nothing behind it.
///
/// The types of the endpoint are read afterwards. They alone would let through what they skip or take as it is: raw
/// event contents, unknown fields, text behind the value, and an array in the place of an object.
pub fn check_json(bytes: &[u8]) -> Result<(), Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let checked = TopLevel.deserialize(&mut reader).and_then(|()| reader.end());
    checked.map_err(|error| {
        if error.is_data() {
            Error::bad_request(ErrorKind::BadJson, error.to_string())
        } else {
            Error::bad_request(ErrorKind::NotJson, format!("The request body is not JSON: {error}"))
        }
    })
}

/// The object with this one field that `true` or `false` alone stands for, if the body is that.
pub fn of_bare_flag(bytes: &[u8], field: &str) -> Option<Bytes> {
    let flag = match bytes.trim_ascii() {
        b"true" => true,
        b"false" => false,
        _ => return None,
    };
    Some(Bytes::from(json!({ field: flag }).to_string()))
}

/// Whether a body is an object with this field.
pub fn has_field(bytes: &[u8], field: &str) -> bool {
    let fields: Option<HashMap<Cow<'_, str>, &RawValue>> = serde_json::from_slice(bytes).ok();
    fields.is_some_and(|fields| fields.contains_key(field))
}

/// The body itself: an object and nothing else.
struct TopLevel;

impl<'de> DeserializeSeed<'de> for TopLevel {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(Nested { depth: 1 })
    }
}

/// A value at some depth; every string and number in it is read, so that broken ones are found.
#[derive(Clone, Copy)]
struct Nested {
    depth: usize,
}

impl Nested {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > MAX_JSON_DEPTH {
            return Err(E::custom(format_args!("nested more than {MAX_JSON_DEPTH} levels deep")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.depth == 1 { "a JSON object" } else { "a JSON value" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while map.next_key_seed(Text)?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An object's key, which must be a well-formed string like any other.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body is refused with, as an errcode.
    fn errcode(bytes: &[u8]) -> Option<String> {
        let error = check_json(bytes).err()?;
        Some(error.errcode().unwrap())
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(errcode(nested(MAX_JSON_DEPTH).as_bytes()), None);
        assert_eq!(errcode(nested(MAX_JSON_DEPTH + 1).as_bytes()).as_deref(), Some("M_BAD_JSON"));
        // So deep that reading it by recursion would overflow the stack.
        assert!(errcode(nested(1_000_000).as_bytes()).is_some());
    }

    #[test]
    fn only_one_whole_object_is_a_body() {
        for (body, expected) in [
            (r#"{"a":[1,2.5,"b",null,true,{}]}"#, None),
            ("{} ", None),
            ("[]", Some("M_BAD_JSON")),
            ("1", Some("M_BAD_JSON")),
            ("", Some("M_NOT_JSON")),
            ("{", Some("M_NOT_JSON")),
            ("{} {}", Some("M_NOT_JSON")),
            ("nonsense", Some("M_NOT_JSON")),
            (r#"{"a":"\ud800"}"#, Some("M_NOT_JSON")),
            (r#"{"\ud800":1}"#, Some("M_NOT_JSON")),
            (r#"{"a":1e999}"#, Some("M_NOT_JSON")),
            (r#"{"a":NaN}"#, Some("M_NOT_JSON")),
        ] {
            assert_eq!(errcode(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(errcode(b"{\"a\":\"\xff\"}").as_deref(), Some("M_NOT_JSON"));
    }
}
