//! Who was allowed to write is asked again when the state is another, and writes on its grounds then.

use std::collections::BTreeSet;

use depesche_rules::build::EventDraft;
use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId, UserId, events::StateEventType};
use serde_json::{Value, json};

use crate::{
    rooms::{
        lane::{Intent, Refusal, Turn, Verdict},
        membership::{Action, Change},
    },
    testing::{Fixture, creation, object, user},
    workflows::create::{Creation, Preset},
};

const VERSIONS: [RoomVersionId; 4] = [RoomVersionId::V3, RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12];

/// An event of which nothing is asked but the auth rules.
struct Bare(EventDraft);

impl Intent for Bare {
    fn decide<'a>(&'a self, _: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        async { Ok(Verdict::Append(vec![self.0.clone()])) }.boxed()
    }
}

fn bare(sender: &UserId, kind: &str) -> Bare {
    let content = object(json!({ "msgtype": "m.text", "body": "x" }));
    Bare(EventDraft::message(sender.to_owned(), kind.into(), content))
}

/// A room of Alice's that Bob has joined.
struct Talk {
    server: Fixture,
    version: RoomVersionId,
    room: OwnedRoomId,
    alice: OwnedUserId,
    bob: OwnedUserId,
}

impl Talk {
    async fn new(version: RoomVersionId) -> Self {
        let server = Fixture::new();
        let [alice, bob] = ["alice", "bob"].map(user);
        let creation = Creation { version: Some(version.clone()), preset: Preset::PublicChat, ..creation(&alice) };
        let room = server.rooms.create(creation).await.unwrap();
        server.join(&room, &bob).await;
        Self { server, version, room, alice, bob }
    }

    /// The event, if the rules allow it.
    async fn send(&self, sender: &UserId, kind: &str) -> Option<OwnedEventId> {
        match self.server.rooms.submit(&self.room, bare(sender, kind)).await {
            Ok(sent) => Some(sent.event_id),
            Err(Refusal::Forbidden(_)) => None,
            Err(other) => panic!("{}: {other}", self.version),
        }
    }

    /// Twice, so that the second is judged by what is remembered; and that each stands on the state of now.
    async fn may_send(&self, sender: &UserId, kind: &str) {
        for _ in 0..2 {
            let sent = self.send(sender, kind).await.unwrap_or_else(|| panic!("{} {sender} {kind}", self.version));
            let (by, numbers) = self.grounds_of(&sent).await;
            let now = self.grounds(sender).await;
            assert_eq!((&by, &numbers), (&now, &now), "{} {sender} {kind}", self.version);
        }
    }

    async fn may_not_send(&self, sender: &UserId, kind: &str) {
        for _ in 0..2 {
            assert_eq!(self.send(sender, kind).await, None, "{} {sender} {kind}", self.version);
        }
    }

    /// What authorises a message of somebody in the state of now.
    async fn grounds(&self, sender: &UserId) -> BTreeSet<OwnedEventId> {
        let view = self.server.rooms.find(&self.room).await.unwrap().unwrap();
        let mut grounds = BTreeSet::new();
        for (kind, key) in [("m.room.create", ""), ("m.room.power_levels", ""), ("m.room.member", sender.as_str())] {
            let event = view.state_event(view.root(), kind, key).await.unwrap().unwrap();
            grounds.insert(event.pdu.event_id().clone());
            if kind == "m.room.create" && self.version == RoomVersionId::V12 {
                grounds.clear();
            }
        }
        grounds
    }

    /// The auth events of an event: as it names them, and by their numbers.
    async fn grounds_of(&self, event: &OwnedEventId) -> (BTreeSet<OwnedEventId>, BTreeSet<OwnedEventId>) {
        let view = self.server.rooms.find(&self.room).await.unwrap().unwrap();
        let event = view.event(view.event_no(event).await.unwrap().unwrap()).await.unwrap();
        let numbered = view.events(&event.meta.facts.auth).await.unwrap();
        let numbered = numbered.iter().map(|event| event.pdu.event_id().clone()).collect();
        (event.pdu.auth_events().iter().cloned().collect(), numbered)
    }

    /// Sets the power levels: what it takes to send, and Bob's.
    async fn levels(&self, mut levels: Value, bob: i64) -> OwnedEventId {
        levels["users"] = json!({ &*self.bob: bob });
        if self.version != RoomVersionId::V12 {
            levels["users"][self.alice.as_str()] = 100.into();
        }
        self.server.set(&self.room, &self.alice, StateEventType::RoomPowerLevels, levels).await
    }

    async fn change(&self, actor: &UserId, action: Action) {
        self.server.change(&self.room, actor, &self.bob, action).await.unwrap();
    }
}

