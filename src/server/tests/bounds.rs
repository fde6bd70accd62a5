//! What one question finds, and what one upgrade carries: as much as the bound says, and not one more.

use depesche_rules::bounds::{
    MAX_ADDITIONAL_CREATORS, MAX_CREATE_INITIAL_STATE, MAX_HIERARCHY_DEPTH, MAX_HIERARCHY_ROOMS, MAX_SEARCH_TERM_BYTES,
    MAX_SPACE_CHILDREN, MAX_UPGRADE_BANS, MAX_UPGRADE_STATE, MAX_USERS_FOUND,
};
use futures::future::{join_all, try_join_all};
use ruma::{
    CanonicalJsonObject, OwnedRoomId, RoomId, RoomVersionId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde_json::json;

use super::{account, big_room::member, change, memory, public_room, set, start, view};
use crate::{
    Server,
    directory::Query,
    keyspace::KEY_NO,
    rooms::{membership::Action, send::State},
    spaces::HierarchyQuery,
    testing::{creation, object, user},
    workflows::{
        create::{CreateError, Creation},
        upgrade::Upgrade,
    },
};

fn via() -> CanonicalJsonObject {
    object(json!({ "via": ["agency.test"] }))
}

/// Ids of rooms that are not there, each before that of any room that is.
fn nowhere(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|n| format!("!!{n:05}:agency.test"))
}

async fn space(server: &Server, creator: &UserId, name: &str) -> OwnedRoomId {
    let creation_content = object(json!({ "type": "m.space" }));
    let creation = Creation { name: Some(name.into()), creation_content, ..creation(creator) };
    server.rooms.create(creation).await.unwrap()
}

/// Puts rooms into a space.
async fn put(server: &Server, space: &RoomId, creator: &UserId, children: impl Iterator<Item = String>) {
    let submit = |state_key| {
        let (sender, kind) = (creator.to_owned(), StateEventType::SpaceChild);
        server.rooms.submit(space, State { sender, kind, state_key, content: via() })
    };
    try_join_all(children.map(submit)).await.unwrap();
}

/// The names of the rooms below one.
async fn below(server: &Server, root: &RoomId, viewer: &UserId) -> String {
    let query = HierarchyQuery { limit: 100, ..HierarchyQuery::default() };
    let page = server.rooms.hierarchy(root, viewer, &query).await.unwrap();
    assert_eq!(page.next, None);
    let names: Vec<_> = page.rooms.into_iter().filter_map(|room| room.summary.name).collect();
    names.join(" ")
}

#[tokio::test]
async fn a_walk_goes_so_deep_and_no_deeper() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let mut spaces: Vec<OwnedRoomId> = Vec::new();
    for depth in 0..=MAX_HIERARCHY_DEPTH + 1 {
        let below = space(&server, alice, &depth.to_string()).await;
        if let Some(above) = spaces.last() {
            put(&server, above, alice, [below.to_string()].into_iter()).await;
        }
        spaces.push(below);
    }
    let all: Vec<_> = (0..=MAX_HIERARCHY_DEPTH + 1).map(|depth| depth.to_string()).collect();
    assert_eq!(below(&server, &spaces[0], alice).await, all[..all.len() - 1].join(" "));
    assert_eq!(below(&server, &spaces[1], alice).await, all[1..].join(" "));
}

#[tokio::test]
async fn a_walk_looks_at_so_many_rooms_and_so_many_children_of_one() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let [root, inner, last] = [
        space(&server, alice, "root").await,
        space(&server, alice, "inner").await,
        space(&server, alice, "last").await,
    ];
    // The root, its children with the inner space behind them all, and those of that with the last one behind them all.
    let outer = MAX_SPACE_CHILDREN - 1;
    let more = MAX_HIERARCHY_ROOMS - 1 - MAX_SPACE_CHILDREN - 1;
    assert!(more < MAX_SPACE_CHILDREN, "else one bound hides the other");
    put(&server, &root, alice, nowhere(0..outer).chain([inner.to_string()])).await;
    put(&server, &inner, alice, nowhere(20_000..20_000 + more).chain([last.to_string()])).await;
    assert_eq!(below(&server, &root, alice).await, "root inner last");
    put(&server, &inner, alice, nowhere(30_000..30_001)).await;
    assert_eq!(below(&server, &root, alice).await, "root inner", "one room more than are looked at");

    let full = MAX_SPACE_CHILDREN - more - 2;
    put(&server, &inner, alice, nowhere(40_000..40_000 + full)).await;
    assert_eq!(below(&server, &inner, alice).await, "inner last");
    put(&server, &inner, alice, nowhere(50_000..50_001)).await;
    assert_eq!(below(&server, &inner, alice).await, "inner", "one child more than are looked at");
}

