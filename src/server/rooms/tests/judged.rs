//! What intents are refused, what they do to each other, and what a redaction changes of it.

use depesche_rules::bounds::{MAX_CREATE_INITIAL_STATE, MAX_THIRD_PARTY_KEYS, MAX_THIRD_PARTY_SIGNATURES};
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use ruma::{OwnedUserId, RoomVersionId, events::StateEventType, user_id};
use serde_json::json;

use crate::{
    keyspace::{MEMBER, OPEN_ROOM},
    profiles::Profiles,
    rooms::{
        lane::{Intent, Refusal, Transaction, Turn, Verdict},
        membership::{Action, AsState, Change, WithProfile},
        send::{Message, Redaction, State},
    },
    testing::{Fixture, creation, object, user},
    workflows::create::Creation,
};

fn message(sender: &OwnedUserId, content: serde_json::Value) -> Message {
    Message { sender: sender.clone(), kind: "m.reaction".into(), content: object(content), transaction: None }
}

#[tokio::test]
async fn one_that_does_not_fit_a_row_leaves_the_others_alone() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = &server.room(&alice).await;
    let transaction = |id: String| Transaction { user: alice.clone(), device: "D".into(), scope: "send".into(), id };
    let long = Message { transaction: Some(transaction("x".repeat(256))), ..message(&alice, json!({})) };
    let longest = Message { transaction: Some(transaction("x".repeat(255))), ..message(&alice, json!({})) };
    let relates_to = json!({ "rel_type": "m.annotation", "event_id": format!("${}", "x".repeat(5000)), "key": "a" });
    let annotation = message(&alice, json!({ "m.relates_to": relates_to }));
    let (long, longest, annotation, said) = futures::join!(
        server.rooms.submit(room, long),
        server.rooms.submit(room, longest),
        server.rooms.submit(room, annotation),
        server.rooms.submit(room, message(&alice, json!({}))),
    );
    assert!(matches!(long, Err(Refusal::InvalidParam(_))), "{long:?}");
    assert!(longest.is_ok() && annotation.is_ok() && said.is_ok(), "{longest:?} {annotation:?} {said:?}");
}

/// Breaks the lane that asks it.
struct Panics;

impl Intent for Panics {
    fn decide<'a>(&'a self, _: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        async { panic!("a fault of ours") }.boxed()
    }
}

#[tokio::test]
async fn a_lane_that_broke_is_followed_by_another() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    assert!(matches!(server.rooms.submit(&room, Panics).await, Err(Refusal::Fault(_))));
    server.say(&room, &alice, "goes on").await;
}

#[tokio::test]
async fn a_redaction_is_not_state() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    server.set(&room, &alice, StateEventType::RoomPowerLevels, json!({ "state_default": 0 })).await;
    let target = server.say(&room, &alice, "stays").await;
    let state = State {
        sender: bob,
        kind: "m.room.redaction".into(),
        state_key: String::new(),
        content: object(json!({ "redacts": target })),
    };
    assert!(matches!(server.rooms.submit(&room, state).await, Err(Refusal::BadContent(_))));
}

#[tokio::test]
async fn what_was_redacted_can_be_set_again() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let topic = || server.set(&room, &alice, StateEventType::RoomTopic, json!({ "topic": "Budget" }));
    let first = topic().await;
    assert_eq!(topic().await, first, "it is set already");
    let redaction = Redaction { sender: alice.clone(), target: first.clone(), reason: None, transaction: None };
    server.rooms.submit(&room, redaction).await.unwrap();
    let second = topic().await;
    assert_ne!(second, first);
    // The same from what is stored, without what the lane remembers.
    let again = Fixture::on(server.base.engine.clone());
    assert_eq!(again.set(&room, &alice, StateEventType::RoomTopic, json!({ "topic": "Budget" })).await, second);
    let redaction = Redaction { sender: alice.clone(), target: second.clone(), reason: None, transaction: None };
    again.rooms.submit(&room, redaction).await.unwrap();
    let again = Fixture::on(server.base.engine.clone());
    assert_ne!(again.set(&room, &alice, StateEventType::RoomTopic, json!({ "topic": "Budget" })).await, second);
}

#[tokio::test]
async fn nobody_names_who_vouches_for_them() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    let join = |content| Change { actor: bob.clone(), target: bob.clone(), action: Action::Join, content };
    let lie = json!({ "join_authorised_via_users_server": "@eve:elsewhere" });
    server.rooms.submit(&room, join(object(lie.clone()))).await.unwrap();
    let mut profile = lie;
    profile["displayname"] = json!("Bob");
    let shown = server.rooms.submit(&room, join(object(profile))).await.unwrap().event_id;
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    let event = view.event(view.event_no(&shown).await.unwrap().unwrap()).await.unwrap();
    assert_eq!(event.pdu.content().get(), r#"{"displayname":"Bob","membership":"join"}"#);
}

