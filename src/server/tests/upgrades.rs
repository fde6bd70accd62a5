//! Rooms that others replace, on a whole server.

use std::slice::from_ref;

use ruma::{RoomId, RoomVersionId, UserId, events::StateEventType};
use serde_json::{Map, Value, json, value::to_raw_value};

use super::{account, change, keep, memory, problems, public_room, say, set, start, state, view};
use crate::{
    account_data::GLOBAL,
    keyspace::PROFILE,
    rooms::{lane::Refusal, membership::Action, view::RoomView},
    testing::{creation, object, user},
    workflows::{
        create::{Creation, Preset},
        upgrade::{Upgrade, UpgradeError},
    },
};

fn upgrade(user: &UserId, room: &RoomId, version: RoomVersionId) -> Upgrade {
    Upgrade { user: user.to_owned(), room: room.to_owned(), version, additional_creators: Vec::new() }
}

#[tokio::test]
async fn an_upgrade_carries_over_what_makes_the_room() {
    for (from, to) in [
        (RoomVersionId::V6, RoomVersionId::V11),
        (RoomVersionId::V11, RoomVersionId::V12),
        (RoomVersionId::V12, RoomVersionId::V12),
        (RoomVersionId::V12, RoomVersionId::V10),
    ] {
        let server = start(memory()).await;
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(user);
        let alias = ruma::owned_room_alias_id!("#hall:agency.test");
        let creation = Creation {
            version: Some(from.clone()),
            preset: Preset::PublicChat,
            published: true,
            alias: Some(alias.clone()),
            name: Some("Hall".into()),
            topic: Some("talk".into()),
            creation_content: object(json!({ "type": "m.space" })),
            ..creation(&alice)
        };
        let old = server.rooms.create(creation).await.unwrap();
        change(&server, &old, &bob, &bob, Action::Join).await.unwrap();
        change(&server, &old, &alice, &carol, Action::Ban).await.unwrap();
        let child = json!({ "via": ["agency.test"] });
        set(&server, &old, &alice, StateEventType::SpaceChild, "!child:agency.test", child.clone()).await;
        let new = server.rooms.upgrade(upgrade(&alice, &old, to.clone())).await.unwrap();

        let create = state(&server, &new, "m.room.create", "").await.unwrap();
        assert_eq!((&create["type"], &create["room_version"]), (&json!("m.space"), &json!(to)), "{from} to {to}");
        assert_eq!(create["predecessor"]["room_id"], json!(old));
        assert!(create["predecessor"]["event_id"].is_string(), "{from} to {to}");
        for kind in
            ["m.room.name", "m.room.topic", "m.room.join_rules", "m.room.history_visibility", "m.room.guest_access"]
        {
            let [before, after] = [state(&server, &old, kind, "").await, state(&server, &new, kind, "").await];
            assert_eq!(before, after, "{kind}");
        }
        assert_eq!(state(&server, &new, "m.space.child", "!child:agency.test").await, Some(child));
        assert_eq!(state(&server, &new, "m.room.canonical_alias", "").await.unwrap()["alias"], json!(alias));
        assert_eq!(state(&server, &old, "m.room.canonical_alias", "").await, Some(json!({})));
        assert_eq!(server.rooms.resolve_alias(&alias).await.unwrap().unwrap().room_id, new);
        assert!(server.directory.has(&new).await.unwrap() && !server.directory.has(&old).await.unwrap());
        assert_eq!(state(&server, &old, "m.room.tombstone", "").await.unwrap()["replacement_room"], json!(new));

        assert!(matches!(say(&server, &old, &bob, "still here?").await, Err(Refusal::Forbidden(_))));
        assert!(matches!(change(&server, &new, &carol, &carol, Action::Join).await, Err(Refusal::Forbidden(_))));
        change(&server, &new, &bob, &bob, Action::Join).await.unwrap();
        say(&server, &new, &bob, "here").await.unwrap();
        let levels = view(&server, &new).await.power_levels().await.unwrap().unwrap();
        for kind in ["m.room.power_levels", "m.room.tombstone"] {
            assert!(levels.can_send(&alice, &kind.into(), true), "{kind} from {from} to {to}");
        }
        assert!(!levels.can_send(&bob, &"m.room.name".into(), true));
        assert_eq!(problems(&server).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn additional_creators_are_those_that_are_asked_for() {
    let server = start(memory()).await;
    let [alice, bob] = ["alice", "bob"].map(user);
    let creation = Creation {
        version: Some(RoomVersionId::V11),
        power_levels: object(json!({ "users": { &*alice: 100, &*bob: 100 } })),
        ..creation(&alice)
    };
    let old = server.rooms.create(creation).await.unwrap();
    let asked =
        Upgrade { additional_creators: vec![bob.clone(), alice.clone()], ..upgrade(&alice, &old, RoomVersionId::V12) };
    let new = server.rooms.upgrade(asked).await.unwrap();
    let create = state(&server, &new, "m.room.create", "").await.unwrap();
    assert_eq!(create["additional_creators"], json!([bob]));
    let levels = state(&server, &new, "m.room.power_levels", "").await.unwrap();
    assert_eq!((&levels["users"], &levels["events"]["m.room.tombstone"]), (&json!({}), &json!(100)));
}

#[tokio::test]
async fn an_upgrade_that_is_refused_leaves_nothing() {
    let server = start(memory()).await;
    let [alice, bob] = ["alice", "bob"].map(user);
    let room = server.rooms.create(Creation { preset: Preset::PublicChat, ..creation(&alice) }).await.unwrap();
    change(&server, &room, &bob, &bob, Action::Join).await.unwrap();
    let before = server.rooms.joined_by(&bob).await.unwrap();
    let refused = server.rooms.upgrade(upgrade(&bob, &room, RoomVersionId::V12)).await;
    assert!(matches!(refused, Err(UpgradeError::Refused(Refusal::Forbidden(_)))));
    let unknown = "org.example.custom".try_into().unwrap();
    let refused = server.rooms.upgrade(upgrade(&alice, &room, unknown)).await;
    assert!(matches!(refused, Err(UpgradeError::UnsupportedVersion(_))));
    // This one is refused when the new room is half built: no event of it may land.
    let tx = server.base.tx();
    tx.put(&PROFILE, &(alice.clone(),), &json!({ "displayname": "x".repeat(65_400) }).to_string());
    server.base.commit(&tx).await.unwrap();
    let too_long = upgrade(&alice, &room, RoomVersionId::V12);
    assert!(matches!(server.rooms.upgrade(too_long).await, Err(UpgradeError::Refused(Refusal::TooLarge(_)))));
    say(&server, &room, &alice, "go on").await.unwrap();
    assert_eq!(server.rooms.joined_by(&bob).await.unwrap(), before);
    assert_eq!(server.rooms.joined_by(&alice).await.unwrap(), from_ref(&room));
    assert_eq!(state(&server, &room, "m.room.tombstone", "").await, None);
    assert_eq!(problems(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_room_is_replaced_once() {
    let server = start(memory()).await;
    let [alice, bob] = ["alice", "bob"].map(user);
    let creation = Creation {
        version: Some(RoomVersionId::V10),
        preset: Preset::PublicChat,
        power_levels: object(json!({ "users": { &*alice: 100, &*bob: 100 } })),
        ..creation(&alice)
    };
    let old = server.rooms.create(creation).await.unwrap();
    change(&server, &old, &bob, &bob, Action::Join).await.unwrap();
    // At the same time, so in one batch; and later.
    let asked = [&alice, &bob, &alice].map(|user| server.rooms.upgrade(upgrade(user, &old, RoomVersionId::V11)));
    let new: Vec<_> = futures::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert!(new.iter().all(|room| *room == new[0]), "{new:?}");
    assert_eq!(server.rooms.upgrade(upgrade(&bob, &old, RoomVersionId::V11)).await.unwrap(), new[0]);
    let refused = server.rooms.upgrade(upgrade(&bob, &old, RoomVersionId::V12)).await;
    assert!(matches!(refused, Err(UpgradeError::Refused(Refusal::Forbidden(_)))));
    assert_eq!(server.rooms.joined_by(&bob).await.unwrap(), from_ref(&old));
    // A tombstone that names a room which knows nothing of it is no replacement.
    let [claimed, other] = [public_room(&server, &alice, "one").await, public_room(&server, &alice, "two").await];
    let tombstone = json!({ "body": "gone", "replacement_room": other });
    set(&server, &claimed, &alice, StateEventType::RoomTombstone, "", tombstone).await;
    assert_ne!(server.rooms.upgrade(upgrade(&alice, &claimed, RoomVersionId::V12)).await.unwrap(), other);
    assert_eq!(problems(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn who_joins_the_new_room_finds_it_as_they_had_set_the_old_one() {
    let server = start(memory()).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let old = public_room(&server, &alice, "old").await;
    change(&server, &old, &bob, &bob, Action::Join).await.unwrap();
    let no = view(&server, &old).await.no;
    let tag = serde_json::from_value(json!({ "order": 0.5 })).unwrap();
    server.account_data.set_tag(&bob, no, "m.favourite", &tag).await.unwrap();
    keep(&server, &bob, "m.direct", json!({ "@alice:agency.test": [old] })).await;
    let mute = json!({ "rule_id": old, "default": false, "enabled": true, "actions": [],
        "conditions": [{ "kind": "event_match", "key": "room_id", "pattern": old }] });
    let room_rule = json!({ "rule_id": old, "default": false, "enabled": true, "actions": ["notify"] });
    let rules = to_raw_value(&json!({ "global": { "override": [mute], "room": [room_rule] } })).unwrap();
    let tx = server.base.tx();
    server.account_data.put(&tx, &bob, GLOBAL, "m.push_rules", &rules).await.unwrap();
    server.base.commit(&tx).await.unwrap();

    let new = server.rooms.upgrade(upgrade(&alice, &old, RoomVersionId::V12)).await.unwrap();
    // Who asks for the upgrade once more is told of the new room, and is not in it.
    server.has_joined(&bob, &new).await;
    let direct = server.account_data.get(&server.base.view(), &bob, GLOBAL, "m.direct").await.unwrap();
    assert!(!direct.get().contains(new.as_str()));
    change(&server, &new, &bob, &bob, Action::Join).await.unwrap();
    for _ in 0..2 {
        server.has_joined(&bob, &new).await;
        let view = server.base.view();
        let new_no = RoomView::find(&view, &new).await.unwrap().unwrap().no;
        let tags = server.account_data.tags(&view, &bob, new_no).await.unwrap();
        assert_eq!(Value::Object(tags), json!({ "m.favourite": { "order": 0.5 } }));
        let kept = async |kind: &str| {
            let kept = server.account_data.get(&view, &bob, GLOBAL, kind).await.unwrap();
            serde_json::from_str::<Map<String, Value>>(kept.get()).unwrap()
        };
        assert_eq!(Value::Object(kept("m.direct").await), json!({ "@alice:agency.test": [old, new] }));
        let rules = kept("m.push_rules").await;
        let named = |kind: &str| {
            let rules = rules["global"][kind].as_array().unwrap().iter();
            rules
                .map(|rule| rule["rule_id"].clone())
                .filter(|id| !id.as_str().unwrap().starts_with('.'))
                .collect::<Vec<_>>()
        };
        assert_eq!(named("override"), [json!(old), json!(new)]);
        assert_eq!(named("room"), [json!(old), json!(new)]);
        let copied = rules["global"]["override"].as_array().unwrap().iter().find(|rule| rule["rule_id"] == json!(new));
        assert_eq!(copied.unwrap()["conditions"][0]["pattern"], json!(new));
    }
}

#[tokio::test]
async fn a_room_that_only_claims_to_replace_another_gets_no_settings() {
    let server = start(memory()).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let old = public_room(&server, &alice, "old").await;
    change(&server, &old, &bob, &bob, Action::Join).await.unwrap();
    keep(&server, &bob, "m.direct", json!({ "@alice:agency.test": [old] })).await;
    let claim = Creation {
        preset: Preset::PublicChat,
        creation_content: object(json!({ "predecessor": { "room_id": old, "event_id": "$x" } })),
        ..creation(&alice)
    };
    let claim = server.rooms.create(claim).await.unwrap();
    change(&server, &claim, &bob, &bob, Action::Join).await.unwrap();
    server.has_joined(&bob, &claim).await;
    let direct = server.account_data.get(&server.base.view(), &bob, GLOBAL, "m.direct").await.unwrap();
    assert!(!direct.get().contains(claim.as_str()));
}

#[tokio::test]
async fn who_created_the_old_room_keeps_power_in_one_that_another_creates() {
    for (levels, expected) in
        [(json!({}), 150), (json!({ "tombstone": 90, "bob": 90 }), 100), (json!({ "bob": 500 }), 500)]
    {
        let server = start(memory()).await;
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(user);
        let bobs = levels["bob"].as_i64().unwrap_or(150);
        let tombstone = levels["tombstone"].as_i64().unwrap_or(150);
        let creation = Creation {
            version: Some(RoomVersionId::V12),
            preset: Preset::PublicChat,
            creation_content: object(json!({ "additional_creators": [carol] })),
            power_levels: object(json!({ "users": { &*bob: bobs }, "events": { "m.room.tombstone": tombstone } })),
            ..creation(&alice)
        };
        let old = server.rooms.create(creation).await.unwrap();
        change(&server, &old, &bob, &bob, Action::Join).await.unwrap();
        let asked = Upgrade { additional_creators: vec![carol.clone()], ..upgrade(&bob, &old, RoomVersionId::V12) };
        let new = server.rooms.upgrade(asked).await.unwrap();
        let levels = state(&server, &new, "m.room.power_levels", "").await.unwrap();
        assert_eq!(levels["users"], json!({ &*alice: expected }));
        change(&server, &new, &alice, &alice, Action::Join).await.unwrap();
        let levels = view(&server, &new).await.power_levels().await.unwrap().unwrap();
        assert!(levels.can_send(&alice, &"m.room.tombstone".into(), true));
    }
}

#[tokio::test]
async fn who_created_the_old_room_reaches_whatever_it_takes_in_the_new_one() {
    for (given, level) in [
        (json!({ "ban": 200 }), 200),
        (json!({ "state_default": 300 }), 300),
        (json!({ "events": { "m.room.topic": 400 } }), 400),
        (json!({ "users_default": 500 }), 500),
        (json!({ "notifications": { "room": 600 } }), 600),
    ] {
        let server = start(memory()).await;
        let alice = user("alice");
        let power_levels = object(given.clone());
        let creation = Creation { version: Some(RoomVersionId::V12), power_levels, ..creation(&alice) };
        let old = server.rooms.create(creation).await.unwrap();
        let new = server.rooms.upgrade(upgrade(&alice, &old, RoomVersionId::V11)).await.unwrap();
        let levels = state(&server, &new, "m.room.power_levels", "").await.unwrap();
        assert_eq!(levels["users"], json!({ &*alice: level }), "{given}");
    }
}

#[tokio::test]
async fn a_join_rule_that_the_new_version_does_not_know_keeps_nobody_out_who_is_invited() {
    let allow = json!([{ "type": "m.room_membership", "room_id": "!other:agency.test" }]);
    let restricted = |rule: &str| json!({ "join_rule": rule, "allow": allow });
    let plain = |rule: &str| json!({ "join_rule": rule });
    for (to, before, after) in [
        (RoomVersionId::V12, restricted("knock_restricted"), restricted("knock_restricted")),
        (RoomVersionId::V9, restricted("knock_restricted"), restricted("restricted")),
        (RoomVersionId::V8, restricted("restricted"), restricted("restricted")),
        (RoomVersionId::V7, restricted("restricted"), plain("invite")),
        (RoomVersionId::V7, restricted("knock_restricted"), plain("invite")),
        (RoomVersionId::V7, plain("knock"), plain("knock")),
        (RoomVersionId::V6, plain("knock"), plain("invite")),
        (RoomVersionId::V6, plain("public"), plain("public")),
    ] {
        let server = start(memory()).await;
        let [alice, bob] = ["alice", "bob"].map(user);
        let initial_state = vec![(StateEventType::RoomJoinRules, String::new(), object(before.clone()))];
        let creation = Creation { version: Some(RoomVersionId::V12), initial_state, ..creation(&alice) };
        let old = server.rooms.create(creation).await.unwrap();
        let new = server.rooms.upgrade(upgrade(&alice, &old, to.clone())).await.unwrap();
        assert_eq!(state(&server, &new, "m.room.join_rules", "").await, Some(after), "{before} to {to}");
        change(&server, &new, &alice, &bob, Action::Invite).await.unwrap();
        change(&server, &new, &bob, &bob, Action::Join).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_more_than_a_batch_takes_is_too_large_to_be_upgraded() {
    let server = start(memory()).await;
    let alice = user("alice");
    let old = server.rooms.create(creation(&alice)).await.unwrap();
    for child in 0..100 {
        let content = json!({ "via": ["agency.test"], "x": "x".repeat(60_000) });
        set(&server, &old, &alice, StateEventType::SpaceChild, &format!("!{child}:agency.test"), content).await;
    }
    let refused = server.rooms.upgrade(upgrade(&alice, &old, RoomVersionId::V12)).await;
    assert!(matches!(refused, Err(UpgradeError::Refused(Refusal::TooLarge(_)))), "{refused:?}");
    say(&server, &old, &alice, "go on").await.unwrap();
}
