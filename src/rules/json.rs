//! Untrusted bytes to JSON values, strictly.
//!
//! Events are canonical JSON: integers between -(2^53)+1 and 2^53-1, no floats, no `-0`. Nesting is bounded. Of a key
//! that occurs twice in one object the last one counts, as in ECMAScript and Python, so that we read what the senders of
//! the network read; the ambiguity ends here, because everything later works on the text *we* write from the parsed
//! object.
//!
//! Spec: [canonical JSON](https://spec.matrix.org/v1.19/appendices/#canonical-json).

use std::{cell::Cell, fmt};

use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, Int,
    canonical_json::{CanonicalJsonError, to_canonical_value},
};
use serde::{
    Serialize,
    de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use crate::bounds::{MAX_INTEGER, MAX_JSON_DEPTH};

/// Containers inside one another in a text of our own database: more than was ever accepted, and less than the 128 at
/// which the parser stops by itself.
const MAX_STORED_DEPTH: usize = MAX_JSON_DEPTH + 20;

/// Why bytes are not the JSON that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or not UTF-8 (`M_NOT_JSON`). Holds the parser's words, which quote no input.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, but not an object (`M_BAD_JSON`).
    #[error("not a JSON object")]
    NotAnObject,
    /// More than [`MAX_JSON_DEPTH`] containers inside one another (`M_BAD_JSON`).
    #[error("nested deeper than {MAX_JSON_DEPTH}")]
    TooDeep,
    /// A number with a fraction or exponent, or `-0` (`M_BAD_JSON`).
    #[error("a number that is not an integer")]
    NotAnInteger,
    /// An integer beyond 2^53 - 1 (`M_BAD_JSON`).
    #[error("an integer outside of the range of canonical JSON")]
    IntegerOutOfRange,
}

impl From<CanonicalJsonError> for JsonError {
    fn from(error: CanonicalJsonError) -> Self {
        match error {
            CanonicalJsonError::IntegerOutOfRange => Self::IntegerOutOfRange,
            CanonicalJsonError::InvalidType(_) => Self::NotAnInteger,
            other => Self::NotJson(other.to_string()),
        }
    }
}

/// Parses an object that has to be canonical JSON apart from its spelling: an event, or its content.
pub fn parse_object(bytes: &[u8]) -> Result<CanonicalJsonObject, JsonError> {
    object_of(parse_canonical(bytes, MAX_JSON_DEPTH)?)
}

/// As [`parse_object`], of a text that this server stored: what was accepted once is read whatever is accepted now.
pub fn stored_object(bytes: &[u8]) -> Result<CanonicalJsonObject, JsonError> {
    object_of(parse_canonical(bytes, MAX_STORED_DEPTH)?)
}

/// As [`parse_object`], for JSON that an outer parser has already cut out.
pub fn raw_object(raw: &RawValue) -> Result<CanonicalJsonObject, JsonError> {
    parse_object(raw.get().as_bytes())
}

/// A serialisable value of ours as a canonical object.
pub fn to_object(value: impl Serialize) -> Result<CanonicalJsonObject, JsonError> {
    object_of(to_canonical_value(value)?)
}