#[tokio::test]
async fn whoever_may_invite_vouches_in_a_large_room() {
    let server = Fixture::new();
    let (alice, zoe, bob) = (user("alice"), user("zoe"), user("bob"));
    let hall = server.public_room(&bob).await;
    // Version 11, whose creator has a level and no right of birth; more members before zoe than are looked at.
    let version = Some(RoomVersionId::V11);
    let initial_state: Vec<_> = (0..MAX_CREATE_INITIAL_STATE)
        .map(|n| {
            let member = format!("@m{n:04}:agency.test");
            (StateEventType::RoomMember, member, object(json!({ "membership": "invite" })))
        })
        .collect();
    let room = server.rooms.create(Creation { version, initial_state, ..creation(&alice) }).await.unwrap();
    let more: Vec<_> = (0..600).map(|n| user(&format!("n{n:04}"))).collect();
    let invited = join_all(more.iter().map(|more| server.change(&room, &alice, more, Action::Invite))).await;
    assert!(invited.iter().all(Result::is_ok));
    server.change(&room, &alice, &zoe, Action::Invite).await.unwrap();
    server.join(&room, &zoe).await;
    let levels = json!({ "users": { zoe.as_str(): 50, alice.as_str(): 100 }, "invite": 50 });
    server.set(&room, &alice, StateEventType::RoomPowerLevels, levels).await;
    let allow = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": hall }] });
    server.set(&room, &alice, StateEventType::RoomJoinRules, allow).await;
    server.change(&room, &alice, &alice, Action::Leave).await.unwrap();
    server.join(&room, &bob).await;
}

#[tokio::test]
async fn memberships_that_are_refused() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let forbidden = |outcome: Result<_, Refusal>| matches!(outcome, Err(Refusal::Forbidden(_)));
    assert!(forbidden(server.change(&room, &alice, user_id!("@dan:elsewhere"), Action::Invite).await), "remote");
    server.change(&room, &alice, &carol, Action::Ban).await.unwrap();
    server.change(&room, &alice, &carol, Action::Ban).await.unwrap();
    assert!(forbidden(server.change(&room, &bob, &carol, Action::Ban).await), "bob has no level, banned or not");
    server.change(&room, &bob, &bob, Action::Present).await.unwrap();
    server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    assert!(forbidden(server.change(&room, &bob, &bob, Action::Present).await), "a new name is no join");
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    assert!(view.view.get(&MEMBER, &(bob, view.no)).await.unwrap().is_some_and(|member| member.was_joined));
}

#[tokio::test]
async fn a_membership_set_as_state_keeps_what_is_said_with_it() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    let profiles = Profiles::new(server.base.clone());
    for (user, name) in [(&bob, "Bob"), (&carol, "Carol")] {
        profiles.set_field(user, "displayname", json!(name)).await.unwrap();
    }
    let set = async |actor: &OwnedUserId, target: &OwnedUserId, action, content: serde_json::Value| {
        let change = Change { actor: actor.clone(), target: target.clone(), action, content: object(content) };
        server.rooms.submit(&room, AsState(change)).await.unwrap().event_id
    };
    let content = async |of: &OwnedUserId| {
        let view = server.rooms.find(&room).await.unwrap().unwrap();
        let event = view.state_event(view.root(), "m.room.member", of.as_str()).await.unwrap().unwrap();
        event.pdu.content_as::<serde_json::Value>().unwrap()
    };
    let joined = set(&bob, &bob, Action::Join, json!({})).await;
    assert_eq!(content(&bob).await, json!({ "membership": "join", "displayname": "Bob" }));
    assert_eq!(set(&bob, &bob, Action::Join, json!({ "displayname": "Bob" })).await, joined, "the same again");
    let more = json!({ "displayname": "Bob", "org.example.x": 1 });
    let added = set(&bob, &bob, Action::Join, more.clone()).await;
    assert_ne!(added, joined);
    assert_eq!(content(&bob).await, json!({ "membership": "join", "displayname": "Bob", "org.example.x": 1 }));
    assert_eq!(set(&bob, &bob, Action::Join, more).await, added);
    // Whoever merely joins again asks for no change.
    let again = WithProfile(Change {
        actor: bob.clone(),
        target: bob.clone(),
        action: Action::Join,
        content: object(json!({})),
    });
    assert_eq!(server.rooms.submit(&room, again).await.unwrap().event_id, added);

    set(&alice, &carol, Action::Invite, json!({ "reason": "come" })).await;
    assert_eq!(content(&carol).await, json!({ "membership": "invite", "displayname": "Carol", "reason": "come" }));
    let banned = set(&alice, &carol, Action::Ban, json!({})).await;
    assert_eq!(content(&carol).await, json!({ "membership": "ban" }));
    assert_eq!(set(&alice, &carol, Action::Ban, json!({})).await, banned);
    assert_ne!(set(&alice, &carol, Action::Ban, json!({ "reason": "noise" })).await, banned);
    assert_eq!(content(&carol).await["reason"], "noise");
    // Nobody leaves twice, whatever they say.
    let left = set(&bob, &bob, Action::Leave, json!({})).await;
    assert_eq!(set(&bob, &bob, Action::Leave, json!({ "reason": "done" })).await, left);
}

