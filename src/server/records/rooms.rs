//! Rooms and who has to do with them.

use bytes::Bytes;
use ruma::{OwnedRoomId, OwnedUserId, RoomVersionId, events::room::member::MembershipState};
use serde::{Deserialize, Serialize};

use super::reading::Tally;
use crate::{
    keyspace::{EventNo, KeyNo, NodeNo, RoomNo},
    record,
    table::{self, Record},
};

/// What never changes of a room.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Room {
    /// The id clients and servers use.
    pub room_id: OwnedRoomId,
    /// Decides all its rules.
    pub version: RoomVersionId,
}
record!(Room, 1);

/// What each append changes of a room.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Head {
    /// The number of the next event.
    pub next_event: EventNo,
    /// The number of the next pair of type and state key.
    pub next_key: KeyNo,
    /// The number of the next node of the state tree; 0 means the empty tree and is never used.
    pub next_node: NodeNo,
    /// The current state.
    pub root: RootRecord,
    /// The events no other event follows: what the next one names as `prev_events`.
    pub extremities: Vec<EventNo>,
    /// The greatest depth of the extremities.
    pub depth: u64,
    /// How many events notify anyone by the default push rules.
    pub ordinal: u32,
    /// What of them is loud in the main timeline.
    pub main: Tally,
    /// The ordinal of the newest of them in any thread.
    pub threaded: u32,
    /// What was counted before threads were told apart. 0 in rooms that are younger.
    pub before_threads: BeforeThreads,
    /// Members who are joined.
    pub joined: u32,
    /// Members who are invited.
    pub invited: u32,
    /// The greatest ordinal of an event that counted and was redacted; 0 if there is none.
    pub uncounted: u32,
}

/// What a room had counted when its head was last written in the first version.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct BeforeThreads {
    /// The ordinal: up to it, each event that has one was loud, and counts in the main timeline.
    pub ordinal: u32,
    /// The ordinal of the newest event that named the whole room.
    pub room_named: u32,
}

impl Record for Head {
    fn encode(&self) -> Bytes {
        table::encode(self, 3)
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        match bytes.first() {
            Some(1) => table::decode::<HeadV1>(bytes, 1).map(Self::from),
            // The second version has all but the last number: with a 0 behind it, it reads as the third.
            Some(2) => table::decode(&[bytes, &[0][..]].concat().into(), 2),
            _ => table::decode(bytes, 3),
        }
    }
}

#[derive(Deserialize)]
struct HeadV1 {
    next_event: EventNo,
    next_key: KeyNo,
    next_node: NodeNo,
    root: RootRecord,
    extremities: Vec<EventNo>,
    depth: u64,
    ordinal: u32,
    room_named: u32,
    joined: u32,
    invited: u32,
}

impl From<HeadV1> for Head {
    fn from(old: HeadV1) -> Self {
        let HeadV1 { next_event, next_key, next_node, root, extremities, depth, ordinal, room_named, joined, invited } =
            old;
        let before_threads = BeforeThreads { ordinal, room_named };
        let main = before_threads.tally(ordinal);
        let (threaded, uncounted) = (0, 0);
        Self {
            next_event,
            next_key,
            next_node,
            root,
            extremities,
            depth,
            ordinal,
            main,
            threaded,
            before_threads,
            joined,
            invited,
            uncounted,
        }
    }
}

impl BeforeThreads {
    /// What the main timeline had counted at an ordinal from before its first tally was stored.
    pub fn tally(self, ordinal: u32) -> Tally {
        let named = self.room_named > 0 && ordinal >= self.room_named;
        Tally { loud: ordinal.min(self.ordinal), room: named.into() }
    }
}

/// A root of a room's state tree, stored. The empty tree has node 0.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct RootRecord {
    /// The topmost node.
    pub node: NodeNo,
    /// The levels of nodes below and including it.
    pub height: u8,
}
record!(RootRecord, 1);

/// A pair of event type and state key.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct StateKey {
    /// The event type.
    pub kind: String,
    /// The state key.
    pub state_key: String,
}
record!(StateKey, 1);

/// What a user has to do with a room: the current membership.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Membership {
    /// Where it last changed.
    pub position: u64,
    /// What the membership event says.
    pub state: MembershipState,
    /// The membership event.
    pub event: EventNo,
    /// Left and forgotten: what was in the room is gone from the user's view until they join again, also while they are
    /// invited or knock.
    pub forgotten: bool,
    /// Whether the user was ever joined: who was only invited sees no archived room.
    pub was_joined: bool,
}

impl Membership {
    /// Where the position stands in the stored value: the engine stamps it.
    pub const POSITION: usize = 1;

    /// Whether the room itself is gone from the user's view: forgotten, and nobody has asked them in since.
    pub fn is_put_away(&self) -> bool {
        self.forgotten && matches!(self.state, MembershipState::Leave | MembershipState::Ban)
    }
}

/// The position stands at a fixed place, because the engine stamps it.
impl Record for Membership {
    fn encode(&self) -> Bytes {
        let state = match &self.state {
            MembershipState::Join => 1,
            MembershipState::Invite => 2,
            MembershipState::Knock => 3,
            MembershipState::Ban => 4,
            _ => 0u8,
        };
        let mut bytes = vec![1];
        bytes.extend_from_slice(&self.position.to_be_bytes());
        bytes.extend_from_slice(&[state, u8::from(self.forgotten), u8::from(self.was_joined)]);
        bytes.extend_from_slice(&self.event.to_be_bytes());
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let bytes: &[u8; 16] = bytes.as_ref().try_into().ok()?;
        let state = match bytes[9] {
            0 => MembershipState::Leave,
            1 => MembershipState::Join,
            2 => MembershipState::Invite,
            3 => MembershipState::Knock,
            4 => MembershipState::Ban,
            _ => return None,
        };
        Some(Self {
            position: u64::from_be_bytes(bytes[1..9].try_into().ok()?),
            state,
            forgotten: bytes[10] == 1,
            was_joined: bytes[11] == 1,
            event: u32::from_be_bytes(bytes[12..16].try_into().ok()?),
        })
        .filter(|_| bytes[0] == 1)
    }
}

/// Where an alias points.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Alias {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Who made the alias, and may delete it.
    pub creator: OwnedUserId,
}
record!(Alias, 1);

/// What a member had read on joining: everything before.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Unread {
    /// The room's ordinal at the join. In older databases also that of a later event of the member's own.
    pub ordinal: u32,
}
record!(Unread, 1);

/// Where an event is.
impl Record for (RoomNo, EventNo) {
    fn encode(&self) -> Bytes {
        table::encode(self, 1)
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        table::decode(bytes, 1)
    }
}

/// An event id.
impl Record for ruma::OwnedEventId {
    fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        std::str::from_utf8(bytes).ok()?.try_into().ok()
    }
}
