//! A result as its reader sees it: the event, what stands around it, the state of its room.

use std::collections::BTreeMap;

use depesche_rules::bounds::MAX_SEARCH_CONTEXT_BYTES;
use ruma::{OwnedUserId, api::client::filter::RoomEventFilter, events::room::member::MembershipState};
use serde_json::value::RawValue;

use super::{Around, Context, Hit, Profile};
use crate::{
    Fault,
    keyspace::EventNo,
    rooms::{
        history::ReadRefusal,
        show::Viewer,
        shown::Format,
        view::{Event, RoomView},
    },
};

/// A result, which the viewer may see.
pub async fn hit(viewer: &mut Viewer<'_>, no: EventNo, rank: f64, context: Option<Context>) -> Result<Hit, Fault> {
    let event = viewer.room().event(no).await?;
    let context = match context {
        Some(wanted) => Some(around(viewer, &event, wanted).await?),
        None => None,
    };
    Ok(Hit {
        rank,
        id: event.pdu.event_id().clone(),
        room: viewer.room().room_id().to_owned(),
        sender: event.pdu.sender().clone(),
        event: viewer.show_one(&event, Format::WithRoom).await?,
        context,
    })
}

/// The state of a room of which the viewer was shown an event. None of somebody who was invited and sent away hundreds of
/// times since: it is not known any more what they saw.
pub async fn state(viewer: &mut Viewer<'_>) -> Result<Option<Vec<Box<RawValue>>>, Fault> {
    match viewer.state().await {
        Ok(state) => Ok(Some(state)),
        Err(ReadRefusal::Fault(fault)) => Err(fault),
        Err(_) => Ok(None),
    }
}

/// What stands around a result. Without aggregations: these are what surrounds it, and every result repeats them.
async fn around(viewer: &mut Viewer<'_>, event: &Event, wanted: Context) -> Result<Around, Fault> {
    let (most, all) = ((wanted.before, wanted.after), RoomEventFilter::default());
    let stretch = viewer.around(event, most, &all, MAX_SEARCH_CONTEXT_BYTES).await?;
    let profiles = if wanted.profiles {
        let all = stretch.before.iter().chain([event]).chain(&stretch.after);
        Some(profiles(viewer.room(), all).await?)
    } else {
        None
    };
    Ok(Around {
        before: viewer.show_plain(&stretch.before, Format::WithRoom).await?,
        after: viewer.show_plain(&stretch.after, Format::WithRoom).await?,
        start: stretch.start,
        end: stretch.end,
        profiles,
    })
}

/// What those who sent events were called when they did.
async fn profiles(
    room: &RoomView,
    events: impl Iterator<Item = &Event>,
) -> Result<BTreeMap<OwnedUserId, Profile>, Fault> {
    let mut profiles = BTreeMap::new();
    for event in events {
        let sender = event.pdu.sender();
        if profiles.contains_key(sender) {
            continue;
        }
        let member = if event.pdu.is_state("m.room.member", sender.as_str()) {
            Some(event.clone())
        } else {
            room.state_event(room.root_before(event.no).await?, "m.room.member", sender.as_str()).await?
        };
        let Some(member) = member else { continue };
        let member = room.readable(member)?;
        if member.membership() == Some(MembershipState::Join) {
            profiles.insert(sender.clone(), member.content_as().unwrap_or_default());
        }
    }
    Ok(profiles)
}
