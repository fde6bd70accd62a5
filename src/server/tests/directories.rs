//! Rooms and people as others find them: the room directory, summaries, the user directory; and what a new room may say.

use std::{slice::from_ref, sync::Arc};

use depesche_store::{Options, counting::Counting, faults::Faults, memory::Memory};
use ruma::{
    OwnedRoomId, RoomId, RoomVersionId, UserId,
    directory::RoomTypeFilter,
    events::{StateEventType, room::member::MembershipState},
};
use serde_json::{Value, json};

use super::{account, change, memory, problems, public_room, set, start, view};
use crate::{
    directory::{DirectoryError, Query},
    keyspace::{BUILT, MEMBER, OPEN_ROOM, USER_TERM, USER_TERMS},
    rooms::{lane::Refusal, membership::Action, send::Redaction, summary::SummaryError},
    spaces::HierarchyQuery,
    testing::{creation, object, user},
    workflows::create::{CreateError, Creation, Preset},
};

#[tokio::test]
async fn the_directory_pages_both_ways_by_members() {
    let server = start(memory()).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let mut rooms = Vec::new();
    for name in ["one", "two", "three", "four", "five"] {
        rooms.push(public_room(&server, alice, name).await);
    }
    change(&server, &rooms[3], bob, bob, Action::Join).await.unwrap();
    let names = async |query: Query| {
        let page = server.directory.page(&query).await.unwrap();
        let names: Vec<String> = page.rooms.into_iter().filter_map(|room| room.name).collect();
        (names, page.previous, page.next, page.total)
    };
    let limit = Some(2);
    let (first, none, next, total) = names(Query { limit, ..Query::default() }).await;
    assert_eq!((first, none, total), (vec!["four".into(), "one".into()], None, 5));
    let (second, previous, next, _) = names(Query { limit, since: next, ..Query::default() }).await;
    assert_eq!(second, ["two", "three"]);
    let (last, _, end, _) = names(Query { limit, since: next, ..Query::default() }).await;
    assert_eq!((last, end), (vec!["five".to_owned()], None));
    // What changed since is seen, and a token goes on from its place all the same.
    change(&server, &rooms[4], bob, bob, Action::Join).await.unwrap();
    let (back, none, _, _) = names(Query { limit: Some(9), since: previous, ..Query::default() }).await;
    assert_eq!((back, none), (vec!["four".into(), "five".into(), "one".into()], None));
    server.directory.set(alice, &rooms[0], false).await.unwrap();
    let (all, _, _, total) = names(Query::default()).await;
    assert_eq!((all, total), (["four", "five", "two", "three"].map(str::to_owned).to_vec(), 4));
    for token in ["", "x", "n", "n1", "n1_x", "p-1_2"] {
        let answer = server.directory.page(&Query { since: Some(token.into()), ..Query::default() }).await;
        assert!(matches!(answer, Err(DirectoryError::BadToken)), "{token}");
    }
}

#[tokio::test]
async fn the_directory_loses_no_room_by_a_read_that_fails() {
    let engine = Faults::new(Memory::new(Options::default()));
    let control = engine.control();
    let server = start(Arc::new(engine)).await;
    let alice = &account(&server, "alice").await;
    for passing in 0.. {
        for name in ["one", "two"] {
            public_room(&server, alice, name).await;
        }
        control.fail_read(Some(passing));
        let page = server.directory.page(&Query::default()).await;
        if control.read_left() {
            control.fail_read(None);
            assert!(passing > 4, "reads of the rooms have failed");
            break;
        }
        assert!(page.is_err());
        assert_eq!(server.directory.page(&Query::default()).await.unwrap().total, 2 * passing + 2);
    }
}

