//! What is filled is there, for whoever opens the database next.

use depesche_server::keyspace::PASSWORD;
use depesche_server::rooms::view::RoomView;

use super::*;
use crate::contents::{Contents, NewRoom};
use crate::fill::Part;

/// The folder of a server that has run once: its configuration and its key.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("a folder");
    let config = format!(
        "[server]\nname = \"depesche.test\"\ndata_dir = {data:?}\nlisten = \"127.0.0.1:0\"\n\
         [accounts]\ntoken_login = true\n"
    );
    fs::write(folder.path().join("depesche.toml"), config).expect("written");
    let key = SigningKey::from_seed([7; 32], "test").expect("a valid version");
    fs::write(data.join("signing.key"), key.to_text()).expect("written");
    folder
}

/// Who a token admits, after making sure that no password would.
async fn admitted(maker: &InProcess, token: &str) -> ruma::OwnedUserId {
    let caller = maker.server.accounts.authenticate(token).await.expect("the token admits somebody");
    let password = maker.server.base.view().get(&PASSWORD, &(caller.user.clone(),)).await.expect("read");
    assert!(password.is_none(), "{}", caller.user);
    assert!(maker.server.devices.get(&caller.user, &caller.device).await.is_ok(), "with a device");
    caller.user
}

/// Which of these are joined, and how many messages there are.
async fn room(maker: &InProcess, room: &str, users: &[ruma::OwnedUserId]) -> (Vec<bool>, usize) {
    let room = maker.server.rooms.find(room_id(room)).await.expect("read").expect("the room");
    let mut joined = Vec::new();
    for user in users {
        joined.push(room.is_joined(user).await.expect("read"));
    }
    let rows = room.timeline_before(RoomView::place_after(room.view.position()), 100).await.expect("read");
    let numbers: Vec<_> = rows.iter().map(|(_, number)| *number).collect();
    let events = room.events(&numbers).await.expect("read");
    (joined, events.iter().filter(|event| event.pdu.kind().to_string() == "m.room.message").count())
}

#[test]
fn what_is_filled_is_there_when_the_database_is_opened_again() {
    let folder = folder();
    let rooms = vec![NewRoom::of(0..2).with_messages(2, 7), NewRoom::of(1..3)];
    let first = fill(folder.path(), &[("p", Contents { accounts: 3, rooms })]).expect("filled");
    // Which needs the database to be closed.
    let second = fill(folder.path(), &[("q", Contents::people(1))]).expect("filled once more");
    let (Part { tokens, rooms }, more) = (&first["p"], &second["q"].tokens);
    let looked = inside(folder.path(), async |maker| {
        let mut users = Vec::new();
        for token in tokens.iter().chain(more) {
            users.push(admitted(maker, token).await);
        }
        let seen = [room(maker, &rooms[0], &users).await, room(maker, &rooms[1], &users).await];
        (users, seen)
    });
    let (users, seen) = looked.expect("opened");
    let names: Vec<&str> = users.iter().map(|user| user.localpart()).collect();
    assert_eq!(names, ["p0", "p1", "p2", "q0"]);
    assert_eq!(seen[0], (vec![true, true, false, false], 7));
    assert_eq!(seen[1], (vec![false, true, true, false], 0));
}
