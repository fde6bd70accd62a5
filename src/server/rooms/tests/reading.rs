//! What pages, single events and lists of members show.

use ruma::{
    OwnedRoomId, UserId,
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
    server
        .set(&room, &alice, StateEventType::RoomHistoryVisibility, json!({ "history_visibility": "world_readable" }))
        .await;
    let open = server.say(&room, &alice, "to all").await;
    let after = view(&server, &room).await;
    assert!(viewer(&server, &after, &bob).await.event(&open).await.is_ok());
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