#[tokio::test]
async fn a_room_that_its_creator_leaves_as_it_is_made_is_not_published() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let leaves = (StateEventType::RoomMember, alice.to_string(), object(json!({ "membership": "leave" })));
    let room = Creation { published: true, initial_state: vec![leaves], ..creation(alice) };
    let room = server.rooms.create(room).await.unwrap();
    assert!(!server.directory.has(&room).await.unwrap());
    assert_eq!(problems(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_directory_is_searched_by_words_and_types() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let hall = public_room(&server, alice, "Große Halle").await;
    let space = Creation {
        preset: Preset::PublicChat,
        published: true,
        topic: Some("all of the house".into()),
        creation_content: object(json!({ "type": "m.space" })),
        ..creation(alice)
    };
    let space = server.rooms.create(space).await.unwrap();
    let secret = server.rooms.create(Creation { published: true, ..creation(alice) }).await.unwrap();
    let found = async |term: Option<&str>, types: Vec<RoomTypeFilter>| {
        let query = Query { term: term.map(str::to_owned), types, ..Query::default() };
        server.directory.page(&query).await.unwrap().rooms.into_iter().map(|room| room.room_id).collect::<Vec<_>>()
    };
    let plain = || RoomTypeFilter::from(None::<String>);
    assert_eq!(found(Some("GROSSE"), vec![]).await, Vec::<OwnedRoomId>::new());
    assert_eq!(found(Some("große h"), vec![]).await, from_ref(&hall));
    assert_eq!(found(Some("House"), vec![]).await, from_ref(&space));
    assert_eq!(found(None, vec![RoomTypeFilter::Space]).await, from_ref(&space));
    assert_eq!(found(None, vec![plain()]).await, from_ref(&hall));
    assert_eq!(found(None, vec![plain(), RoomTypeFilter::Space]).await, [hall.clone(), space.clone()]);
    assert_eq!(found(Some(&"x".repeat(300)), vec![]).await, Vec::<OwnedRoomId>::new());
    // Nobody could do anything with a room for which one needs an invite.
    assert_eq!(found(None, vec![]).await, [hall, space]);
    assert!(server.directory.has(&secret).await.unwrap());
}

#[tokio::test]
async fn a_room_that_its_last_member_leaves_meanwhile_is_not_published() {
    let server = start(memory()).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let room = server.rooms.create(Creation { preset: Preset::PublicChat, ..creation(alice) }).await.unwrap();
    let no = view(&server, &room).await.no;
    // She was asked whether she may, and leaves before it is done.
    change(&server, &room, alice, alice, Action::Leave).await.unwrap();
    for who in [alice, bob] {
        assert!(matches!(server.directory.put(who, no, true).await, Err(DirectoryError::Forbidden(_))));
    }
    assert!(!server.directory.has(&room).await.unwrap());
    // What is published already is taken out by whoever might.
    let other = public_room(&server, alice, "other").await;
    let no = view(&server, &other).await.no;
    change(&server, &other, bob, bob, Action::Join).await.unwrap();
    change(&server, &other, alice, alice, Action::Leave).await.unwrap();
    server.directory.put(alice, no, false).await.unwrap();
    assert!(!server.directory.has(&other).await.unwrap());
    assert_eq!(problems(&server).await, Vec::<String>::new());
}

#[tokio::test]
async fn who_may_name_a_room_publishes_it() {
    let server = start(memory()).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let room = server.rooms.create(Creation { preset: Preset::PublicChat, ..creation(alice) }).await.unwrap();
    assert!(!server.directory.has(&room).await.unwrap());
    assert!(matches!(server.directory.set(bob, &room, true).await, Err(DirectoryError::Forbidden(_))));
    change(&server, &room, bob, bob, Action::Join).await.unwrap();
    assert!(matches!(server.directory.set(bob, &room, true).await, Err(DirectoryError::Forbidden(_))));
    server.directory.set(alice, &room, true).await.unwrap();
    server.directory.set(alice, &room, true).await.unwrap();
    assert!(server.directory.has(&room).await.unwrap());
    assert_eq!(server.directory.page(&Query::default()).await.unwrap().rooms.len(), 1);
    let nowhere = <&RoomId>::try_from("!nowhere:agency.test").unwrap();
    assert!(matches!(server.directory.set(alice, nowhere, true).await, Err(DirectoryError::NotFound)));
}

#[tokio::test]
async fn users_are_found_by_those_who_may_know_of_them() {
    let server = start(memory()).await;
    let mut users = Vec::new();
    for name in ["searcher", "anna", "annabel", "hannah", "annika", "annette", "anno"] {
        users.push(account(&server, name).await);
    }
    let [searcher, anna, annabel, hannah, annika, annette, anno] = &users[..] else { panic!("seven users") };
    server.profiles.set_field(hannah, "displayname", json!("Dr. Anna Hall")).await.unwrap();
    let found = async |term: &str| {
        let found = server.user_directory.search(searcher, term, 10).await.unwrap();
        found.users.into_iter().map(|user| user.user_id.localpart().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("ann").await, Vec::<String>::new());
    let open = public_room(&server, anna, "open").await;
    for user in [hannah, annika, annette, anno] {
        change(&server, &open, user, user, Action::Join).await.unwrap();
    }
    let private = server.rooms.create(creation(searcher)).await.unwrap();
    change(&server, &private, searcher, annabel, Action::Invite).await.unwrap();
    assert_eq!(found("annab").await, Vec::<String>::new());
    change(&server, &private, annabel, annabel, Action::Join).await.unwrap();
    server.accounts.set_locked(annette, true).await.unwrap();
    server.deactivate(anno, false).await.unwrap();
    // The one whose name it is, then who shares a room, then who has the word in full.
    assert_eq!(found("anna").await, ["anna", "annabel", "hannah"]);
    assert_eq!(found("ANN").await, ["annabel", "anna", "annika", "hannah"]);
    assert_eq!(found("hall ann").await, ["hannah"]);
    assert_eq!(found("@anna:agency.test").await, ["anna", "annabel", "hannah"]);
    assert_eq!(found("anna:agency.test").await, ["anna", "annabel", "hannah"]);
    assert_eq!(found("Anna:agency").await, ["anna", "annabel", "hannah"]);
    assert_eq!(found("@anna:elsewhere.test").await, Vec::<String>::new());
    assert_eq!(found("searcher").await, Vec::<String>::new());
    assert_eq!(found("").await, Vec::<String>::new());
    let few = server.user_directory.search(searcher, "ann", 2).await.unwrap();
    assert_eq!((few.users.len(), few.limited), (2, true));
    let all = server.user_directory.search(searcher, "ann", 4).await.unwrap();
    assert_eq!((all.users.len(), all.limited), (4, false));
    // The room is no longer open: those who are known by it alone are not found any more.
    set(&server, &open, anna, StateEventType::RoomJoinRules, "", json!({ "join_rule": "invite" })).await;
    assert_eq!(found("ann").await, ["annabel"]);
}

#[tokio::test]
async fn who_shares_a_room_is_found_behind_however_many_others() {
    let server = start(memory()).await;
    let (searcher, known) = (&account(&server, "searcher").await, &account(&server, "strange-zoe").await);
    let open = public_room(&server, searcher, "open").await;
    change(&server, &open, known, known, Action::Join).await.unwrap();
    for number in 0..600 {
        account(&server, &format!("stranger-{number}")).await;
    }
    let found = async |term: &str| {
        let found = server.user_directory.search(searcher, term, 10).await.unwrap();
        (found.users.into_iter().map(|user| user.user_id).collect::<Vec<_>>(), found.limited)
    };
    let display = json!("Strangest");
    server.profiles.set_field(known, "displayname", display).await.unwrap();
    for term in ["s", "str", "strangest"] {
        assert_eq!(found(term).await, (vec![known.clone()], false), "{term}");
    }
    // Before all the strangers are as many as are wanted, behind them one more.
    for name in ["sam", "szymon"] {
        let user = account(&server, name).await;
        change(&server, &open, &user, &user, Action::Join).await.unwrap();
    }
    let few = server.user_directory.search(searcher, "s", 2).await.unwrap();
    assert_eq!((few.users.len(), few.limited), (2, true));
}

#[tokio::test]
async fn a_database_without_the_lists_gets_them() {
    let engine = memory();
    let server = start(Arc::clone(&engine)).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let open = public_room(&server, bob, "open").await;
    let closed = server.rooms.create(creation(bob)).await.unwrap();
    let (open, closed) = (view(&server, &open).await.no, view(&server, &closed).await.no);
    let tx = server.base.tx();
    tx.delete_range(USER_TERM.under(&()));
    tx.delete_range(USER_TERMS.under(&()));
    tx.delete_range(OPEN_ROOM.under(&()));
    tx.delete_range(BUILT.under(&()));
    server.base.commit(&tx).await.unwrap();
    assert!(server.user_directory.search(alice, "bob", 10).await.unwrap().users.is_empty());
    drop(server);
    let server = start(engine).await;
    assert_eq!(server.user_directory.search(alice, "bob", 10).await.unwrap().users[0].user_id, *bob);
    let rows = server.base.view().get_many(&OPEN_ROOM, &[(open,), (closed,)]).await.unwrap();
    assert_eq!(rows, [Some(()), None]);
}

#[tokio::test]
async fn a_summary_is_for_those_who_may_know_of_the_room() {
    let server = start(memory()).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let club = server.rooms.create(creation(alice)).await.unwrap();
    let room = server
        .rooms
        .create(Creation { name: Some("Study".into()), topic: Some("books".into()), ..creation(alice) })
        .await
        .unwrap();
    let told = async |viewer: Option<&UserId>| server.rooms.summary(&room, viewer).await.ok();
    assert!(told(None).await.is_none() && told(Some(bob)).await.is_none());
    let (summary, membership) = told(Some(alice)).await.unwrap();
    assert_eq!((summary.name.as_deref(), summary.topic.as_deref()), (Some("Study"), Some("books")));
    assert_eq!((membership, summary.num_joined_members), (Some(MembershipState::Join), 1_u32.into()));
    let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    set(&server, &room, alice, StateEventType::RoomJoinRules, "", rule).await;
    assert!(told(None).await.is_none() && told(Some(bob)).await.is_none());
    change(&server, &club, alice, bob, Action::Invite).await.unwrap();
    change(&server, &club, bob, bob, Action::Join).await.unwrap();
    assert_eq!(told(Some(bob)).await.unwrap().1, Some(MembershipState::Leave));
    set(&server, &room, alice, StateEventType::RoomJoinRules, "", json!({ "join_rule": "knock" })).await;
    assert!(told(None).await.unwrap().1.is_none());
    let nowhere = <&RoomId>::try_from("!nowhere:agency.test").unwrap();
    assert!(matches!(server.rooms.summary(nowhere, Some(alice)).await, Err(SummaryError::NotFound)));
}

#[tokio::test]
async fn the_initial_state_is_checked_like_that_of_a_room_that_exists() {
    let server = start(memory()).await;
    let alice = user("alice");
    let with = |kind: StateEventType, key: &str, content: Value| Creation {
        initial_state: vec![(kind, key.to_owned(), object(content))],
        ..creation(&alice)
    };
    let made = async |creation: Creation| server.rooms.create(creation).await;
    let invite = json!({ "membership": "invite" });
    let remote = with(StateEventType::RoomMember, "@bob:elsewhere.test", invite.clone());
    assert!(matches!(made(remote).await, Err(CreateError::Refused(Refusal::Forbidden(_)))));
    made(with(StateEventType::RoomMember, "@bob:agency.test", invite)).await.unwrap();
    let alias = |alias: &str| with(StateEventType::RoomCanonicalAlias, "", json!({ "alias": alias }));
    assert!(matches!(made(alias("#a:agency.test")).await, Err(CreateError::Refused(Refusal::BadAlias(_)))));
    assert!(matches!(made(alias("nonsense")).await, Err(CreateError::BadContent(_))));
    // What makes the state invalid is no fault of the JSON.
    let invalid = |outcome| matches!(outcome, Err(CreateError::InvalidState(_)));
    for (version, levels) in [
        (RoomVersionId::V12, json!({ "users": { alice.as_str(): 100 } })),
        (RoomVersionId::V10, json!({ "users": { alice.as_str(): "100" } })),
        (RoomVersionId::V12, json!({ "kick": "50" })),
    ] {
        let overridden = Creation { version: Some(version), power_levels: object(levels), ..creation(&alice) };
        assert!(invalid(made(overridden).await));
    }
    let creators = object(json!({ "additional_creators": "@bob:agency.test" }));
    let trusted = Creation { preset: Preset::TrustedPrivateChat, creation_content: creators, ..creation(&alice) };
    assert!(invalid(made(trusted).await));
    let own = Some(ruma::owned_room_alias_id!("#a:agency.test"));
    made(Creation { alias: own, ..alias("#a:agency.test") }).await.unwrap();
    let state = (StateEventType::from("org.example.x"), String::new(), object(json!({})));
    let many = Creation { initial_state: vec![state; 501], ..creation(&alice) };
    assert!(matches!(made(many).await, Err(CreateError::TooLarge(_))));
}

#[tokio::test]
async fn a_room_is_not_found_by_words_that_were_redacted() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let room = public_room(&server, alice, "Hall").await;
    set(&server, &room, alice, StateEventType::RoomTopic, "", json!({ "topic": "secret plans" })).await;
    let found = async |term: &str| {
        let query = Query { term: Some(term.to_owned()), ..Query::default() };
        server.directory.page(&query).await.unwrap().rooms.len()
    };
    assert_eq!((found("secret").await, found("hall").await), (1, 1));
    let view = view(&server, &room).await;
    let topic = view.state_event(view.root(), "m.room.topic", "").await.unwrap().unwrap();
    let target = topic.pdu.event_id().clone();
    let redaction = Redaction { sender: alice.clone(), target, reason: None, transaction: None };
    server.rooms.submit(&room, redaction).await.unwrap();
    assert_eq!((found("secret").await, found("hall").await), (0, 1));
}

#[tokio::test]
async fn a_join_rule_is_told_only_where_the_version_knows_it() {
    let server = start(memory()).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let club = public_room(&server, alice, "club").await;
    change(&server, &club, bob, bob, Action::Join).await.unwrap();
    let allow = json!([{ "type": "m.room_membership", "room_id": club }]);
    for (version, rule, known) in [
        (RoomVersionId::V6, "knock", false),
        (RoomVersionId::V7, "knock", true),
        (RoomVersionId::V7, "restricted", false),
        (RoomVersionId::V8, "restricted", true),
        (RoomVersionId::V9, "knock_restricted", false),
        (RoomVersionId::V10, "knock_restricted", true),
        (RoomVersionId::V6, "public", true),
    ] {
        let content = object(json!({ "join_rule": rule, "allow": allow }));
        let room = Creation {
            version: Some(version.clone()),
            published: true,
            initial_state: vec![(StateEventType::RoomJoinRules, String::new(), content)],
            ..creation(alice)
        };
        let room = server.rooms.create(room).await.unwrap();
        let told = server.rooms.summary(&room, Some(bob)).await;
        assert_eq!(told.is_ok(), known, "{version} {rule}");
        let (mine, _) = server.rooms.summary(&room, Some(alice)).await.unwrap();
        assert_eq!(mine.join_rule.as_str(), if known { rule } else { "invite" }, "{version}");
        let listed = server.directory.page(&Query::default()).await.unwrap().rooms;
        assert_eq!(listed.iter().any(|listed| listed.room_id == room), known, "{version} {rule}");
    }
}

#[tokio::test]
async fn a_hierarchy_shows_all_that_is_near_enough_by_the_shortest_way() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let mut spaces = Vec::new();
    for name in ["root", "a", "b", "c", "d"] {
        let space = Creation {
            name: Some(name.into()),
            creation_content: object(json!({ "type": "m.space" })),
            ..creation(alice)
        };
        spaces.push(server.rooms.create(space).await.unwrap());
    }
    let [root, a, b, c, d] = &spaces[..] else { panic!("five spaces") };
    // From the root over a to b it is farther than straight to b, and a comes first.
    for (parent, child, order) in
        [(root, a, "1"), (root, b, "2"), (a, b, "1"), (b, c, "1"), (c, d, "1"), (d, root, "1")]
    {
        let content = json!({ "via": ["agency.test"], "order": order });
        set(&server, parent, alice, StateEventType::SpaceChild, child.as_str(), content).await;
    }
    let met = async |max_depth: Option<u32>, limit: usize| {
        let (mut names, mut from) = (Vec::new(), None::<String>);
        loop {
            let query = HierarchyQuery { from: from.as_deref(), max_depth, limit, ..HierarchyQuery::default() };
            let page = server.rooms.hierarchy(root, alice, &query).await.unwrap();
            names.extend(page.rooms.into_iter().filter_map(|room| room.summary.name));
            from = page.next;
            if from.is_none() {
                return names.join(" ");
            }
        }
    };
    for limit in [1, 50] {
        assert_eq!(met(Some(0), limit).await, "root");
        assert_eq!(met(Some(1), limit).await, "root a b");
        assert_eq!(met(Some(2), limit).await, "root a b c");
        // Here it is not b whose children were too deep, but c below it.
        assert_eq!(met(Some(3), limit).await, "root a b c d");
        assert_eq!(met(None, limit).await, "root a b c d");
    }
}

