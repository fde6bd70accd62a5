use std::collections::BTreeMap;

use depesche_rules::bounds::{MAX_TAG_BYTES, MAX_TAGS_PER_ROOM};
use depesche_store::Position;
use ruma::{OwnedUserId, events::AnyGlobalAccountDataEvent, serde::Raw};
use serde_json::{Map, Value, json, value::to_raw_value};

use super::{AccountData, AccountDataError, Entry, GLOBAL, IGNORED_USER_LIST, MAX_CONTENT_BYTES, PUSH_RULES, TagError};
use crate::{
    accounts::tests::House,
    keyspace::{ACCOUNT_DATA_BYTES, ACCOUNT_DATA_LOG, RoomNo},
    topic,
};

struct Desk {
    house: House,
    data: AccountData,
    alice: OwnedUserId,
}

impl Desk {
    async fn new(sections: &str) -> Self {
        let house = House::with(sections, Vec::new());
        let alice = house.user("alice").await;
        Self { data: AccountData::new(house.base.clone()), house, alice }
    }

    async fn set(&self, room: RoomNo, kind: &str, content: Value) -> Result<Position, AccountDataError> {
        self.data.set(&self.alice, room, kind, &to_raw_value(&content).unwrap()).await?;
        Ok(self.house.base.view().position())
    }

    async fn changed(&self, since: Position) -> Vec<(RoomNo, String, Value)> {
        let view = self.house.base.view();
        self.data.changed_since(&view, &self.alice, since).await.unwrap().iter().map(plain).collect()
    }
}

fn plain(entry: &Entry) -> (RoomNo, String, Value) {
    (entry.room, entry.kind.clone(), serde_json::from_str(entry.content.get()).unwrap())
}

#[tokio::test]
async fn changes_are_seen_once_in_order_and_with_their_last_content() {
    let desk = Desk::new("").await;
    let start = desk.house.base.view().position();
    desk.set(GLOBAL, "a", json!({ "n": 1 })).await.unwrap();
    let second = desk.set(7, "b", json!({ "n": 2 })).await.unwrap();
    let third = desk.set(GLOBAL, "a", json!({ "n": 3 })).await.unwrap();
    let a = (GLOBAL, "a".to_owned(), json!({ "n": 3 }));
    let b = (7, "b".to_owned(), json!({ "n": 2 }));
    assert_eq!(desk.changed(start).await, [b.clone(), a.clone()]);
    assert_eq!(desk.changed(second).await, [a]);
    assert_eq!(desk.changed(third).await, []);
    let view = desk.house.base.view();
    let rows = view.scan(&ACCOUNT_DATA_LOG, ACCOUNT_DATA_LOG.under(&()), 100).await.unwrap();
    assert_eq!(rows.len(), 2, "the log keeps what was overwritten");
    assert_eq!(desk.data.of_room(&view, &desk.alice, 7).await.unwrap().iter().map(plain).collect::<Vec<_>>(), [b]);
}

#[tokio::test]
async fn users_see_their_own_and_are_woken() {
    let desk = Desk::new("").await;
    let bob = desk.house.user("bob").await;
    let start = desk.house.base.view().position();
    let mut watch = desk.house.base.topics().watch();
    watch.add_all([&desk.alice, &bob].into_iter().flat_map(|user| [topic::user(user), topic::account_data(user)]));
    desk.set(GLOBAL, "a", json!({})).await.unwrap();
    assert_eq!(watch.changed_since(start), [topic::account_data(&desk.alice)]);
    desk.set(7, IGNORED_USER_LIST, json!({})).await.unwrap();
    let before = desk.house.base.view().position();
    assert_eq!(watch.changed_since(start), [topic::account_data(&desk.alice)], "of one room it is nothing");
    desk.set(GLOBAL, IGNORED_USER_LIST, json!({})).await.unwrap();
    assert_eq!(watch.changed_since(before), [topic::user(&desk.alice)], "it bears on all rooms");
    let view = desk.house.base.view();
    assert!(desk.data.changed_since(&view, &bob, Position(0)).await.unwrap().is_empty());
    assert!(matches!(desk.data.get(&view, &bob, GLOBAL, "a").await, Err(AccountDataError::NotFound)));
    assert!(matches!(desk.data.get(&view, &desk.alice, 1, "a").await, Err(AccountDataError::NotFound)));
    assert_eq!(desk.data.get(&view, &desk.alice, GLOBAL, "a").await.unwrap().get(), "{}");
}

