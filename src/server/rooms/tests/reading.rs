//! What pages, single events and lists of members show.

use std::sync::{Arc, atomic::Ordering};

use depesche_store::{Options, counting::Counting, memory::Memory};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedRoomId, UInt, UserId,
    api::client::filter::RoomEventFilter,
    events::{StateEventType, room::member::MembershipState},
};
use serde_json::{Value, json};

use crate::{
    rooms::{
        history::{Page, PageQuery, ReadRefusal},
        membership::Action,
        send::Redaction,
        show::Viewer,
        tokens::SyncToken,
        view::RoomView,
    },
    testing::{Fixture, user},
};

async fn view(server: &Fixture, room: &OwnedRoomId) -> RoomView {
    server.rooms.find(room).await.unwrap().unwrap()
}

async fn viewer<'a>(server: &Fixture, room: &'a RoomView, user: &UserId) -> Viewer<'a> {
    Viewer::new(room, user.to_owned(), None, server.base.now()).await.unwrap()
}

async fn page(viewer: &mut Viewer<'_>, from: &str, to: Option<&str>, limit: usize) -> Page {
    let filter = RoomEventFilter::default();
    let query = PageQuery { from: Some(from), to, backwards: true, limit, filter: &filter };
    viewer.page(&query).await.unwrap()
}

#[tokio::test]
async fn a_page_begins_where_it_was_asked_to_and_ends_where_it_was_told_to() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    for n in 0..5 {
        server.say(&room, &alice, &n.to_string()).await;
    }
    let view = view(&server, &room).await;
    let mut viewer = viewer(&server, &view, &alice).await;
    let token = SyncToken { position: view.view.position(), ..SyncToken::default() }.to_string();
    let first = page(&mut viewer, &token, None, 2).await;
    let stop = page(&mut viewer, &first.end.clone().unwrap(), None, 2).await.end.unwrap();
    assert_eq!(first.start, token);
    let whole = page(&mut viewer, &token, Some(&stop), 100).await;
    assert_eq!((whole.events.len(), whole.end.as_ref()), (4, Some(&stop)), "older ones are there");
    let behind = page(&mut viewer, &stop, Some(&stop), 100).await;
    assert_eq!((behind.events.len(), behind.end), (0, None), "whoever goes on comes to an end");
    let rest = page(&mut viewer, &stop, None, 100).await;
    assert!(rest.end.is_none() && !rest.events.is_empty());
}

#[tokio::test]
async fn who_forgot_a_room_reads_nothing_of_it() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let said = server.say(&room, &alice, "hello").await;
    server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    let before = view(&server, &room).await;
    assert!(viewer(&server, &before, &bob).await.event(&said).await.is_ok());
    server.rooms.forget(&bob, &room).await.unwrap();
    let after = view(&server, &room).await;
    let outcome = viewer(&server, &after, &bob).await.event(&said).await;
    assert!(matches!(outcome, Err(ReadRefusal::NotFound)), "{outcome:?}");
    // An invite does not bring back what was forgotten, and its refusal neither.
    for (actor, action) in [(&alice, Action::Invite), (&bob, Action::Leave)] {
        server.change(&room, actor, &bob, action).await.unwrap();
        let after = view(&server, &room).await;
        let mut viewer = viewer(&server, &after, &bob).await;
        assert!(matches!(viewer.event(&said).await, Err(ReadRefusal::NotFound)), "{action:?}");
        assert!(matches!(viewer.readable_root().await, Err(ReadRefusal::Forbidden)), "{action:?}");
    }
    server
        .set(&room, &alice, StateEventType::RoomHistoryVisibility, json!({ "history_visibility": "world_readable" }))
        .await;
    let open = server.say(&room, &alice, "to all").await;
    let after = view(&server, &room).await;
    assert!(viewer(&server, &after, &bob).await.event(&open).await.is_ok());
    server.join(&room, &bob).await;
    let after = view(&server, &room).await;
    assert!(viewer(&server, &after, &bob).await.event(&said).await.is_ok(), "who is in the room again reads it again");
}

