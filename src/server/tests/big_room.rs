//! Rooms of any size, fast: the joins are written through `append` like any other event, but their signatures are not
//! made and the auth rules are not asked.

use depesche_rules::pdu::Pdu;
use ruma::{OwnedEventId, OwnedUserId, RoomId};
use serde_json::json;

use crate::{
    base::Base,
    keyspace::{EventNo, ROOM_NO},
    rooms::{
        append::{self, Accepted},
        working::Working,
    },
    testing::user,
};

/// Events of one batch: some 2.5 kB each.
const BATCH: usize = 1000;

/// The user who joined as this one of many.
pub fn member(n: usize) -> OwnedUserId {
    user(&format!("member{n}"))
}

/// Lets so many users join a room. No lane may have it in memory.
pub async fn fill(base: &Base, room: &RoomId, count: usize) {
    let no = base.view().get(&ROOM_NO, &(room.to_owned(),)).await.expect("read").expect("the room exists");
    let mut working = Working::load(&base.tx(), no).await.expect("the room can be read");
    let mut joined = 0;
    while joined < count {
        let tx = base.tx();
        working.begin(&tx);
        let mut auth = Vec::new();
        for kind in ["m.room.create", "m.room.power_levels", "m.room.join_rules"] {
            auth.extend(working.state_no(&tx, kind, "").await.expect("read"));
        }
        for n in joined..count.min(joined + BATCH) {
            let previous = working.head.extremities.clone();
            let previous = working.ids(&tx, &previous).await.expect("read");
            let pdu = join(&working, room, &member(n), &previous);
            let accepted = Accepted { pdu, auth: auth.clone(), sent_with: None, push: false };
            let _: EventNo = append::event(&mut working, &tx, &base.name, accepted).await.expect("appended");
        }
        joined = count.min(joined + BATCH);
        append::close(&mut working, &tx).await.expect("closed");
        base.commit(&tx).await.expect("committed");
        working.committed(&base.events);
    }
}

fn join(working: &Working, room: &RoomId, user: &OwnedUserId, previous: &[OwnedEventId]) -> Pdu {
    let text = json!({
        "auth_events": [],
        "content": { "membership": "join", "displayname": user.localpart() },
        "depth": working.head.depth + 1,
        "hashes": { "sha256": "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg" },
        "origin_server_ts": 1_700_000_000_000_u64,
        "prev_events": previous,
        "room_id": room,
        "sender": user,
        "signatures": {},
        "state_key": user,
        "type": "m.room.member",
    });
    let id = OwnedEventId::try_from(format!("${:0>43}", user.localpart())).expect("an event id");
    Pdu::from_stored(text.to_string().into(), id, working.rules).expect("an event")
}
