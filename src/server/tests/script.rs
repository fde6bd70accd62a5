//! A session of three people, request by request. Each request may be repeated after a crash, as a client repeats what
//! it got no answer to, and then comes to the same.

use std::{fmt::Display, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use ruma::{
    CanonicalJsonObject, OwnedDeviceId, OwnedEventId, OwnedRoomId, OwnedUserId, UserId,
    api::client::{
        backup::RoomKeyBackup,
        filter::FilterDefinition,
        keys::{claim_keys, upload_keys},
        to_device::send_event_to_device,
    },
    events::StateEventType,
    serde::Raw,
};
use serde_json::{Map, Value, json, value::to_raw_value};

use crate::{
    Server,
    accounts::{Credentials, Door, NewAccount, NewSession, ProvisionError},
    rooms::{
        aliases::AliasError,
        lane::{Refusal, Transaction},
        membership::{Action, Change},
        receipts::Read,
        send::{Message, Redaction, State},
        view::RoomView,
    },
    sync::Request,
    testing::{creation, object, user},
    workflows::create::{CreateError, Creation, Preset},
};

/// Whether a request was answered; if not, why.
pub type Outcome = Result<(), String>;

type Step = for<'a> fn(&'a Run) -> BoxFuture<'a, Outcome>;

/// Where a session stands: the server it talks to, and what its clients remember.
pub struct Run {
    /// Replaced after a crash.
    pub server: Arc<Server>,
    /// The number of the next request.
    pub next: usize,
}

/// The requests, in their order.
const STEPS: &[Step] = &[
    |run| run.account("alice").boxed(),
    |run| run.account("bob").boxed(),
    |run| run.account("carol").boxed(),
    |run| run.log_in("alice", "PHONE").boxed(),
    |run| run.log_in("bob", "DESK").boxed(),
    |run| run.create("alice", "hall", Preset::PublicChat).boxed(),
    |run| run.create("bob", "study", Preset::PrivateChat).boxed(),
    |run| run.change("hall", "bob", "bob", Action::Join).boxed(),
    |run| run.change("hall", "carol", "carol", Action::Join).boxed(),
    |run| run.say("hall", "alice", "hello").boxed(),
    |run| run.change("study", "bob", "alice", Action::Invite).boxed(),
    |run| run.change("study", "alice", "alice", Action::Join).boxed(),
    |run| run.say_all("hall", "all at once").boxed(),
    |run| run.topic("hall", "alice", "talk").boxed(),
    |run| run.react("hall", "bob", "hello").boxed(),
    |run| run.relate("hall", "bob", "m.thread", "hello").boxed(),
    |run| run.relate("hall", "alice", "m.thread", "hello").boxed(),
    |run| run.relate("hall", "alice", "m.replace", "hello").boxed(),
    |run| run.read("hall", "bob", "hello").boxed(),
    |run| run.redact("hall", "alice", "hello").boxed(),
    |run| run.rename("alice", "Alice").boxed(),
    |run| run.say("study", "alice", "in private").boxed(),
    |run| run.change("hall", "alice", "carol", Action::Ban).boxed(),
    |run| run.change("hall", "alice", "carol", Action::Unban).boxed(),
    |run| run.forget("hall", "carol").boxed(),
    |run| run.add_alias("hall", "alice", "lobby").boxed(),
    |run| run.drop_alias("alice", "lobby").boxed(),
    |run| run.account_data("alice").boxed(),
    |run| run.tag("hall", "alice").boxed(),
    |run| run.one_time_keys("alice", "PHONE").boxed(),
    |run| run.claim("alice", "PHONE").boxed(),
    |run| run.to_device("bob", "DESK", "alice", "PHONE").boxed(),
    |run| run.sync("alice", "PHONE").boxed(),
    |run| run.backup("alice").boxed(),
    |run| run.say_all("hall", "before the end").boxed(),
    |run| run.deactivate("alice").boxed(),
    |run| run.change("study", "bob", "carol", Action::Invite).boxed(),
    |run| run.say("hall", "bob", "good bye").boxed(),
];