fn object_of(value: CanonicalJsonValue) -> Result<CanonicalJsonObject, JsonError> {
    match value {
        CanonicalJsonValue::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Parses any JSON (floats allowed), with the bound on nesting: bodies that are stored as they are.
pub fn parse_value(bytes: &[u8]) -> Result<Value, JsonError> {
    check_depth(bytes)?;
    serde_json::from_slice(bytes).map_err(|error| JsonError::NotJson(plain(&error)))
}

/// The canonical text of an object: keys sorted, no white space.
pub fn canonical_text(object: &CanonicalJsonObject) -> String {
    // A usual event: no copying while it is written.
    let mut text = Vec::with_capacity(1024);
    serde_json::to_writer(&mut text, object).expect("strings, integers and objects with string keys always serialise");
    String::from_utf8(text).expect("JSON is written in UTF-8")
}

/// Refuses text with more than [`MAX_JSON_DEPTH`] containers inside one another, in one pass and without a stack. Says
/// nothing else about the text.
pub fn check_depth(bytes: &[u8]) -> Result<(), JsonError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

fn parse_canonical(bytes: &[u8], deepest: usize) -> Result<CanonicalJsonValue, JsonError> {
    let fault = Cell::new(None);
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let parsed =
        Strict { left: deepest, fault: &fault }.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    parsed.map_err(|error| fault.take().unwrap_or_else(|| JsonError::NotJson(plain(&error))))
}

/// The parser's complaint without the part that could quote the input.
fn plain(error: &serde_json::Error) -> String {
    format!("{:?} at line {} column {}", error.classify(), error.line(), error.column())
}

/// Reads one value, in which `left` containers may be inside one another; what serde's error cannot carry goes into
/// `fault`.
#[derive(Clone, Copy)]
struct Strict<'a> {
    left: usize,
    fault: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn fail<T, E: serde::de::Error>(self, fault: JsonError) -> Result<T, E> {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        Err(error)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, ..self }),
            None => self.fail(JsonError::TooDeep),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = CanonicalJsonValue;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = CanonicalJsonValue;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("canonical JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Self::Value, E> {
        match Int::try_from(value) {
            Ok(value) => Ok(CanonicalJsonValue::Integer(value)),
            Err(_) => self.fail(JsonError::IntegerOutOfRange),
        }
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Self::Value, E> {
        match Int::try_from(value) {
            Ok(value) => Ok(CanonicalJsonValue::Integer(value)),
            Err(_) => self.fail(JsonError::IntegerOutOfRange),
        }
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Self::Value, E> {
        // The parser reads an integer of twenty digits as a float too; both are refused, the name may differ.
        #[expect(clippy::cast_precision_loss, reason = "2^53 - 1 is exact")]
        let large = value.abs() > MAX_INTEGER as f64;
        self.fail(if large { JsonError::IntegerOutOfRange } else { JsonError::NotAnInteger })
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Self::Value, E> {
        Ok(CanonicalJsonValue::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(seed)? {
            array.push(item);
        }
        Ok(CanonicalJsonValue::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let seed = self.deeper()?;
        let mut object = CanonicalJsonObject::new();
        while let Some(key) = entries.next_key::<String>()? {
            object.insert(key, entries.next_value_seed(seed)?);
        }
        Ok(CanonicalJsonValue::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nested(depth: usize) -> String {
        format!("{{\"a\":{}1{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    #[test]
    fn what_is_refused_and_why() {
        let cases: [(&str, JsonError); 9] = [
            ("[]", JsonError::NotAnObject),
            ("\"{}\"", JsonError::NotAnObject),
            (r#"{"a":1.5}"#, JsonError::NotAnInteger),
            (r#"{"a":1.0}"#, JsonError::NotAnInteger),
            (r#"{"a":-0}"#, JsonError::NotAnInteger),
            (r#"{"a":1e2}"#, JsonError::NotAnInteger),
            (r#"{"a":9007199254740992}"#, JsonError::IntegerOutOfRange),
            (r#"{"a":-9007199254740992}"#, JsonError::IntegerOutOfRange),
            (r#"{"a":99999999999999999999}"#, JsonError::IntegerOutOfRange),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_object(text.as_bytes()), Err(expected), "{text}");
        }
        for text in ["", "{", "{}}", "{} {}", "{'a':1}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\u{1}\"}", "{\"a\":01}"] {
            assert!(matches!(parse_object(text.as_bytes()), Err(JsonError::NotJson(_))), "{text}");
        }
        assert!(matches!(parse_object(b"{\"a\":\"\xff\"}"), Err(JsonError::NotJson(_))));
    }

    #[test]
    fn the_largest_integers_pass() {
        let text = r#"{"a":9007199254740991,"b":-9007199254740991}"#;
        assert_eq!(canonical_text(&parse_object(text.as_bytes()).unwrap()), text);
    }

    #[test]
    fn nesting_at_the_limit_and_one_beyond() {
        assert!(parse_object(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse_object(nested(MAX_JSON_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        for (deepest, is_read) in [(MAX_STORED_DEPTH, true), (MAX_STORED_DEPTH + 1, false)] {
            assert_eq!(stored_object(nested(deepest).as_bytes()).is_ok(), is_read, "{deepest}");
        }
        assert!(parse_value(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse_value(nested(MAX_JSON_DEPTH + 1).as_bytes()), Err(JsonError::TooDeep));
        assert_eq!(parse_object("[".repeat(1_000_000).as_bytes()), Err(JsonError::TooDeep));
    }

    #[test]
    fn brackets_in_strings_do_not_nest() {
        let text = format!(r#"{{"a":"{}\"[["}}"#, "[".repeat(500));
        assert!(check_depth(text.as_bytes()).is_ok());
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        assert_eq!(canonical_text(&parse_object(br#"{"b":1,"a":2,"b":3}"#).unwrap()), r#"{"a":2,"b":3}"#);
    }

    #[test]
    fn complaints_quote_no_input() {
        let Err(JsonError::NotJson(words)) = parse_object(br#"{"secret":hunter2}"#) else { panic!("accepted") };
        assert!(!words.contains("hunter2") && !words.contains("secret"), "{words}");
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(object) = parse_object(&bytes) {
                let text = canonical_text(&object);
                prop_assert_eq!(parse_object(text.as_bytes()).unwrap(), object);
            }
        }

        #[test]
        fn agrees_with_ruma_where_both_accept(text in "[\\{\\}\\[\\]a-c0-9:,\"\\-.e ]{0,40}") {
            let ruma = serde_json::from_str::<CanonicalJsonObject>(&text).ok();
            prop_assert_eq!(parse_object(text.as_bytes()).ok(), ruma);
        }
    }
}