#[tokio::test]
async fn what_a_room_rests_on_is_not_redacted() {
    for version in [RoomVersionId::V10, RoomVersionId::V11, RoomVersionId::V12] {
        let server = Fixture::new();
        let alice = user("alice");
        let room = server.rooms.create(Creation { version: Some(version.clone()), ..creation(&alice) }).await.unwrap();
        let acl = server.set(&room, &alice, "m.room.server_acl".into(), json!({ "allow": ["*"] })).await;
        let view = server.rooms.find(&room).await.unwrap().unwrap();
        let create = view.state_event(view.root(), "m.room.create", "").await.unwrap().unwrap();
        for target in [acl, create.pdu.event_id().clone()] {
            let redaction = Redaction { sender: alice.clone(), target, reason: None, transaction: None };
            let outcome = server.rooms.submit(&room, redaction).await;
            assert!(matches!(outcome, Err(Refusal::Forbidden(_))), "{version}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn aliases_deleted_at_once_are_all_taken_out_of_the_state() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let aliases = ["one", "two", "three", "kept"]
        .map(|name| ruma::OwnedRoomAliasId::try_from(format!("#{name}:agency.test")).unwrap());
    for alias in &aliases {
        server.rooms.create_alias(&alice, alias, &room).await.unwrap();
    }
    let content = json!({ "alias": aliases[0], "alt_aliases": aliases[1..] });
    server.set(&room, &alice, StateEventType::RoomCanonicalAlias, content).await;
    let deleted = join_all(aliases[..3].iter().map(|alias| server.rooms.delete_alias(&alice, alias))).await;
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    let event = view.state_event(view.root(), "m.room.canonical_alias", "").await.unwrap().unwrap();
    let content: serde_json::Value = event.pdu.content_as().unwrap();
    assert_eq!(content, json!({ "alt_aliases": [aliases[3]] }));
}

#[tokio::test]
async fn an_alias_and_its_place_in_the_state_go_in_one_commit() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let alias = ruma::owned_room_alias_id!("#hall:agency.test");
    server.rooms.create_alias(&alice, &alias, &room).await.unwrap();
    server.set(&room, &alice, StateEventType::RoomCanonicalAlias, json!({ "alias": alias })).await;
    let before = server.base.view().position();
    server.rooms.delete_alias(&alice, &alias).await.unwrap();
    let changes = match server.base.engine.changes(before, 10).await.unwrap() {
        depesche_store::Changes::Found(changes) => changes.len(),
        depesche_store::Changes::Trimmed => panic!("trimmed"),
    };
    assert_eq!(changes, 1);
    assert!(server.rooms.resolve_alias(&alias).await.unwrap().is_none());
}

#[tokio::test]
async fn an_alias_goes_also_if_the_state_keeps_its_name() {
    let server = Fixture::new();
    let [alice, bob] = ["alice", "bob"].map(user);
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let alias = ruma::owned_room_alias_id!("#hall:agency.test");
    server.rooms.create_alias(&bob, &alias, &room).await.unwrap();
    server.set(&room, &alice, StateEventType::RoomCanonicalAlias, json!({ "alias": alias })).await;
    // It is his, the room's list is not.
    server.rooms.delete_alias(&bob, &alias).await.unwrap();
    assert!(server.rooms.resolve_alias(&alias).await.unwrap().is_none());
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    let event = view.state_event(view.root(), "m.room.canonical_alias", "").await.unwrap().unwrap();
    assert_eq!(event.pdu.content_as::<serde_json::Value>().unwrap(), json!({ "alias": alias }));
}

#[tokio::test]
async fn a_third_party_invite_has_few_signatures_and_keys() {
    let server = Fixture::new();
    let [alice, bob] = ["alice", "bob"].map(user);
    let room = server.room(&alice).await;
    // None of them fits any other: what is small enough is tried, and forbidden.
    let invite = async |keys: usize, signatures: usize| {
        let key = |n: usize| json!({ "public_key": format!("{n:A>43}") });
        let content = json!({
            "display_name": "b", "key_validity_url": "https://id.test/v", "public_key": format!("{:A>43}", "B"),
            "public_keys": (1..keys).map(key).collect::<Vec<_>>(),
        });
        let token = format!("token-{keys}");
        let state = State {
            sender: alice.clone(),
            kind: StateEventType::RoomThirdPartyInvite,
            state_key: token.clone(),
            content: object(content),
        };
        server.rooms.submit(&room, state).await.unwrap();
        // Of two servers: all count.
        let (mut one, mut other) = (json!({}), json!({}));
        for n in 0..signatures {
            let of = if n % 2 == 0 { &mut one } else { &mut other };
            of[format!("ed25519:{n}")] = "A".repeat(86).into();
        }
        let signed = json!({ "mxid": bob, "token": token, "signatures": { "id.test": one, "id2.test": other } });
        let content = object(json!({ "third_party_invite": { "display_name": "b", "signed": signed } }));
        let change = Change { actor: alice.clone(), target: bob.clone(), action: Action::Invite, content };
        server.rooms.submit(&room, AsState(change)).await.unwrap_err()
    };
    let (keys, signatures) = (MAX_THIRD_PARTY_KEYS, MAX_THIRD_PARTY_SIGNATURES);
    assert!(matches!(invite(keys, signatures).await, Refusal::Forbidden(_)));
    for (keys, signatures) in [(keys, signatures + 1), (keys + 1, signatures)] {
        let refused = invite(keys, signatures).await;
        assert!(matches!(refused, Refusal::BadContent(_)), "{keys} {signatures}: {refused:?}");
    }
}

#[tokio::test]
async fn a_rule_holds_whatever_stands_beside_it() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let no = server.rooms.find(&room).await.unwrap().unwrap().no;
    for allow in [json!(null), json!("x"), json!([1, null])] {
        for (rule, is_open) in [("public", true), ("invite", false)] {
            let content = json!({ "join_rule": rule, "allow": allow });
            server.set(&room, &alice, StateEventType::RoomJoinRules, content).await;
            let open = server.base.view().get(&OPEN_ROOM, &(no,)).await.unwrap().is_some();
            assert_eq!(open, is_open, "{rule} {allow}");
        }
    }
}

#[tokio::test]
async fn only_the_server_says_who_vouches_in_a_new_room() {
    let server = Fixture::new();
    let alice = user("alice");
    let content = json!({ "membership": "join", "displayname": "Al", "join_authorised_via_users_server": alice });
    let initial_state = vec![(StateEventType::RoomMember, alice.to_string(), object(content))];
    let room = server.rooms.create(Creation { initial_state, ..creation(&alice) }).await.unwrap();
    let view = server.rooms.find(&room).await.unwrap().unwrap();
    let event = view.state_event(view.root(), "m.room.member", alice.as_str()).await.unwrap().unwrap();
    let content: serde_json::Value = event.pdu.content_as().unwrap();
    assert_eq!(content, json!({ "membership": "join", "displayname": "Al" }));
}

#[tokio::test]
async fn a_room_keeps_its_own_server() {
    let server = Fixture::new();
    let [alice, bob] = ["alice", "bob"].map(user);
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    for (content, allowed) in [
        (json!({ "allow": ["*"], "deny": ["evil.test"] }), true),
        (json!({ "allow": ["*.test"], "allow_ip_literals": false }), true),
        (json!({ "allow": ["*"], "deny": ["agency.*"] }), false),
        (json!({ "allow": ["other.test"] }), false),
        (json!({}), false),
    ] {
        let state = |sender: &OwnedUserId| State {
            sender: sender.clone(),
            kind: StateEventType::RoomServerAcl,
            state_key: String::new(),
            content: object(content.clone()),
        };
        let without_level = server.rooms.submit(&room, state(&bob)).await;
        assert!(matches!(without_level, Err(Refusal::Forbidden(_))), "{content}: {without_level:?}");
        let outcome = server.rooms.submit(&room, state(&alice)).await;
        assert_eq!(outcome.is_ok(), allowed, "{content}");
        assert!(allowed || matches!(outcome, Err(Refusal::BadContent(_))), "{outcome:?}");
        let initial_state = vec![(StateEventType::RoomServerAcl, String::new(), object(content.clone()))];
        let created = server.rooms.create(Creation { initial_state, ..creation(&alice) }).await;
        assert_eq!(created.is_ok(), allowed, "{content}");
    }
}