impl Run {
    /// Nothing was asked yet.
    pub fn new(server: Arc<Server>) -> Self {
        Self { server, next: 0 }
    }

    /// Goes on until a request is not answered.
    pub async fn go(&mut self) -> Outcome {
        // A profile that a crash stopped goes on beside the requests; here before them, so that the order is one.
        self.server.propagate_profile(&user("alice")).await;
        while let Some(step) = STEPS.get(self.next) {
            step(self).await.map_err(|why| format!("request {}: {why}", self.next))?;
            self.next += 1;
        }
        Ok(())
    }

    async fn room(&self, name: &str) -> Result<OwnedRoomId, String> {
        let alias = self.server.rooms.resolve_alias(&alias(name)).await.map_err(text)?;
        alias.map(|alias| alias.room_id).ok_or_else(|| format!("{name} is not there"))
    }

    async fn view(&self, name: &str) -> Result<RoomView, String> {
        let room = self.room(name).await?;
        self.server.rooms.find(&room).await.map_err(text)?.ok_or_else(|| format!("{name} is empty"))
    }

    async fn account(&self, name: &str) -> Outcome {
        let new = NewAccount { localpart: Some(name.into()), ..NewAccount::default() };
        let made = self.server.accounts.create(&Door::Operator, &new).await;
        done(made, |error| matches!(error, ProvisionError::UserInUse))
    }

    async fn log_in(&self, name: &str, device: &str) -> Outcome {
        let token = self.server.accounts.issue_login_token(&user(name)).await.map_err(text)?.token;
        let session = NewSession { device: Some(device.into()), ..NewSession::default() };
        done(self.server.accounts.login(Credentials::Token(&token), &session).await, |_| false)
    }

    async fn create(&self, creator: &str, name: &str, preset: Preset) -> Outcome {
        let creator = user(creator);
        let name = Some(alias(name));
        let made = self.server.rooms.create(Creation { preset, alias: name, ..creation(&creator) }).await;
        done(made, |error| matches!(error, CreateError::AliasTaken(_)))
    }

    async fn change(&self, room: &str, actor: &str, target: &str, action: Action) -> Outcome {
        let room = self.room(room).await?;
        let (actor, target) = (user(actor), user(target));
        let content = self.server.member_content(&target).await.map_err(text)?;
        let made = self.server.rooms.submit(&room, Change { actor, target, action, content }).await;
        // Who is not banned, or invited already, was so by the request that got no answer.
        done(made, |error| match action {
            Action::Unban => matches!(error, Refusal::BadState(_)),
            Action::Invite => matches!(error, Refusal::Forbidden(_)),
            _ => false,
        })
    }

    async fn say(&self, room: &str, sender: &str, body: &str) -> Outcome {
        let room = self.room(room).await?;
        let content = json!({ "body": body, "m.mentions": { "user_ids": ["@bob:agency.test"] } });
        let message = message(&room, user(sender), "m.room.message", body, content);
        done(self.server.rooms.submit(&room, message).await, |_| false)
    }

    /// Many messages at once, of which the lane makes one batch.
    async fn say_all(&self, room: &str, body: &str) -> Outcome {
        let bodies = (0..20).map(|n| format!("{body} {n}"));
        let said =
            bodies.map(async |body| self.say(room, if body.len() % 2 == 0 { "alice" } else { "bob" }, &body).await);
        futures::future::join_all(said).await.into_iter().collect()
    }

    async fn topic(&self, room: &str, sender: &str, topic: &str) -> Outcome {
        let room = self.room(room).await?;
        let (sender, kind, state_key) = (user(sender), StateEventType::RoomTopic, String::new());
        let state = State { sender, kind, state_key, content: object(json!({ "topic": topic })) };
        done(self.server.rooms.submit(&room, state).await, |_| false)
    }

    /// The first message that says this, by its sender's transaction id.
    async fn said(&self, room: &OwnedRoomId, body: &str) -> Result<OwnedEventId, String> {
        let content = json!({ "body": body, "m.mentions": { "user_ids": ["@bob:agency.test"] } });
        let again = message(room, user("alice"), "m.room.message", body, content);
        Ok(self.server.rooms.submit(room, again).await.map_err(text)?.event_id)
    }