#[tokio::test]
async fn who_goes_or_loses_their_level_writes_no_more() {
    for version in VERSIONS {
        let talk = Talk::new(version).await;
        let (alice, bob) = (&talk.alice, &talk.bob);
        for action in [Action::Kick, Action::Ban] {
            talk.may_send(bob, "m.room.message").await;
            talk.change(alice, action).await;
            talk.may_not_send(bob, "m.room.message").await;
            talk.may_send(alice, "m.room.message").await;
            if action == Action::Ban {
                talk.change(alice, Action::Unban).await;
                talk.may_not_send(bob, "m.room.message").await;
            }
            talk.change(bob, Action::Join).await;
            talk.may_send(bob, "m.room.message").await;
        }
        talk.change(bob, Action::Leave).await;
        talk.may_not_send(bob, "m.room.message").await;
        talk.change(bob, Action::Join).await;

        for (levels, message, reaction) in [
            (json!({ "events_default": 50 }), false, false),
            (json!({}), true, true),
            (json!({ "events": { "m.reaction": 50 } }), true, false),
            (json!({ "events": { "m.room.message": 50 } }), false, true),
        ] {
            for (kind, allowed) in [("m.room.message", message), ("m.reaction", reaction)] {
                talk.levels(json!({}), 0).await;
                talk.may_send(bob, kind).await;
                talk.levels(levels.clone(), 0).await;
                if allowed {
                    talk.may_send(bob, kind).await;
                } else {
                    talk.may_not_send(bob, kind).await;
                }
                talk.may_send(alice, kind).await;
                talk.levels(levels.clone(), 50).await;
                talk.may_send(bob, kind).await;
            }
        }
    }
}

#[tokio::test]
async fn redacted_power_levels_hold_as_far_as_the_version_protects_them() {
    for version in VERSIONS {
        let talk = Talk::new(version).await;
        let (alice, bob) = (&talk.alice, &talk.bob);
        let redact = async |event: &OwnedEventId| talk.server.redact(&talk.room, alice, event).await;
        for (bobs, allowed) in [(50, true), (0, false)] {
            talk.levels(json!({}), 0).await;
            talk.may_send(bob, "m.room.message").await;
            let levels = talk.levels(json!({ "events_default": 50, "invite": 100 }), bobs).await;
            for is_redacted in [false, true] {
                if is_redacted {
                    redact(&levels).await;
                }
                if allowed {
                    talk.may_send(bob, "m.room.message").await;
                } else {
                    talk.may_not_send(bob, "m.room.message").await;
                }
                talk.may_send(alice, "m.room.message").await;
            }
        }
        // What an invite takes is protected from version 11 on: before, a redaction takes it away.
        let levels = talk.levels(json!({ "invite": 50 }), 0).await;
        let invite = async |name: &str| {
            let (actor, target) = (bob.clone(), user(name));
            let change = Change { actor, target, action: Action::Invite, content: object(json!({})) };
            talk.server.rooms.submit(&talk.room, change).await.is_ok()
        };
        talk.may_send(bob, "m.room.message").await;
        assert!(!invite("carol").await, "{}", talk.version);
        redact(&levels).await;
        talk.may_send(bob, "m.room.message").await;
        let protected = matches!(talk.version, RoomVersionId::V11 | RoomVersionId::V12);
        assert_eq!(invite("carol").await, !protected, "{}", talk.version);
    }
}

#[tokio::test]
async fn what_changes_in_the_middle_of_a_batch_is_seen() {
    for version in VERSIONS {
        let talk = Talk::new(version).await;
        let (rooms, room, bob) = (&talk.server.rooms, &talk.room, &talk.bob);
        talk.may_send(bob, "m.room.message").await;
        let change = |actor: &UserId, action| {
            let (actor, target) = (actor.to_owned(), bob.clone());
            rooms.submit(room, Change { actor, target, action, content: object(json!({})) }).boxed()
        };
        let say = || rooms.submit(room, bare(bob, "m.room.message")).boxed();
        let all = [say(), say(), change(&talk.alice, Action::Kick), say(), change(bob, Action::Join), say(), say()];
        let answers = join_all(all).await;
        let allowed: Vec<_> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(allowed, [true, true, true, false, true, true, true], "{}", talk.version);
        let sent: Vec<_> = answers.into_iter().filter_map(Result::ok).collect();
        assert!(sent.iter().all(|one| one.position == sent[0].position), "{}: one batch", talk.version);
        let mut grounds = Vec::new();
        for at in [0, 1, 4, 5] {
            grounds.push(talk.grounds_of(&sent[at].event_id).await);
        }
        assert!(grounds[0] == grounds[1] && grounds[2] == grounds[3] && grounds[1] != grounds[2], "{}", talk.version);
        assert_eq!(grounds[3].0, talk.grounds(bob).await, "{}", talk.version);
        talk.may_send(bob, "m.room.message").await;
    }
}