#[tokio::test]
async fn push_rules_are_there_from_the_start_and_nobodys_to_write() {
    let desk = Desk::new("").await;
    let view = desk.house.base.view();
    let all = desk.data.all(&view, &desk.alice).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, [PUSH_RULES]);
    let (_, _, mut expected) = plain(&all[0]);
    let event: Raw<AnyGlobalAccountDataEvent> = all[0].event();
    assert!(matches!(event.deserialize().unwrap(), AnyGlobalAccountDataEvent::PushRules(_)));
    assert!(desk.data.get(&view, &desk.alice, GLOBAL, PUSH_RULES).await.unwrap().get().contains(".m.rule.master"));
    for room in [GLOBAL, 7] {
        for kind in [PUSH_RULES, "m.fully_read"] {
            let refused = desk.set(room, kind, json!({})).await;
            assert!(matches!(refused, Err(AccountDataError::ServerControlled)));
        }
    }
    let tx = desk.house.base.tx();
    let chosen =
        json!({ "rule_id": ".m.rule.reaction", "default": true, "enabled": false, "conditions": [], "actions": [] });
    let own = to_raw_value(&json!({ "global": { "override": [chosen] } })).unwrap();
    desk.data.put(&tx, &desk.alice, GLOBAL, PUSH_RULES, &own).await.unwrap();
    desk.house.base.commit(&tx).await.unwrap();
    let all = desk.data.all(&desk.house.base.view(), &desk.alice).await.unwrap();
    // What the user chose of a default rule stays; its conditions, and all other rules, are those of today.
    for rule in expected["global"]["override"].as_array_mut().unwrap() {
        if rule["rule_id"] == ".m.rule.reaction" {
            rule["enabled"] = json!(false);
        }
    }
    assert_eq!(all.iter().map(plain).collect::<Vec<_>>(), [(GLOBAL, PUSH_RULES.into(), expected)]);
}