#[tokio::test]
async fn who_went_is_found_behind_invites_they_refused_but_not_for_ever() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let said = server.say(&room, &alice, "hello").await;
    server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    let after = server.say(&room, &alice, "gone?").await;
    let mut refusals = 0;
    for (bound, expected) in [(10, 1), (251, 0)] {
        while refusals < bound {
            server.change(&room, &alice, &bob, Action::Invite).await.unwrap();
            server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
            refusals += 1;
        }
        let view = view(&server, &room).await;
        let seen = async |id: &ruma::EventId| viewer(&server, &view, &bob).await.event(id).await.is_ok();
        // They were there when it was said.
        assert!(seen(&said).await);
        assert!(!seen(&after).await, "{bound}");
        let pages = viewer(&server, &view, &bob).await.readable_root().await.is_ok();
        assert_eq!(usize::from(pages), expected, "{bound}");
    }
}

#[tokio::test]
async fn members_of_one_membership_or_of_all_but_one() {
    use MembershipState as M;
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    server.change(&room, &alice, &carol, Action::Invite).await.unwrap();
    let view = view(&server, &room).await;
    let mut viewer = viewer(&server, &view, &alice).await;
    for (only, not, expected) in [
        (None, None, 3),
        (Some(M::Join), None, 1),
        (None, Some(M::Leave), 2),
        (Some(M::Leave), Some(M::Join), 2),
        (Some(M::Join), Some(M::Invite), 2),
        (Some(M::Join), Some(M::Join), 3),
    ] {
        let members = viewer.members(None, only.as_ref(), not.as_ref()).await.unwrap();
        assert_eq!(members.len(), expected, "{only:?} {not:?}");
    }
}

#[tokio::test]
async fn a_redacted_name_is_not_listed() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let named = crate::rooms::membership::Change {
        actor: alice.clone(),
        target: alice.clone(),
        action: Action::Join,
        content: crate::testing::object(json!({ "displayname": "Secret" })),
    };
    let target = server.rooms.submit(&room, named).await.unwrap().event_id;
    let redaction = Redaction { sender: alice.clone(), target, reason: None, transaction: None };
    server.rooms.submit(&room, redaction).await.unwrap();
    let view = view(&server, &room).await;
    let joined = viewer(&server, &view, &alice).await.joined().await.unwrap();
    let content: Value = joined[0].1.content_as().unwrap();
    assert_eq!(content, json!({ "membership": "join" }));
}

/// What a page costs who left before so many messages: keys, scans and rows.
async fn page_of_the_past(later: usize) -> [u64; 3] {
    let engine = Arc::new(Counting::new(Memory::new(Options::default())));
    let count = engine.count();
    let server = Fixture::forgetful(engine);
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let last = server.say(&room, &alice, "seen").await;
    server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    for n in 0..later {
        server.say(&room, &alice, &n.to_string()).await;
    }
    let view = view(&server, &room).await;
    let mut viewer = viewer(&server, &view, &bob).await;
    let token = SyncToken { position: view.view.position(), ..SyncToken::default() }.to_string();
    count.reset();
    let page = page(&mut viewer, &token, None, 2).await;
    let counts = count.snapshot();
    assert!(page.events[1].json().get().contains(last.as_str()), "behind the leave stands what was said last");
    let filter = RoomEventFilter::default();
    let query = PageQuery { from: page.end.as_deref(), to: None, backwards: false, limit: 100, filter: &filter };
    let forwards = viewer.page(&query).await.unwrap();
    assert_eq!((forwards.events.len(), forwards.end), (2, None));
    let ahead = PageQuery { from: Some(&token), to: Some(&token), backwards: true, limit: 100, filter: &filter };
    assert_eq!(viewer.page(&ahead).await.unwrap().end, None);
    [counts.gets, counts.scans, counts.rows_read]
}

#[tokio::test]
async fn who_left_is_not_led_through_what_came_later() {
    // A step reads as many events as there are, up to its size: the room is longer than one.
    assert_eq!(page_of_the_past(200).await, page_of_the_past(3000).await);
}

