//! Which event an event is about, and whether a replacement counts.
//!
//! Only the relation of `rel_type` and `event_id` is read here; a rich reply (`m.in_reply_to` alone) has none. What does
//! not have the form of a relation is none, as the specification has it.
//!
//! Spec: [forming relationships](https://spec.matrix.org/v1.19/client-server-api/#forming-relationships-between-events),
//! [validity of replacement events](https://spec.matrix.org/v1.19/client-server-api/#validity-of-replacement-events).

use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, events::TimelineEventType};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    bounds::{MAX_EVENT_ID_BYTES, MAX_RELATION_TYPE_BYTES},
    pdu::Pdu,
};

/// The type of an event that takes the place of its parent's content.
pub const REPLACE: &str = "m.replace";
/// The type of an event that merely names its parent.
pub const REFERENCE: &str = "m.reference";
/// The type of an event in the thread that its parent is the root of.
pub const THREAD: &str = "m.thread";

/// What an event is to its parent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Relation {
    /// The `rel_type`.
    pub kind: String,
    /// The event it is about, which may be unknown, or of another room.
    pub parent: OwnedEventId,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: &'a RawValue,
}

#[derive(Deserialize)]
struct RelatesTo {
    rel_type: String,
    event_id: OwnedEventId,
}

impl Relation {
    /// The relation of an event, if it has one.
    pub fn of(event: &Pdu) -> Option<Self> {
        // Most events relate to nothing: they are not parsed for that. Canonical JSON escapes no letter.
        if !event.content().get().contains(r#""m.relates_to""#) {
            return None;
        }
        let content: Content<'_> = event.content_as().ok()?;
        let RelatesTo { rel_type, event_id } = serde_json::from_str(content.relates_to.get()).ok()?;
        Self::new(rel_type, event_id)
    }

    /// The relation that an event with this content would have.
    pub fn of_content(content: &CanonicalJsonObject) -> Option<Self> {
        let CanonicalJsonValue::Object(relation) = content.get("m.relates_to")? else { return None };
        let text = |name: &str| relation.get(name).and_then(CanonicalJsonValue::as_str);
        Self::new(text("rel_type")?.to_owned(), text("event_id")?.try_into().ok()?)
    }

    fn new(kind: String, parent: OwnedEventId) -> Option<Self> {
        let named = !kind.is_empty() && kind.len() <= MAX_RELATION_TYPE_BYTES;
        (named && parent.as_bytes().len() <= MAX_EVENT_ID_BYTES).then_some(Self { kind, parent })
    }

    /// Whether it is of this type.
    pub fn is(&self, kind: &str) -> bool {
        self.kind == kind
    }
}

/// Whether an event can replace another, as far as it alone tells: it is no state, says it replaces, and has new
/// content, which that of an encrypted one is hidden.
pub fn may_replace(event: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content {
        #[serde(rename = "m.new_content")]
        new_content: Option<serde_json::Map<String, serde_json::Value>>,
    }

    event.state_key().is_none()
        && Relation::of(event).is_some_and(|relation| relation.is(REPLACE))
        && (*event.kind() == TimelineEventType::RoomEncrypted
            || event.content_as::<Content>().is_ok_and(|content| content.new_content.is_some()))
}

/// Whether one event validly replaces another.
pub fn replaces(original: &Pdu, replacement: &Pdu) -> bool {
    may_replace(replacement)
        && Relation::of(replacement).is_some_and(|relation| relation.parent == *original.event_id())
        && can_be_replaced(original)
        && original.room_id() == replacement.room_id()
        && original.sender() == replacement.sender()
        && original.kind() == replacement.kind()
}

/// Whether an event can have replacements: it is neither state nor a replacement itself.
pub fn can_be_replaced(event: &Pdu) -> bool {
    event.state_key().is_none() && Relation::of(event).is_none_or(|relation| !relation.is(REPLACE))
}

/// Whether an event can be the root of a thread: it is itself about no other.
pub fn can_be_thread_root(event: &Pdu) -> bool {
    !names_a_type(event)
}