#[tokio::test]
async fn content_is_an_object_of_bounded_size() {
    let desk = Desk::new("[limits]\naccount_data_per_user = 10\n").await;
    for bad in [json!([]), json!("a"), json!(null), json!(1)] {
        assert!(matches!(desk.set(GLOBAL, "a", bad).await, Err(AccountDataError::NotAnObject)));
    }
    let sized = |bytes: usize| json!({ "a": "a".repeat(bytes - r#"{"a":""}"#.len()) });
    desk.set(GLOBAL, "a", sized(MAX_CONTENT_BYTES)).await.unwrap();
    let large = desk.set(GLOBAL, "a", sized(MAX_CONTENT_BYTES + 1)).await;
    assert!(matches!(large, Err(AccountDataError::TooLarge)));
    desk.set(GLOBAL, &"a".repeat(255), json!({})).await.unwrap();
    assert!(matches!(desk.set(GLOBAL, &"a".repeat(256), json!({})).await, Err(AccountDataError::TooLarge)));
    for room in 2..10 {
        desk.set(room, "a", json!({})).await.unwrap();
    }
    assert!(matches!(desk.set(10, "a", json!({})).await, Err(AccountDataError::TooMany)));
    desk.set(9, "a", json!({ "n": 1 })).await.unwrap();
}

#[tokio::test]
async fn all_entries_together_are_bounded() {
    let desk = Desk::new("[limits]\naccount_data_mb_per_user = 1\n").await;
    let sized = |bytes: usize| json!({ "a": "a".repeat(bytes - r#"{"a":""}"#.len()) });
    for room in 1..=17 {
        desk.set(room, "a", sized(60_000)).await.unwrap();
    }
    let rest = (1 << 20) - 17 * 60_000;
    // As a database from before has it: counted when it changes.
    let tx = desk.house.base.tx();
    tx.delete(&ACCOUNT_DATA_BYTES, &(desk.alice.clone(),));
    desk.house.base.commit(&tx).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(desk.set(18, "a", sized(rest + 1)).await, Err(AccountDataError::TooMany)));
        desk.set(18, "a", sized(rest)).await.unwrap();
        assert!(matches!(desk.set(19, "a", json!({})).await, Err(AccountDataError::TooMany)));
        desk.set(1, "a", sized(50_000)).await.unwrap();
        desk.set(1, "a", sized(60_000)).await.unwrap();
    }
    let stored = desk.house.base.view().get(&ACCOUNT_DATA_BYTES, &(desk.alice.clone(),)).await.unwrap();
    assert_eq!(stored, Some(1 << 20));
}

#[tokio::test]
async fn what_a_client_wrote_comes_back_as_it_was() {
    let desk = Desk::new("").await;
    let text = r#"{"big":123456789012345678901234567890, "float":1.50,"a":"\u00e4"}"#;
    let raw = serde_json::value::RawValue::from_string(text.to_owned()).unwrap();
    desk.data.set(&desk.alice, GLOBAL, "a", &raw).await.unwrap();
    let view = desk.house.base.view();
    assert_eq!(desk.data.get(&view, &desk.alice, GLOBAL, "a").await.unwrap().get(), text);
}

/// What a client says of a tag.
fn info(info: Value) -> Map<String, Value> {
    serde_json::from_value(info).unwrap()
}

#[tokio::test]
async fn tags_are_one_entry_of_their_room() {
    let desk = Desk::new("").await;
    let (alice, data) = (&desk.alice, &desk.data);
    let favourite = info(json!({ "org.example.colour": ["red", 1] }));
    data.set_tag(alice, 7, "u.work", &info(json!({ "order": 0.25 }))).await.unwrap();
    data.set_tag(alice, 7, "m.favourite", &favourite).await.unwrap();
    let both = json!({ "u.work": { "order": 0.25 }, "m.favourite": { "org.example.colour": ["red", 1] } });
    let position = desk.house.base.view().position();
    assert_eq!(Value::Object(data.tags(&desk.house.base.view(), alice, 7).await.unwrap()), both);
    assert_eq!(desk.changed(Position(0)).await, [(7, "m.tag".to_owned(), json!({ "tags": both }))]);
    data.set_tag(alice, 7, "m.favourite", &favourite).await.unwrap();
    data.remove_tag(alice, 7, "unknown").await.unwrap();
    assert_eq!(desk.house.base.view().position(), position, "nothing changed and something was written");
    data.remove_tag(alice, 7, "u.work").await.unwrap();
    data.remove_tag(alice, 7, "m.favourite").await.unwrap();
    assert_eq!(desk.changed(position).await, [(7, "m.tag".to_owned(), json!({ "tags": {} }))]);
    assert!(data.tags(&desk.house.base.view(), alice, 8).await.unwrap().is_empty());
}

#[tokio::test]
async fn tags_are_bounded() {
    let desk = Desk::new("").await;
    let (alice, data) = (&desk.alice, &desk.data);
    data.set_tag(alice, 7, &"a".repeat(MAX_TAG_BYTES), &Map::new()).await.unwrap();
    let long = data.set_tag(alice, 7, &"a".repeat(MAX_TAG_BYTES + 1), &Map::new()).await;
    assert!(matches!(long, Err(TagError::TooLong)));
    let full: BTreeMap<_, _> = (1..MAX_TAGS_PER_ROOM).map(|number| (number.to_string(), json!({}))).collect();
    desk.set(8, "m.tag", json!({ "tags": full })).await.unwrap();
    data.set_tag(alice, 8, "last", &Map::new()).await.unwrap();
    data.set_tag(alice, 8, "99", &info(json!({ "order": 0.5 }))).await.unwrap();
    let many = data.set_tag(alice, 8, "more", &Map::new()).await;
    assert!(matches!(many, Err(TagError::TooMany)));
    // What is no tags does not break tagging.
    desk.set(9, "m.tag", json!({ "tags": 1 })).await.unwrap();
    data.set_tag(alice, 9, "a", &Map::new()).await.unwrap();
}
