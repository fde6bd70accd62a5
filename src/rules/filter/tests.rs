//! Filters by table.

use serde_json::json;

use super::*;
use crate::testing::{Room, message, state, user};

fn filter(value: Value) -> RoomEventFilter {
    serde_json::from_value(value).unwrap()
}

#[test]
fn an_event_and_the_lists() {
    let mut room = Room::new(ruma::RoomVersionId::V12);
    let room_id = room.id.clone().unwrap();
    let text = room.send(message("creator", json!({ "body": "x" })));
    let table = [
        (json!({}), true),
        (json!({ "types": ["m.room.message"] }), true),
        (json!({ "types": ["m.*"] }), true),
        (json!({ "types": ["m.room.name"] }), false),
        (json!({ "types": [] }), false),
        (json!({ "not_types": ["m.room.*"] }), false),
        (json!({ "types": ["m.room.message"], "not_types": ["m.room.message"] }), false),
        (json!({ "not_types": [] }), true),
        (json!({ "senders": ["@creator:here"] }), true),
        (json!({ "senders": ["@ann:here"] }), false),
        (json!({ "senders": [] }), false),
        (json!({ "not_senders": ["@creator:here"] }), false),
        (json!({ "rooms": [room_id] }), true),
        (json!({ "rooms": ["!other:here"] }), false),
        (json!({ "not_rooms": [room_id] }), false),
        (json!({ "rooms": [room_id], "not_rooms": [room_id] }), false),
        (json!({ "contains_url": false }), true),
        (json!({ "contains_url": true }), false),
    ];
    for (json, expected) in table {
        assert_eq!(event(&filter(json.clone()), &text), expected, "{json}");
    }
}

#[test]
fn what_has_a_url() {
    let mut room = Room::new(ruma::RoomVersionId::V12);
    for (content, has) in [
        (json!({ "url": "mxc://here/x" }), true),
        (json!({ "url": 1 }), true),
        (json!({ "info": { "url": "mxc://here/x" } }), false),
    ] {
        let sent = room.send(message("creator", content.clone()));
        assert_eq!(event(&filter(json!({ "contains_url": true })), &sent), has, "{content}");
        assert_eq!(event(&filter(json!({ "contains_url": false })), &sent), !has, "{content}");
    }
    let avatar = room.send(state("creator", "m.room.avatar", "", json!({ "url": "mxc://here/x" })));
    assert!(event(&filter(json!({ "contains_url": true })), &avatar));
}

#[test]
fn what_has_no_sender() {
    let no_url = || false;
    let room = <&RoomId>::try_from("!r:here").unwrap();
    let passes = |json: Value| parts(&filter(json), room, "m.tag", None, no_url);
    assert!(passes(json!({ "types": ["m.tag"] })) && passes(json!({ "not_senders": ["@a:here"] })));
    assert!(!passes(json!({ "senders": ["@a:here"] })));
    let presence: Filter = serde_json::from_value(json!({ "senders": ["@ann:here"] })).unwrap();
    assert!(
        global(&presence, "m.presence", Some(&user("ann"))) && !global(&presence, "m.presence", Some(&user("ben")))
    );
}

#[test]
fn sections_that_need_not_be_computed() {
    let id = <&RoomId>::try_from("!r:here").unwrap();
    for (json, expected) in [
        (json!({}), true),
        (json!({ "types": [] }), false),
        (json!({ "senders": [] }), false),
        (json!({ "rooms": [] }), false),
        (json!({ "not_rooms": ["!r:here"] }), false),
        (json!({ "types": ["*"] }), true),
    ] {
        assert_eq!(section(&filter(json.clone()), id), expected, "{json}");
    }
    for (json, expected) in
        [(json!({}), true), (json!({ "rooms": [] }), false), (json!({ "rooms": ["!r:here"] }), true)]
    {
        assert_eq!(room(&serde_json::from_value(json.clone()).unwrap(), id), expected, "{json}");
    }
}

#[test]
fn limits_are_kept() {
    for (json, expected) in [
        (json!({}), 20),
        (json!({ "limit": 0 }), 0),
        (json!({ "limit": 5 }), 5),
        (json!({ "limit": 100 }), 100),
        (json!({ "limit": 101 }), 100),
        (json!({ "limit": 9_007_199_254_740_991_u64 }), 100),
    ] {
        assert_eq!(limit(&filter(json.clone()), 20, 100), expected, "{json}");
    }
}

#[test]
fn lists_at_the_limit_and_one_beyond() {
    for (path, item) in [
        ("/event_fields", "a"),
        ("/presence/types", "a"),
        ("/account_data/not_senders", "@a:here"),
        ("/room/rooms", "!r:here"),
        ("/room/timeline/not_types", "a"),
        ("/room/state/senders", "@a:here"),
        ("/room/ephemeral/rooms", "!r:here"),
        ("/room/account_data/not_rooms", "!r:here"),
    ] {
        for (count, accepted) in [(MAX_FILTER_LIST, true), (MAX_FILTER_LIST + 1, false)] {
            let mut definition = json!({ "presence": {}, "account_data": {}, "room": {} });
            for section in ["timeline", "state", "ephemeral", "account_data"] {
                definition["room"][section] = json!({});
            }
            let (parent, name) = path.rsplit_once('/').unwrap();
            definition.pointer_mut(parent).unwrap()[name] = json!(vec![item; count]);
            let definition = serde_json::from_value(definition).unwrap();
            assert_eq!(check(&definition).is_ok(), accepted, "{path} {count}");
        }
    }
}

#[test]
fn fields_that_are_picked() {
    let event = json!({
        "type": "m.room.message",
        "content": { "body": "x", "a.b": 1, "a": { "b": 2, "c": 3 }, "back\\slash": 4 },
        "sender": "@a:here",
    });
    let table = [
        (vec!["type"], json!({ "type": "m.room.message" })),
        (vec!["content.body"], json!({ "content": { "body": "x" } })),
        (vec!["content.body", "content.a.b"], json!({ "content": { "body": "x", "a": { "b": 2 } } })),
        (vec![r"content.a\.b"], json!({ "content": { "a.b": 1 } })),
        (vec![r"content.back\\slash"], json!({ "content": { "back\\slash": 4 } })),
        (vec!["content.body", "content"], json!({ "content": event["content"] })),
        (vec!["content", "content.body"], json!({ "content": event["content"] })),
        (vec!["missing", "type.below", "sender"], json!({ "sender": "@a:here" })),
        (vec![], json!({})),
    ];
    let raw = to_raw_value(&event).unwrap();
    for (fields, expected) in table {
        let selected: Value = serde_json::from_str(EventFields::new(&fields).select(&raw).get()).unwrap();
        assert_eq!(selected, expected, "{fields:?}");
    }
}

#[test]
fn a_field_that_is_asked_for_often_is_picked_once() {
    let often: Vec<_> = ["content", "content.body", "type", "content", "content.a.b"].repeat(200);
    assert_eq!(EventFields::new(&often), EventFields::new(&["type", "content"]));
    // A name that only begins like another is another.
    assert_eq!(EventFields::new(&["content.bo", "content.body"]).0.len(), 2);
}
