//! The answer to `/sync` as it is written.
//!
//! ruma's response leaves out what is empty. The specification allows that; clients that grew up with Synapse do not all
//! survive it: those made with `nio` end for good at a left room without `state`. So joined and left rooms have all their
//! sections here, as Synapse has them.

use ruma::{
    api::client::sync::sync_events::v3::{JoinedRoom, LeftRoom, Response, RoomAccountData, Rooms, State, Timeline},
    events::AnySyncTimelineEvent,
    serde::Raw,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// An answer to `/sync`.
pub struct Answer(pub Response);

struct AllRooms<'a>(&'a Rooms);

struct Joined<'a>(&'a JoinedRoom);

struct Left<'a>(&'a LeftRoom);

/// A section that says so if it has no events.
#[derive(Serialize)]
#[serde(bound = "")]
struct Events<'a, T> {
    events: &'a [Raw<T>],
}

#[derive(Serialize)]
struct WholeTimeline<'a> {
    events: &'a [Raw<AnySyncTimelineEvent>],
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_batch: Option<&'a str>,
    limited: bool,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Response { next_batch, rooms, presence, account_data, to_device, device_lists, .. } = &self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("next_batch", next_batch)?;
        if !rooms.is_empty() {
            map.serialize_entry("rooms", &AllRooms(rooms))?;
        }
        if !presence.is_empty() {
            map.serialize_entry("presence", presence)?;
        }
        if !account_data.is_empty() {
            map.serialize_entry("account_data", account_data)?;
        }
        if !to_device.is_empty() {
            map.serialize_entry("to_device", to_device)?;
        }
        if !device_lists.is_empty() {
            map.serialize_entry("device_lists", device_lists)?;
        }
        map.serialize_entry("device_one_time_keys_count", &self.0.device_one_time_keys_count)?;
        if let Some(unused) = &self.0.device_unused_fallback_key_types {
            map.serialize_entry("device_unused_fallback_key_types", unused)?;
        }
        map.end()
    }
}

impl Serialize for AllRooms<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Each<F>(F);

        impl<I, K, V, F> Serialize for Each<F>
        where
            F: Fn() -> I,
            I: Iterator<Item = (K, V)>,
            K: Serialize,
            V: Serialize,
        {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0())
            }
        }

        let Rooms { leave, join, invite, knock, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        if !join.is_empty() {
            map.serialize_entry("join", &Each(|| join.iter().map(|(id, room)| (id, Joined(room)))))?;
        }
        if !invite.is_empty() {
            map.serialize_entry("invite", invite)?;
        }
        if !knock.is_empty() {
            map.serialize_entry("knock", knock)?;
        }
        if !leave.is_empty() {
            map.serialize_entry("leave", &Each(|| leave.iter().map(|(id, room)| (id, Left(room)))))?;
        }
        map.end()
    }
}

impl Serialize for Joined<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let JoinedRoom { summary, unread_notifications, unread_thread_notifications, ephemeral, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        sections(&mut map, &self.0.timeline, &self.0.state, &self.0.account_data)?;
        map.serialize_entry("ephemeral", &Events { events: &ephemeral.events })?;
        map.serialize_entry("unread_notifications", unread_notifications)?;
        if !unread_thread_notifications.is_empty() {
            map.serialize_entry("unread_thread_notifications", unread_thread_notifications)?;
        }
        if !summary.is_empty() {
            map.serialize_entry("summary", summary)?;
        }
        map.end()
    }
}

impl Serialize for Left<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        sections(&mut map, &self.0.timeline, &self.0.state, &self.0.account_data)?;
        map.end()
    }
}

/// What joined and left rooms both have.
fn sections<M: SerializeMap>(
    map: &mut M,
    timeline: &Timeline,
    state: &State,
    account_data: &RoomAccountData,
) -> Result<(), M::Error> {
    let Timeline { limited, prev_batch, events, .. } = timeline;
    let timeline = WholeTimeline { events, prev_batch: prev_batch.as_deref(), limited: *limited };
    map.serialize_entry("timeline", &timeline)?;
    match state {
        State::Before(state) => map.serialize_entry("state", &Events { events: &state.events })?,
        State::After(state) => map.serialize_entry("state_after", &Events { events: &state.events })?,
    }
    map.serialize_entry("account_data", &Events { events: &account_data.events })
}