/// Whether an event has a `m.relates_to` with a `rel_type`, whatever else is in it.
fn names_a_type(event: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Typed {
        rel_type: Option<IgnoredAny>,
    }

    event.content().get().contains(r#""m.relates_to""#)
        && event
            .content_as::<Content<'_>>()
            .and_then(|content| serde_json::from_str::<Typed>(content.relates_to.get()))
            .is_ok_and(|relation| relation.rel_type.is_some())
}

#[cfg(test)]
mod tests {
    use ruma::RoomVersionId;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        build::EventDraft,
        testing::{Room, member, message, object, state, user},
    };

    fn relation(content: Value) -> Option<(String, String)> {
        let mut room = Room::new(RoomVersionId::V12);
        let of_event = Relation::of(&room.send(message("creator", content.clone())));
        assert_eq!(of_event, Relation::of_content(&object(content)));
        of_event.map(|relation| (relation.kind, relation.parent.to_string()))
    }

    #[test]
    fn what_is_a_relation() {
        let of = |relates_to: Value| relation(json!({ "body": "x", "m.relates_to": relates_to }));
        let whole = Some(("m.thread".to_owned(), "$a".to_owned()));
        assert_eq!(of(json!({ "rel_type": "m.thread", "event_id": "$a" })), whole);
        assert_eq!(of(json!({ "rel_type": "m.thread", "event_id": "$a", "is_falling_back": true })), whole);
        for none in [
            json!({ "m.in_reply_to": { "event_id": "$a" } }),
            json!({ "rel_type": "m.thread" }),
            json!({ "event_id": "$a" }),
            json!({ "rel_type": 1, "event_id": "$a" }),
            json!({ "rel_type": "", "event_id": "$a" }),
            json!({ "rel_type": "m.thread", "event_id": "a" }),
            json!({ "rel_type": "x".repeat(MAX_RELATION_TYPE_BYTES + 1), "event_id": "$a" }),
            json!({ "rel_type": "m.thread", "event_id": format!("${}", "x".repeat(MAX_EVENT_ID_BYTES)) }),
            json!("m.thread"),
            json!(null),
        ] {
            assert_eq!(of(none.clone()), None, "{none}");
        }
        assert!(of(json!({ "rel_type": "x".repeat(MAX_RELATION_TYPE_BYTES), "event_id": "$a" })).is_some());
        assert_eq!(relation(json!({ "body": "m.relates_to" })), None);
        assert_eq!(relation(json!({ "body": "\"m.relates_to\"", "nested": { "m.relates_to": {} } })), None);
    }

    #[test]
    fn which_replacements_count() {
        let mut room = Room::new(RoomVersionId::V12);
        room.send(member("ann", "ann", "join"));
        let original = room.send(message("creator", json!({ "body": "a" })));
        let edit = |new: Value| {
            let mut content = json!({ "m.relates_to": { "rel_type": "m.replace", "event_id": original.event_id() } });
            if !new.is_null() {
                content["m.new_content"] = new;
            }
            content
        };
        let new = json!({ "body": "b" });
        let good = room.send(message("creator", edit(new.clone())));
        assert!(replaces(&original, &good));
        let others = [
            ("another sender", message("ann", edit(new.clone()))),
            ("no new content", message("creator", edit(json!(null)))),
            ("new content that is no object", message("creator", edit(json!("b")))),
            ("state", state("creator", "m.room.message", "", edit(new.clone()))),
            ("another type", EventDraft::message(user("creator"), "m.sticker".into(), object(edit(new.clone())))),
        ];
        for (what, draft) in others {
            assert!(!replaces(&original, &room.send(draft)), "{what}");
        }
        let of_the_edit = json!({
            "m.relates_to": { "rel_type": "m.replace", "event_id": good.event_id() }, "m.new_content": new,
        });
        assert!(!replaces(&good, &room.send(message("creator", of_the_edit))), "an edit of an edit");
        let topic = room.send(state("creator", "m.room.topic", "", json!({ "topic": "a" })));
        assert!(!can_be_replaced(&topic));
    }

    #[test]
    fn the_new_content_of_an_encrypted_event_is_hidden() {
        let mut room = Room::new(RoomVersionId::V12);
        let mut encrypted = |content: Value| {
            room.send(EventDraft::message(user("creator"), "m.room.encrypted".into(), object(content)))
        };
        let original = encrypted(json!({ "ciphertext": "a" }));
        let relates_to = json!({ "rel_type": "m.replace", "event_id": original.event_id() });
        assert!(replaces(&original, &encrypted(json!({ "ciphertext": "b", "m.relates_to": relates_to }))));
    }

    #[test]
    fn roots_of_threads_are_about_nothing() {
        let mut room = Room::new(RoomVersionId::V12);
        let mut root = |relates_to: Value| {
            can_be_thread_root(&room.send(message("creator", json!({ "m.relates_to": relates_to }))))
        };
        assert!(root(json!({ "m.in_reply_to": { "event_id": "$a" } })), "a reply");
        assert!(!root(json!({ "rel_type": "m.reference", "event_id": "$a" })));
        assert!(!root(json!({ "rel_type": "m.thread" })), "broken, and still no start");
    }
}
