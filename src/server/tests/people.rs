//! People on a whole server: profiles on their way, ignored users, unwanted invites, goodbyes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use depesche_store::{
    Options,
    faults::{Fault as Injected, Faults},
    memory::Memory,
};
use futures::future::BoxFuture;
use ruma::{
    UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde_json::json;

use super::{account, change, keep, memory, name_in, public_room, say, set, start, sync, view};
use crate::{
    Server,
    keyspace::{HEAD, PROFILE_SPREAD},
    rooms::{
        lane::{Intent, Refusal, Turn, Verdict},
        membership::{Action, Change, WithProfile},
    },
    testing::{creation, object},
    workflows::create::{CreateError, Creation},
};

#[tokio::test]
async fn of_two_quick_changes_the_later_one_is_everywhere() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let mut rooms = Vec::new();
    for n in 0..40 {
        rooms.push(public_room(&server, alice, &format!("room {n}")).await);
    }
    let rename = async |name: &str| {
        server.profiles.set_field(alice, "displayname", json!(name)).await.unwrap();
        server.propagate_profile(alice).await;
    };
    tokio::join!(rename("first"), rename("second"));
    let profile = server.profiles.get(alice).await.unwrap();
    for room in &rooms {
        assert_eq!(name_in(&server, room, alice).await, json!(profile.displayname()));
    }
    assert_eq!(server.base.view().get(&PROFILE_SPREAD, &(alice.clone(),)).await.unwrap(), None);
}

#[tokio::test]
async fn a_change_that_a_crash_interrupted_goes_on() {
    let engine = memory();
    let server = start(Arc::clone(&engine)).await;
    let alice = &account(&server, "alice").await;
    let (first, second) = (public_room(&server, alice, "a").await, public_room(&server, alice, "b").await);
    server.profiles.set_field(alice, "displayname", json!("Alice L.")).await.unwrap();
    assert!(server.base.view().get(&PROFILE_SPREAD, &(alice.clone(),)).await.unwrap().is_some());
    drop(server);
    let server = start(engine).await;
    let done = async {
        while server.base.view().get(&PROFILE_SPREAD, &(alice.clone(),)).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), done).await.expect("the change goes on");
    for room in [&first, &second] {
        assert_eq!(name_in(&server, room, alice).await, "Alice L.");
    }
}

#[tokio::test]
async fn what_is_no_name_or_avatar_goes_into_no_room() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    server.profiles.set_field(alice, "m.tz", json!("Europe/Berlin")).await.unwrap();
    assert_eq!(server.base.view().get(&PROFILE_SPREAD, &(alice.clone(),)).await.unwrap(), None);
}

/// A join at whose turn, when it is decided, the user's name changes.
struct Raced {
    join: WithProfile,
    server: Arc<Server>,
    done: AtomicBool,
}

impl Intent for Raced {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            let verdict = self.join.decide(turn).await;
            if !self.done.swap(true, Relaxed) {
                rename(&self.server, &self.join.0.target, "late").await;
            }
            verdict
        })
    }
}

async fn rename(server: &Arc<Server>, user: &UserId, name: &str) {
    server.profiles.set_field(user, "displayname", json!(name)).await.unwrap();
    server.propagate_profile(user).await;
}

#[tokio::test]
async fn who_changes_their_name_while_joining_has_the_last_one_everywhere() {
    let server = start(memory()).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let join = || {
        let (actor, target) = (bob.clone(), bob.clone());
        WithProfile(Change { actor, target, action: Action::Join, content: object(json!({})) })
    };
    let [before, during, after] = [
        public_room(&server, &alice, "before").await,
        public_room(&server, &alice, "during").await,
        public_room(&server, &alice, "after").await,
    ];
    rename(&server, &bob, "early").await;
    server.rooms.submit(&before, join()).await.unwrap();
    assert_eq!(name_in(&server, &before, &bob).await, json!("early"));
    let raced = Raced { join: join(), server: Arc::clone(&server), done: AtomicBool::new(false) };
    server.rooms.submit(&during, raced).await.unwrap();
    server.rooms.submit(&after, join()).await.unwrap();
    for room in [&before, &during, &after] {
        assert_eq!(name_in(&server, room, &bob).await, json!("late"));
    }
}