#[tokio::test]
async fn who_left_asks_for_the_members_of_an_earlier_time() {
    let server = Fixture::new();
    let (alice, bob, carol, dave) = (user("alice"), user("bob"), user("carol"), user("dave"));
    let room = server.public_room(&alice).await;
    server.join(&room, &bob).await;
    let token = |server: &Fixture| SyncToken { position: server.base.view().position(), ..SyncToken::default() };
    let early = token(&server).to_string();
    server.join(&room, &carol).await;
    server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
    server.join(&room, &dave).await;
    let late = token(&server).to_string();
    let view = view(&server, &room).await;
    let mut viewer = viewer(&server, &view, &bob).await;
    for (at, expected) in [(Some(early.as_str()), 2), (Some(late.as_str()), 3), (None, 3)] {
        assert_eq!(viewer.members(at, None, None).await.unwrap().len(), expected, "{at:?}");
    }
    let mut alice = Viewer::new(&view, alice, None, server.base.now()).await.unwrap();
    assert_eq!(alice.members(Some(&late), None, None).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_url_that_was_redacted_is_none() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let picture = json!({ "msgtype": "m.image", "url": "mxc://agency.test/a" });
    let gone = server.send(&room, &alice, "m.room.message", picture.clone()).await;
    let kept = server.send(&room, &alice, "m.room.message", picture).await;
    server.redact(&room, &alice, &gone).await;
    let view = view(&server, &room).await;
    let mut viewer = viewer(&server, &view, &alice).await;
    for (wanted, of_gone, of_kept) in [(true, false, true), (false, true, false)] {
        let filter: RoomEventFilter = serde_json::from_value(json!({ "contains_url": wanted })).unwrap();
        let query = PageQuery { from: None, to: None, backwards: true, limit: 100, filter: &filter };
        let page = viewer.page(&query).await.unwrap();
        let has = |id: &ruma::EventId| page.events.iter().any(|event| id_of(&event.json()) == id.as_str());
        assert_eq!((has(&gone), has(&kept)), (of_gone, of_kept), "{wanted}");
    }
}

fn id_of(event: &serde_json::value::RawValue) -> String {
    let event: Value = serde_json::from_str(event.get()).unwrap();
    event["event_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_event_closest_to_a_time() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    let start = server.base.clock.now_ms();
    let mut said = Vec::new();
    for n in 0..300 {
        server.hand.fetch_add(10, Ordering::Relaxed);
        said.push(server.say(&room, &alice, &n.to_string()).await);
        if n == 99 {
            server.join(&room, &bob).await;
            let joined = json!({ "history_visibility": "joined" });
            server.set(&room, &alice, StateEventType::RoomHistoryVisibility, joined).await;
            server.change(&room, &bob, &bob, Action::Leave).await.unwrap();
        }
    }
    let at = |n: u64| MilliSecondsSinceUnixEpoch(UInt::try_from(start + n).unwrap());
    let view = view(&server, &room).await;
    let mut mine = viewer(&server, &view, &alice).await;
    for (ms, backwards, expected) in [
        (10, false, &said[0]),
        (11, false, &said[1]),
        (19, true, &said[0]),
        (20, true, &said[1]),
        (2991, false, &said[299]),
        (3000, false, &said[299]),
        (9000, true, &said[299]),
    ] {
        assert_eq!(mine.event_near(at(ms), backwards).await.unwrap().0, *expected, "{ms} {backwards}");
    }
    assert_eq!(mine.event_near(at(10), false).await.unwrap().1, at(10));
    assert!(matches!(mine.event_near(at(3001), false).await, Err(ReadRefusal::NotFound)));
    let before = MilliSecondsSinceUnixEpoch(UInt::MIN);
    assert!(matches!(mine.event_near(before, true).await, Err(ReadRefusal::NotFound)));
    // Bob left in the moment of the hundredth; what came later is far behind his last.
    let mut other = viewer(&server, &view, &bob).await;
    assert_eq!(other.event_near(at(2900), true).await.unwrap().1, at(1000));
    assert!(matches!(other.event_near(at(2900), false).await, Err(ReadRefusal::NotFound)));
    let mut stranger = viewer(&server, &view, &user("eve")).await;
    assert!(matches!(stranger.event_near(at(10), true).await, Err(ReadRefusal::Forbidden)));
}

#[tokio::test]
async fn rooms_that_two_share_come_in_pages() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let mut shared = Vec::new();
    for _ in 0..5 {
        let room = server.public_room(&alice).await;
        server.join(&room, &bob).await;
        shared.push(room);
    }
    server.room(&alice).await;
    shared.sort();
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = server.rooms.mutual(&bob, &alice, after.as_deref(), 2).await.unwrap();
        assert_eq!(page.count, 5);
        found.extend(page.joined);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, shared);
}

