//! An event as conditions look into it.

use std::{collections::BTreeSet, iter, sync::OnceLock};

use ruma::{OwnedUserId, UserId, push::ScalarJsonValue};
use serde_json::Value;

use super::pattern::{Text, fold};
use crate::{
    client_event::{RoomField, Unsigned, client_json},
    pdu::Pdu,
};

/// An event made ready for many rule sets: parsed once. Properties are found by walking it, so it takes no more room than
/// the event itself, whatever its properties are called.
#[derive(Debug)]
pub struct EventFields {
    fields: Value,
    sender: OwnedUserId,
    body: OnceLock<Option<Text>>,
}

impl EventFields {
    /// The event as a client would see it.
    pub fn new(event: &Pdu) -> Self {
        let json = client_json(event, RoomField::Present, &Unsigned::default());
        // It was parsed before, as a whole: this cannot fail.
        let fields = serde_json::from_str(json.get()).unwrap_or_default();
        Self { fields, sender: event.sender().clone(), body: OnceLock::new() }
    }

    /// Who sent it.
    pub fn sender(&self) -> &OwnedUserId {
        &self.sender
    }

    /// The property at a [dot-separated path](https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths).
    pub fn get(&self, path: &str) -> Option<&Value> {
        names(path).try_fold(&self.fields, |at, name| at.as_object()?.get(&name))
    }

    /// Whom the default rules may treat otherwise than everybody: who is mentioned, and whom the state is about.
    pub fn named(&self) -> Named {
        let mentioned = self.get(r"content.m\.mentions.user_ids").and_then(Value::as_array);
        let names = mentioned.into_iter().flatten().chain(self.get("state_key")).filter_map(Value::as_str);
        Named(names.map(fold).collect())
    }

    /// The `content.body`, if it is a string.
    pub fn body(&self) -> Option<&Text> {
        self.body.get_or_init(|| Some(Text::new(self.fields.get("content")?.get("body")?.as_str()?))).as_ref()
    }
}

/// Users whom an event names, in whatever case: the rule that speaks of a state key compares without it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Named(BTreeSet<String>);

impl Named {
    /// Whether a user may be one of them.
    pub fn has(&self, user: &UserId) -> bool {
        !self.0.is_empty() && self.0.contains(&fold(user.as_str()))
    }
}

/// Whether a property is exactly this value. Nothing else than a string, an integer, a boolean or null is.
pub fn is(property: &Value, wanted: &ScalarJsonValue) -> bool {
    match wanted {
        ScalarJsonValue::Null => property.is_null(),
        ScalarJsonValue::Bool(wanted) => property.as_bool() == Some(*wanted),
        ScalarJsonValue::Integer(wanted) => property.as_i64() == Some(i64::from(*wanted)),
        ScalarJsonValue::String(wanted) => property.as_str() == Some(wanted),
    }
}

/// The names that a path is made of: a backslash before a dot or a backslash takes it into the name, any other is part of
/// the name itself.
fn names(path: &str) -> impl Iterator<Item = String> {
    let mut chars = path.chars().peekable();
    let mut is_over = false;
    iter::from_fn(move || {
        if is_over {
            return None;
        }
        let mut name = String::new();
        loop {
            match chars.next() {
                Some('.') => return Some(name),
                Some('\\') => name.push(chars.next_if(|c| matches!(c, '.' | '\\')).unwrap_or('\\')),
                Some(c) => name.push(c),
                None => {
                    is_over = true;
                    return Some(name);
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [
            ("content.body", &["content", "body"][..]),
            (r"content.m\.relates_to.rel_type", &["content", "m.relates_to", "rel_type"]),
            (r"a\\.b", &[r"a\", "b"]),
            (r"a\\\.b", &[r"a\.b"]),
            (r"a\xb", &[r"a\xb"]),
            (r"a\", &[r"a\"]),
            ("", &[""]),
            ("a..b.", &["a", "", "b", ""]),
        ] {
            assert_eq!(names(path).collect::<Vec<_>>(), expected, "{path}");
        }
    }
}