/// A join at whose turn, when it is decided, the user's account ends.
struct TooLate {
    join: WithProfile,
    server: Arc<Server>,
    done: AtomicBool,
}

impl Intent for TooLate {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            let verdict = self.join.decide(turn).await;
            if !self.done.swap(true, Relaxed) {
                self.server.deactivate(&self.join.0.target, false).await.unwrap();
            }
            verdict
        })
    }
}

#[tokio::test]
async fn nobody_comes_in_behind_the_end_of_their_account() {
    let server = start(memory()).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let room = public_room(&server, &alice, "hall").await;
    let (actor, target) = (bob.clone(), bob.clone());
    let join = WithProfile(Change { actor, target, action: Action::Join, content: object(json!({})) });
    let late = TooLate { join, server: Arc::clone(&server), done: AtomicBool::new(false) };
    assert!(matches!(server.rooms.submit(&room, late).await, Err(Refusal::Forbidden(_))));
    assert!(!view(&server, &room).await.is_joined(&bob).await.unwrap());
    let refused = server.rooms.create(creation(&bob)).await;
    assert!(matches!(refused, Err(CreateError::Refused(Refusal::Forbidden(_)))));
}

#[tokio::test]
async fn nothing_is_shown_of_an_ignored_user_but_state() {
    let server = start(memory()).await;
    let [alice, bob, carol] = [account(&server, "a").await, account(&server, "b").await, account(&server, "c").await];
    let room = public_room(&server, &alice, "hall").await;
    change(&server, &room, &bob, &bob, Action::Join).await.unwrap();
    let since = sync(&server, &alice, None).await.next_batch;
    keep(&server, &alice, "m.ignored_user_list", json!({ "ignored_users": { &*bob: {} } })).await;
    say(&server, &room, &bob, "psst").await.unwrap();
    change(&server, &room, &bob, &bob, Action::Leave).await.unwrap();
    let private = server.rooms.create(creation(&bob)).await.unwrap();
    change(&server, &private, &bob, &alice, Action::Invite).await.unwrap();
    let other = server.rooms.create(creation(&carol)).await.unwrap();
    change(&server, &other, &carol, &alice, Action::Invite).await.unwrap();
    let news = sync(&server, &alice, Some(since)).await;
    let events = &news.rooms.join[&room].timeline.events;
    let text: Vec<&str> = events.iter().map(|event| event.json().get()).collect();
    assert!(!text.iter().any(|event| event.contains("psst")), "{text:?}");
    assert!(text.iter().any(|event| event.contains("m.room.member")), "{text:?}");
    assert_eq!(news.rooms.invite.keys().collect::<Vec<_>>(), [&other]);
    keep(&server, &alice, "m.ignored_user_list", json!({ "ignored_users": {} })).await;
    let fresh = sync(&server, &alice, None).await;
    assert!(fresh.rooms.join[&room].timeline.events.iter().any(|event| event.json().get().contains("psst")));
    assert_eq!(fresh.rooms.invite.len(), 2);
}