    async fn react(&self, room: &str, sender: &str, to: &str) -> Outcome {
        let room = self.room(room).await?;
        let event = self.said(&room, to).await?;
        let content = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": event, "key": "+" } });
        let message = message(&room, user(sender), "m.reaction", to, content);
        done(self.server.rooms.submit(&room, message).await, |_| false)
    }

    async fn relate(&self, room: &str, sender: &str, kind: &str, to: &str) -> Outcome {
        let room = self.room(room).await?;
        let relates_to = json!({ "rel_type": kind, "event_id": self.said(&room, to).await? });
        let content = json!({ "body": kind, "m.new_content": { "body": "new" }, "m.relates_to": relates_to });
        let message = message(&room, user(sender), "m.room.message", &format!("{kind} {to}"), content);
        done(self.server.rooms.submit(&room, message).await, |_| false)
    }

    async fn read(&self, room: &str, name: &str, body: &str) -> Outcome {
        let id = self.room(room).await?;
        let event = Some(self.said(&id, body).await?);
        let read = Read { public: event.clone(), fully: event, ..Read::default() };
        done(self.server.receipts.read(&user(name), &id, &read).await, |_| false)
    }

    async fn redact(&self, room: &str, sender: &str, body: &str) -> Outcome {
        let room = self.room(room).await?;
        let (sender, target) = (user(sender), self.said(&room, body).await?);
        let transaction = Some(transaction(&room, &sender, "redact", body));
        let redaction = Redaction { sender, target, reason: None, transaction };
        done(self.server.rooms.submit(&room, redaction).await, |_| false)
    }

    async fn rename(&self, name: &str, display_name: &str) -> Outcome {
        let name = user(name);
        self.server.profiles.set_field(&name, "displayname", json!(display_name)).await.map_err(text)?;
        self.server.propagate_profile(&name).await;
        Ok(())
    }

    async fn forget(&self, room: &str, name: &str) -> Outcome {
        let room = self.room(room).await?;
        done(self.server.rooms.forget(&user(name), &room).await, |_| false)
    }

    async fn add_alias(&self, room: &str, name: &str, new: &str) -> Outcome {
        let room = self.room(room).await?;
        let made = self.server.rooms.create_alias(&user(name), &alias(new), &room).await;
        done(made, |error| matches!(error, AliasError::Taken))
    }

    async fn drop_alias(&self, name: &str, old: &str) -> Outcome {
        let dropped = self.server.rooms.delete_alias(&user(name), &alias(old)).await;
        done(dropped, |error| matches!(error, AliasError::NotFound))
    }

    async fn account_data(&self, name: &str) -> Outcome {
        let content = to_raw_value(&json!({ "n": 1 })).map_err(text)?;
        done(self.server.account_data.set(&user(name), 0, "m.test", &content).await, |_| false)
    }

    async fn tag(&self, room: &str, name: &str) -> Outcome {
        let no = self.view(room).await?.no;
        done(self.server.account_data.set_tag(&user(name), no, "m.favourite", &Map::new()).await, |_| false)
    }

    async fn one_time_keys(&self, name: &str, device: &str) -> Outcome {
        let mut request = upload_keys::v3::Request::new();
        for n in 0..3 {
            let key = json!({ "key": format!("k{n}"), "signatures": {} });
            let id = format!("signed_curve25519:{n}").as_str().try_into().map_err(text)?;
            request.one_time_keys.insert(id, Raw::new(&key).map_err(text)?.cast_unchecked());
        }
        done(self.server.keys.upload(&user(name), device.into(), &request).await, |_| false)
    }

    async fn claim(&self, name: &str, device: &str) -> Outcome {
        let wish = [(OwnedDeviceId::from(device), "signed_curve25519".into())].into();
        let request = claim_keys::v3::Request::new([(user(name), wish)].into());
        done(self.server.keys.claim(&request).await, |_| false)
    }