#[tokio::test]
async fn a_walk_through_a_space_reads_so_many_children_and_no_more() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let space = async |name: &str| {
        let content = object(json!({ "type": "m.space" }));
        let space = Creation { name: Some(name.into()), creation_content: content, ..creation(alice) };
        server.rooms.create(space).await.unwrap()
    };
    let [root, a, b, c] = [space("root").await, space("a").await, space("b").await, space("c").await];
    for (parent, child, order) in [(&root, &a, "1"), (&root, &b, "2"), (&a, &c, "1")] {
        let content = json!({ "via": ["agency.test"], "order": order });
        set(&server, parent, alice, StateEventType::SpaceChild, child.as_str(), content).await;
    }
    // With one, which of the two is read depends on their names.
    for (children, expected) in [(3, "root a c b"), (2, "root a b"), (0, "root")] {
        let query = HierarchyQuery { limit: 50, ..HierarchyQuery::default() };
        let page = server.rooms.walk(&root, alice, &query, children).await.unwrap();
        let names: Vec<_> = page.rooms.into_iter().filter_map(|room| room.summary.name).collect();
        assert_eq!(names.join(" "), expected, "{children}");
    }
}

#[tokio::test]
async fn a_room_that_all_have_left_is_no_longer_published() {
    let server = start(memory()).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let room = public_room(&server, alice, "hall").await;
    change(&server, &room, bob, bob, Action::Join).await.unwrap();
    change(&server, &room, alice, alice, Action::Leave).await.unwrap();
    assert!(server.directory.has(&room).await.unwrap());
    assert_eq!(server.directory.page(&Query::default()).await.unwrap().total, 1);
    change(&server, &room, bob, bob, Action::Leave).await.unwrap();
    assert!(!server.directory.has(&room).await.unwrap());
    assert_eq!(server.directory.page(&Query::default()).await.unwrap().total, 0);
    // Nor is it again when somebody comes back.
    change(&server, &room, bob, bob, Action::Join).await.unwrap();
    assert!(!server.directory.has(&room).await.unwrap());
}

