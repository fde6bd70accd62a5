//! What a room may have and what is looked at in it: as much as the bound says, and not one more.

use depesche_rules::bounds::{MAX_ALIASES_PER_ROOM, MAX_ALLOWED_ROOMS, MAX_ROOM_ALIAS_BYTES, MAX_TRANSACTION_ID_BYTES};
use ruma::{OwnedRoomAliasId, OwnedRoomId, RoomAliasId, UserId, events::StateEventType};
use serde_json::{Value, json};

use crate::{
    keyspace::{ALIAS, ROOM_ALIAS},
    records::rooms::Alias,
    rooms::{
        aliases::AliasError,
        lane::{Refusal, Transaction},
        membership::Action,
        send::Message,
    },
    testing::{Fixture, object, user},
};

fn alias(name: &str) -> OwnedRoomAliasId {
    RoomAliasId::parse(format!("#{name}:agency.test")).unwrap()
}

/// A room with so many aliases.
async fn named(server: &Fixture, creator: &UserId, count: usize) -> (OwnedRoomId, Vec<OwnedRoomAliasId>) {
    let room = server.room(creator).await;
    let no = server.rooms.find(&room).await.unwrap().unwrap().no;
    let aliases: Vec<_> = (0..count).map(|n| alias(&format!("n{n}"))).collect();
    let tx = server.base.tx();
    for alias in &aliases {
        let target = Alias { room_id: room.clone(), creator: creator.to_owned() };
        tx.put(&ALIAS, &(alias.clone(),), &target);
        tx.put(&ROOM_ALIAS, &(no, alias.clone()), &());
    }
    server.base.commit(&tx).await.unwrap();
    (room, aliases)
}

#[tokio::test]
async fn a_room_has_so_many_aliases_and_no_more() {
    let server = Fixture::new();
    let alice = user("alice");
    let (room, mut aliases) = named(&server, &alice, MAX_ALIASES_PER_ROOM - 1).await;
    let (last, more) = (alias("last"), alias("more"));
    server.rooms.create_alias(&alice, &last, &room).await.unwrap();
    let refused = server.rooms.create_alias(&alice, &more, &room).await;
    assert!(matches!(refused, Err(AliasError::Forbidden(_))), "{refused:?}");
    server.rooms.delete_alias(&alice, &last).await.unwrap();
    server.rooms.create_alias(&alice, &more, &room).await.unwrap();

    aliases.push(more);
    let naming = async |aliases: &[OwnedRoomAliasId]| {
        let content = object(json!({ "alt_aliases": aliases }));
        server.rooms.check_canonical_alias(&alice, &room, &content).await
    };
    naming(&aliases).await.unwrap();
    aliases.push(alias("of-no-room"));
    let refused = naming(&aliases).await;
    assert!(matches!(&refused, Err(Refusal::BadAlias(why)) if why.starts_with("at most")), "{refused:?}");
}

#[tokio::test]
async fn an_alias_has_so_many_bytes_and_no_more() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let of = |length: usize| alias(&"x".repeat(length - "#:agency.test".len()));
    server.rooms.create_alias(&alice, &of(MAX_ROOM_ALIAS_BYTES), &room).await.unwrap();
    let refused = server.rooms.create_alias(&alice, &of(MAX_ROOM_ALIAS_BYTES + 1), &room).await;
    assert!(matches!(refused, Err(AliasError::Invalid(_))), "{refused:?}");
}

#[tokio::test]
async fn of_the_rooms_that_let_in_so_many_are_looked_at() {
    let server = Fixture::new();
    let (alice, bob) = (user("alice"), user("bob"));
    let hall = server.public_room(&alice).await;
    server.join(&hall, &bob).await;
    for (before, joins) in [(MAX_ALLOWED_ROOMS, false), (MAX_ALLOWED_ROOMS - 1, true)] {
        let room = server.room(&alice).await;
        let others = (0..before).map(|n| format!("!other{n}:agency.test"));
        let allow = others.chain([hall.to_string()]);
        let allow: Vec<Value> = allow.map(|room| json!({ "type": "m.room_membership", "room_id": room })).collect();
        let rule = json!({ "join_rule": "restricted", "allow": allow });
        server.set(&room, &alice, StateEventType::RoomJoinRules, rule).await;
        let outcome = server.change(&room, &bob, &bob, Action::Join).await;
        assert_eq!(outcome.is_ok(), joins, "{before} before it: {outcome:?}");
    }
}

#[tokio::test]
async fn a_transaction_id_has_so_many_bytes_and_no_more() {
    let server = Fixture::new();
    let alice = user("alice");
    let room = server.room(&alice).await;
    let send = async |length: usize| {
        let transaction = Transaction {
            user: alice.clone(),
            device: "PHONE".into(),
            scope: format!("send {room}"),
            id: "x".repeat(length),
        };
        let (sender, content) = (alice.clone(), object(json!({ "body": "x" })));
        let message = Message { sender, kind: "m.room.message".into(), content, transaction: Some(transaction) };
        server.rooms.submit(&room, message).await
    };
    let first = send(MAX_TRANSACTION_ID_BYTES).await.unwrap();
    assert_eq!(send(MAX_TRANSACTION_ID_BYTES).await.unwrap().event_id, first.event_id);
    assert!(matches!(send(MAX_TRANSACTION_ID_BYTES + 1).await, Err(Refusal::InvalidParam(_))));
}