    async fn to_device(&self, from: &str, from_device: &str, name: &str, device: &str) -> Outcome {
        let content = Raw::new(&json!({ "n": 1 })).map_err(text)?.cast_unchecked();
        let messages = [(user(name), [(OwnedDeviceId::from(device).into(), content)].into())].into();
        let request = send_event_to_device::v3::Request::new_raw("m.test".into(), "1".into(), messages);
        done(self.server.to_device.send(&user(from), Some(from_device.into()), &request).await, |_| false)
    }

    /// Two polls: the second acknowledges what the first had.
    async fn sync(&self, name: &str, device: &str) -> Outcome {
        let (user, device) = (user(name), device.into());
        let filter = FilterDefinition::default();
        let (full_state, timeout, use_state_after) = (false, Duration::ZERO, false);
        let set_presence = ruma::presence::PresenceState::Offline;
        let mut request =
            Request { user, device, filter, since: None, full_state, timeout, use_state_after, set_presence };
        let answer = self.server.syncs.sync(&request).await.map_err(text)?;
        request.since = Some(answer.next_batch);
        done(self.server.syncs.sync(&request).await, |_| false)
    }

    async fn backup(&self, name: &str) -> Outcome {
        let algorithm = Raw::new(&json!({ "algorithm": "m.test", "auth_data": {} })).map_err(text)?.cast_unchecked();
        let version = self.server.backups.create(&user(name), &algorithm).await.map_err(text)?;
        let data = json!({ "first_message_index": 0, "forwarded_count": 0, "is_verified": true, "session_data": {} });
        let data = Raw::new(&data).map_err(text)?.cast_unchecked();
        let room = RoomKeyBackup::new([("session".to_owned(), data)].into());
        let rooms = [(self.room("hall").await?, room)].into();
        done(self.server.backups.put_keys(&user(name), &version, &rooms).await, |_| false)
    }

    async fn deactivate(&self, name: &str) -> Outcome {
        done(self.server.deactivate(&user(name), false).await, |_| false)
    }

    /// What everybody can see in the end: the timelines of both rooms, event by event.
    pub async fn seen(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for name in ["hall", "study"] {
            let view = self.view(name).await.expect("the room");
            let end = RoomView::place_after(view.view.position());
            let rows = view.timeline_before(end, 1000).await.expect("the timeline");
            let numbers: Vec<_> = rows.iter().rev().map(|(_, no)| *no).collect();
            for event in view.events(&numbers).await.expect("the events") {
                let content: CanonicalJsonObject = event.pdu.content_as().expect("an object");
                let told = ["body", "membership", "displayname", "topic"].map(|field| content.get(field));
                let (pdu, redacted) = (&event.pdu, event.meta.facts.redacted_by.is_some());
                let line = (name, pdu.kind(), pdu.sender(), pdu.state_key(), told, redacted);
                seen.push(format!("{line:?}"));
            }
            seen.push(format!("{name}: {:?}", (view.head.joined, view.head.invited)));
        }
        seen
    }
}

fn alias(name: &str) -> ruma::OwnedRoomAliasId {
    format!("#{name}:agency.test").try_into().expect("an alias")
}

fn message(room: &OwnedRoomId, sender: OwnedUserId, kind: &str, id: &str, content: Value) -> Message {
    let transaction = transaction(room, &sender, kind, id);
    Message { sender, kind: kind.into(), content: object(content), transaction: Some(transaction) }
}

fn transaction(room: &OwnedRoomId, sender: &UserId, kind: &str, id: &str) -> Transaction {
    let scope = format!("{kind} {room}");
    Transaction { user: sender.to_owned(), device: "PHONE".into(), scope, id: id.to_owned() }
}

fn text(error: impl Display) -> String {
    error.to_string()
}

/// Answered, or refused because it is so already.
fn done<T, E: Display>(outcome: Result<T, E>, already: impl Fn(&E) -> bool) -> Outcome {
    match outcome {
        Ok(_) => Ok(()),
        Err(error) if already(&error) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