#[tokio::test]
async fn a_page_of_a_hierarchy_ends_when_it_has_many_bytes() {
    let server = start(memory()).await;
    let alice = &account(&server, "alice").await;
    let mut spaces = Vec::new();
    for name in ["root", "a", "b"] {
        let space = Creation {
            name: Some(name.into()),
            creation_content: object(json!({ "type": "m.space" })),
            ..creation(alice)
        };
        spaces.push(server.rooms.create(space).await.unwrap());
    }
    let [root, a, b] = &spaces[..] else { panic!("three spaces") };
    for (child, order) in [(a, "1"), (b, "2")] {
        let content = json!({ "via": ["agency.test"], "order": order });
        set(&server, root, alice, StateEventType::SpaceChild, child.as_str(), content).await;
    }
    for n in 0..110 {
        let content = json!({ "via": ["agency.test"], "long": "x".repeat(60_000) });
        set(&server, a, alice, StateEventType::SpaceChild, &format!("!{n}:agency.test"), content).await;
    }
    let query = HierarchyQuery { limit: 50, ..HierarchyQuery::default() };
    let first = server.rooms.hierarchy(root, alice, &query).await.unwrap();
    assert_eq!(first.rooms.len(), 2, "the last has too many bytes for another one");
    let children = first.rooms[1].children_state.len();
    assert!((60..110).contains(&children), "{children}: nor is all of that looked at");
    let query = HierarchyQuery { from: first.next.as_deref(), ..query };
    let second = server.rooms.hierarchy(root, alice, &query).await.unwrap();
    assert_eq!(second.rooms[0].summary.room_id, *b);
    assert_eq!((second.rooms.len(), second.next), (1, None));
}

#[tokio::test]
async fn finding_somebody_does_not_cost_all_their_rooms() {
    let engine = Counting::new(Memory::new(Options::default()));
    let count = engine.count();
    let server = start(Arc::new(engine)).await;
    let (alice, bob) = (&account(&server, "alice").await, &account(&server, "bob").await);
    let open = public_room(&server, bob, "open").await;
    for _ in 0..150 {
        server.rooms.create(creation(bob)).await.unwrap();
    }
    let memberships = async || {
        count.reset();
        assert_eq!(server.user_directory.search(alice, "bob", 10).await.unwrap().users.len(), 1);
        count.by_first_byte().get(&MEMBER.number).map_or(0, |rows| rows.read)
    };
    let read = memberships().await;
    assert!(read <= 100, "up to a room that is open: {read}");
    change(&server, &open, alice, alice, Action::Join).await.unwrap();
    let read = memberships().await;
    assert!(read <= 2, "in the rooms of who searches: {read}");
}