#[tokio::test]
async fn the_members_of_a_time_are_for_those_who_may_read_of_it() {
    let server = Fixture::new();
    let (alice, bob, carol) = (user("alice"), user("bob"), user("carol"));
    let room = server.public_room(&alice).await;
    let visible = |to: &str| json!({ "history_visibility": to });
    let set = async |to: &str| server.set(&room, &alice, StateEventType::RoomHistoryVisibility, visible(to)).await;
    let now = || SyncToken { position: server.base.view().position(), ..SyncToken::default() }.to_string();
    set("joined").await;
    server.join(&room, &carol).await;
    let hidden = now();
    server.change(&room, &carol, &carol, Action::Leave).await.unwrap();
    server.say(&room, &alice, "before").await;
    let last_hidden = now();
    server.join(&room, &bob).await;
    let joined = now();
    server.say(&room, &alice, "after").await;
    let view = view(&server, &room).await;
    let mut bobs = viewer(&server, &view, &bob).await;
    assert!(matches!(bobs.members(Some(&hidden), None, None).await, Err(ReadRefusal::Forbidden)));
    // The state before their own join is what a sync begins with.
    assert_eq!(bobs.members(Some(&last_hidden), None, None).await.unwrap().len(), 2);
    for token in [&joined, &now()] {
        assert_eq!(bobs.members(Some(token), None, None).await.unwrap().len(), 3);
    }
    assert_eq!(viewer(&server, &view, &alice).await.members(Some(&hidden), None, None).await.unwrap().len(), 2);
    // A room that opens later does not tell strangers who was in it before.
    set("world_readable").await;
    let view = self::view(&server, &room).await;
    let mut eves = viewer(&server, &view, &user("eve")).await;
    for token in [&hidden, &last_hidden, &joined] {
        assert!(matches!(eves.members(Some(token), None, None).await, Err(ReadRefusal::Forbidden)));
    }
    assert_eq!(eves.members(Some(&now()), None, None).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_members_of_a_context_are_those_behind_it() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let room = server.public_room(&alice).await;
    let shown = async |name: &str| {
        let change = crate::rooms::membership::Change {
            actor: bob.clone(),
            target: bob.clone(),
            action: Action::Join,
            content: crate::testing::object(json!({ "displayname": name })),
        };
        server.rooms.submit(&room, change).await.unwrap().event_id
    };
    shown("Bob").await;
    server.say(&room, &bob, "one").await;
    let renamed = shown("Robert").await;
    let middle = server.say(&room, &alice, "two").await;
    server.say(&room, &bob, "three").await;
    shown("Bert").await;
    let view = view(&server, &room).await;
    let lazy: RoomEventFilter = serde_json::from_value(json!({ "lazy_load_members": true })).unwrap();
    let context = viewer(&server, &view, &alice).await.context(&middle, 4, &lazy).await.unwrap();
    assert_eq!((context.before.len(), context.after.len()), (2, 2));
    let context = viewer(&server, &view, &alice).await.context(&middle, 3, &lazy).await.unwrap();
    assert_eq!((context.before.len(), context.after.len()), (1, 2));
    // With the last rename as the last event it is the member's; without, the one before.
    let context = viewer(&server, &view, &alice).await.context(&middle, 2, &lazy).await.unwrap();
    assert_eq!((context.before.len(), context.after.len()), (1, 1));
    let members: Vec<_> = context.state.iter().map(|event| id_of(event)).filter(|id| *id == renamed.as_str()).collect();
    assert_eq!(members.len(), 1, "{:?}", context.state);
}