#[tokio::test]
async fn a_search_for_users_finds_so_many_and_no_more() {
    let server = start(memory()).await;
    let searcher = &account(&server, "searcher").await;
    let open = public_room(&server, searcher, "open").await;
    for (users, limited) in [(0..MAX_USERS_FOUND, false), (MAX_USERS_FOUND..MAX_USERS_FOUND + 1, true)] {
        for n in users {
            let found = account(&server, &format!("anna{n}")).await;
            change(&server, &open, &found, &found, Action::Join).await.unwrap();
        }
        let found = server.user_directory.search(searcher, "anna", usize::MAX).await.unwrap();
        assert_eq!((found.users.len(), found.limited), (MAX_USERS_FOUND, limited));
    }
}

#[tokio::test]
async fn a_term_has_so_many_bytes_and_no_more() {
    let server = start(memory()).await;
    let (searcher, anna) = (&account(&server, "searcher").await, &account(&server, "anna").await);
    let open = public_room(&server, searcher, &"anna".repeat(MAX_SEARCH_TERM_BYTES)).await;
    change(&server, &open, anna, anna, Action::Join).await.unwrap();
    for (length, found) in [(MAX_SEARCH_TERM_BYTES, 1), (MAX_SEARCH_TERM_BYTES + 1, 0)] {
        let term = format!("anna{:>1$}", "anna", length - 4);
        assert_eq!(term.len(), length);
        assert_eq!(server.user_directory.search(searcher, &term, 10).await.unwrap().users.len(), found, "{length}");
        let term = "anna".repeat(length)[..length].to_owned();
        let query = Query { term: Some(term), ..Query::default() };
        assert_eq!(server.directory.page(&query).await.unwrap().rooms.len(), found, "{length}");
    }
}

#[tokio::test]
async fn a_new_room_has_so_much_state_and_so_many_creators() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let with = |count: usize| {
        let state = nowhere(0..count).map(|key| (StateEventType::SpaceChild, key, via()));
        server.rooms.create(Creation { initial_state: state.collect(), ..creation(alice) })
    };
    with(MAX_CREATE_INITIAL_STATE).await.unwrap();
    assert!(matches!(with(MAX_CREATE_INITIAL_STATE + 1).await, Err(CreateError::TooLarge(_))));
    let by = |count: usize| {
        let others: Vec<_> = (0..count).map(member).collect();
        let (version, creation_content) = (Some(RoomVersionId::V12), object(json!({ "additional_creators": others })));
        server.rooms.create(Creation { version, creation_content, ..creation(alice) })
    };
    by(MAX_ADDITIONAL_CREATORS).await.unwrap();
    assert!(matches!(by(MAX_ADDITIONAL_CREATORS + 1).await, Err(CreateError::TooLarge(_))));
}

/// How many children a space has, and how many are banned.
async fn carried(server: &Server, room: &RoomId) -> (usize, usize) {
    let room = view(server, room).await;
    let of = async |kind: StateEventType| {
        let keys = KEY_NO.under(&(room.no, kind.to_string()));
        room.view.scan(&KEY_NO, keys, 5000).await.unwrap().into_iter().map(|((_, _, key), _)| key).collect::<Vec<_>>()
    };
    let mut banned = 0;
    for user in of(StateEventType::RoomMember).await {
        let row = room.membership(<&UserId>::try_from(user.as_str()).unwrap()).await.unwrap();
        banned += usize::from(row.is_some_and(|row| row.state == MembershipState::Ban));
    }
    (of(StateEventType::SpaceChild).await.len(), banned)
}

#[tokio::test]
async fn an_upgrade_carries_so_much_and_no_more() {
    let server = start(memory()).await;
    let alice = &user("alice");
    let old = space(&server, alice, "hall").await;
    put(&server, &old, alice, nowhere(0..MAX_UPGRADE_STATE)).await;
    let ban = async |room: &RoomId, n: usize| change(&server, room, alice, &member(n), Action::Ban).await.unwrap();
    join_all((0..MAX_UPGRADE_BANS).map(|n| ban(&old, n))).await;
    let upgrade = async |room: OwnedRoomId| {
        let version = RoomVersionId::V11;
        let upgrade = Upgrade { user: alice.clone(), room, version, additional_creators: Vec::new() };
        server.rooms.upgrade(upgrade).await.unwrap()
    };
    let new = upgrade(old).await;
    assert_eq!(carried(&server, &new).await, (MAX_UPGRADE_STATE, MAX_UPGRADE_BANS));
    let content = json!({ "via": ["agency.test"] });
    set(&server, &new, alice, StateEventType::SpaceChild, "!more:agency.test", content).await;
    ban(&new, MAX_UPGRADE_BANS).await;
    assert_eq!(carried(&server, &new).await, (MAX_UPGRADE_STATE + 1, MAX_UPGRADE_BANS + 1));
    let newest = upgrade(new).await;
    assert_eq!(carried(&server, &newest).await, (MAX_UPGRADE_STATE, MAX_UPGRADE_BANS));
}
