//! What takes more than one part of the server: creating a room and upgrading one, what follows a join, deactivating an
//! account, changing a profile everywhere, building the lists that older databases do not have.

mod build;
pub mod create;
pub mod deactivate;
pub mod profile;
pub mod settle;
pub mod upgrade;

use std::time::Duration;

use ruma::RoomId;

use crate::{
    rooms::{
        Rooms,
        lane::{Refusal, Sent},
        membership::Change,
    },
    tx::FaultKind,
};

/// How often a change is tried in a room that is busy, the first time included.
const TRIES: u32 = 8;
/// How long to wait before the second time; before each further one twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// Hands a change to a room, and again if the room had too much to do: for what nobody repeats who is told so.
async fn submit_patiently(rooms: &Rooms, room: &RoomId, change: &Change) -> Result<Sent, Refusal> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match rooms.submit(room, change.clone()).await {
            Err(Refusal::Busy) => {}
            Err(Refusal::Fault(fault)) if fault.kind() == FaultKind::Contended => {}
            outcome => return outcome,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    rooms.submit(room, change.clone()).await
}
