//! People and rooms on a whole server: profiles on their way, the directories, upgrades, ignored users.

use std::{slice::from_ref, sync::Arc, time::Duration};

use depesche_store::{Engine, Options, memory::Memory};
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, RoomVersionId, UserId,
    api::client::sync::sync_events::v3,
    directory::RoomTypeFilter,
    events::{StateEventType, room::member::MembershipState},
    presence::PresenceState,
};
use serde_json::{Map, Value, json, value::to_raw_value};

use super::start;
use crate::{
    Server,
    account_data::GLOBAL,
    accounts::{Door, NewAccount},
    directory::{DirectoryError, Query},
    keyspace::{BUILT, OPEN_ROOM, PROFILE_SPREAD, USER_TERM, USER_TERMS},
    rooms::{
        lane::Refusal,
        membership::{Action, Change},
        send::{Message, State},
        summary::SummaryError,
        view::RoomView,
    },
    sync::Request,
    testing::{creation, object, user},
    verify::verify,
    workflows::{
        create::{CreateError, Creation, Preset},
        upgrade::{Upgrade, UpgradeError},
    },
};

fn memory() -> Arc<dyn Engine> {
    Arc::new(Memory::new(Options::default()))
}

async fn account(server: &Server, name: &str) -> OwnedUserId {
    let new = NewAccount { localpart: Some(name.into()), ..NewAccount::default() };
    server.accounts.create(&Door::Operator, &new).await.unwrap()
}

async fn public_room(server: &Server, creator: &UserId, name: &str) -> OwnedRoomId {
    let name = Some(name.to_owned());
    let creation = Creation { preset: Preset::PublicChat, published: true, name, ..creation(creator) };
    server.rooms.create(creation).await.unwrap()
}

async fn change(
    server: &Server,
    room: &RoomId,
    actor: &UserId,
    target: &UserId,
    action: Action,
) -> Result<(), Refusal> {
    let (actor, target) = (actor.to_owned(), target.to_owned());
    let change = Change { actor, target, action, content: object(json!({})) };
    server.rooms.submit(room, change).await.map(|_| ())
}

async fn set(server: &Server, room: &RoomId, sender: &UserId, kind: StateEventType, key: &str, content: Value) {
    let state = State { sender: sender.to_owned(), kind, state_key: key.to_owned(), content: object(content) };
    server.rooms.submit(room, state).await.unwrap();
}

async fn say(server: &Server, room: &RoomId, sender: &UserId, body: &str) -> Result<(), Refusal> {
    let content = object(json!({ "msgtype": "m.text", "body": body }));
    let message = Message { sender: sender.to_owned(), kind: "m.room.message".into(), content, transaction: None };
    server.rooms.submit(room, message).await.map(|_| ())
}

async fn keep(server: &Server, user: &UserId, kind: &str, content: Value) {
    server.account_data.set(user, GLOBAL, kind, &to_raw_value(&content).unwrap()).await.unwrap();
}

/// What the check of the database finds.
async fn problems(server: &Server) -> Vec<String> {
    verify(&server.base.view(), |_| ()).await.unwrap().problems
}

async fn view(server: &Server, room: &RoomId) -> RoomView {
    server.rooms.find(room).await.unwrap().unwrap()
}

async fn state(server: &Server, room: &RoomId, kind: &str, key: &str) -> Option<Value> {
    let room = view(server, room).await;
    let event = room.state_event(room.root(), kind, key).await.unwrap()?;
    Some(event.pdu.content_as().unwrap())
}

/// The display name that a room has of a member.
async fn name_in(server: &Server, room: &RoomId, user: &UserId) -> Value {
    state(server, room, "m.room.member", user.as_str()).await.unwrap()["displayname"].clone()
}

async fn sync(server: &Server, user: &UserId, since: Option<String>) -> v3::Response {
    let request = Request {
        user: user.to_owned(),
        device: "PHONE".into(),
        filter: serde_json::from_value(json!({})).unwrap(),
        since,
        full_state: false,
        timeout: Duration::ZERO,
        use_state_after: false,
        set_presence: PresenceState::Offline,
    };
    server.syncs.sync(&request).await.unwrap()
}

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

fn upgrade(user: &UserId, room: &RoomId, version: RoomVersionId) -> Upgrade {
    Upgrade {
        user: user.to_owned(),
        profile: object(json!({})),
        room: room.to_owned(),
        version,
        additional_creators: Vec::new(),
    }
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
        assert_eq!(create["predecessor"].get("event_id").is_some(), to != RoomVersionId::V12);
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
        assert!(levels.can_send(&alice, &"m.room.power_levels".into(), true), "{from} to {to}");
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
    let too_long = Upgrade {
        profile: object(json!({ "displayname": "x".repeat(70_000) })),
        ..upgrade(&alice, &room, RoomVersionId::V12)
    };
    assert!(matches!(server.rooms.upgrade(too_long).await, Err(UpgradeError::Refused(Refusal::TooLarge(_)))));
    say(&server, &room, &alice, "go on").await.unwrap();
    assert_eq!(server.rooms.joined_by(&bob).await.unwrap(), before);
    assert_eq!(server.rooms.joined_by(&alice).await.unwrap(), from_ref(&room));
    assert_eq!(state(&server, &room, "m.room.tombstone", "").await, None);
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
    change(&server, &new, &bob, &bob, Action::Join).await.unwrap();
    for _ in 0..2 {
        server.settle_in(&bob, &new).await.unwrap();
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
    server.settle_in(&bob, &claim).await.unwrap();
    let direct = server.account_data.get(&server.base.view(), &bob, GLOBAL, "m.direct").await.unwrap();
    assert!(!direct.get().contains(claim.as_str()));
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
    let invite = vec![(alice.clone(), object(json!({})))];
    let refused = server.rooms.create(Creation { invite, ..creation(&bob) }).await;
    assert!(matches!(refused, Err(CreateError::Refused(Refusal::InviteBlocked))));
    keep(&server, &alice, "m.invite_permission_config", json!({ "default_action": "allow" })).await;
    change(&server, &room, &bob, &alice, Action::Invite).await.unwrap();
    assert_eq!(sync(&server, &alice, None).await.rooms.invite.len(), 2);
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
    let own = Some(ruma::owned_room_alias_id!("#a:agency.test"));
    made(Creation { alias: own, ..alias("#a:agency.test") }).await.unwrap();
    let state = (StateEventType::from("org.example.x"), String::new(), object(json!({})));
    let many = Creation { initial_state: vec![state; 501], ..creation(&alice) };
    assert!(matches!(made(many).await, Err(CreateError::TooLarge(_))));
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