#[tokio::test]
async fn who_takes_no_invites_gets_none() {
    let server = start(memory()).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let earlier = server.rooms.create(creation(&bob)).await.unwrap();
    change(&server, &earlier, &bob, &alice, Action::Invite).await.unwrap();
    keep(&server, &alice, "m.invite_permission_config", json!({ "default_action": "block" })).await;
    assert!(sync(&server, &alice, None).await.rooms.invite.is_empty());
    let room = server.rooms.create(creation(&bob)).await.unwrap();
    let refused = change(&server, &room, &bob, &alice, Action::Invite).await;
    assert!(matches!(refused, Err(Refusal::InviteBlocked)));
    // Who may invite nobody is told that, whomever they ask for.
    let carol = account(&server, "carol").await;
    change(&server, &room, &bob, &carol, Action::Invite).await.unwrap();
    change(&server, &room, &carol, &carol, Action::Join).await.unwrap();
    set(&server, &room, &bob, StateEventType::RoomPowerLevels, "", json!({ "invite": 50 })).await;
    let refused = change(&server, &room, &carol, &alice, Action::Invite).await;
    assert!(matches!(refused, Err(Refusal::Forbidden(_))), "{refused:?}");
    let invite = vec![(alice.clone(), object(json!({})))];
    let refused = server.rooms.create(Creation { invite, ..creation(&bob) }).await;
    assert!(matches!(refused, Err(CreateError::Refused(Refusal::InviteBlocked))));
    keep(&server, &alice, "m.invite_permission_config", json!({ "default_action": "allow" })).await;
    change(&server, &room, &bob, &alice, Action::Invite).await.unwrap();
    assert_eq!(sync(&server, &alice, None).await.rooms.invite.len(), 2);
}

#[tokio::test]
async fn who_is_deactivated_leaves_a_room_that_has_too_much_to_do() {
    let server = start(memory()).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let room = public_room(&server, &alice, "hall").await;
    change(&server, &room, &bob, &bob, Action::Join).await.unwrap();
    // More than wait for one room: whoever comes next is told that the room is busy.
    let crowd = futures::future::join_all((0..1500).map(|n| {
        let (server, room, alice) = (&server, &room, &alice);
        async move { say(server, room, alice, &n.to_string()).await }
    }));
    let (said, done) = tokio::join!(crowd, server.deactivate(&bob, false));
    assert!(said.iter().any(|said| matches!(said, Err(Refusal::Busy))));
    done.unwrap();
    let member = view(&server, &room).await.membership(&bob).await.unwrap();
    assert_eq!(member.unwrap().state, MembershipState::Leave);
}

#[tokio::test(start_paused = true)]
async fn who_is_deactivated_leaves_all_rooms_that_can_be_left() {
    let engine = memory();
    let server = start(Arc::clone(&engine)).await;
    let [alice, bob] = [account(&server, "alice").await, account(&server, "bob").await];
    let mut rooms = Vec::new();
    for name in ["damaged", "whole"] {
        let room = public_room(&server, &alice, name).await;
        change(&server, &room, &bob, &bob, Action::Join).await.unwrap();
        rooms.push(room);
    }
    let head = HEAD.key(&(view(&server, &rooms[0]).await.no,));
    let whole = server.base.view().get_stored(&head).await.unwrap().unwrap();
    let write = async |value: &Bytes| {
        let tx = server.base.tx();
        tx.put_stored(head.clone(), value.clone());
        server.base.commit(&tx).await.unwrap();
    };
    write(&"nonsense".into()).await;
    server.deactivate(&bob, false).await.unwrap();
    assert!(!view(&server, &rooms[1]).await.is_joined(&bob).await.unwrap());
    let unfinished = async |server: &Server| server.accounts.unfinished(None).await.unwrap().len();
    let again = start(engine).await;
    assert_eq!(unfinished(&again).await, 1, "a start goes on, and is not kept from starting");
    write(&whole).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(!view(&server, &rooms[0]).await.is_joined(&bob).await.unwrap());
    assert_eq!(unfinished(&server).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_name_goes_into_all_rooms_however_long_nothing_can_be_written() {
    let engine = Faults::new(Memory::new(Options::default()));
    let control = engine.control();
    let server = start(Arc::new(engine)).await;
    let alice = &account(&server, "alice").await;
    let room = public_room(&server, alice, "room").await;
    server.profiles.set_field(alice, "displayname", json!("Alice L.")).await.unwrap();
    control.next([Injected::Failed; 12]);
    server.propagate_profile(alice).await;
    tokio::time::sleep(Duration::from_hours(3)).await;
    assert_eq!((name_in(&server, &room, alice).await, control.left()), (json!("Alice L."), 0));
}
