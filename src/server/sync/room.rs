//! The part of an answer that one room has: joined, or left.
//!
//! What all rooms of the answer have in common is in `asked.rs`; which rooms have a part, [`super::v3`] says.

mod asked;

use std::collections::{BTreeMap, BTreeSet};

use depesche_rules::visibility;
use depesche_store::Position;
use ruma::{
    OwnedEventId, OwnedUserId, UserId,
    api::client::sync::sync_events::{
        UnreadNotificationsCount,
        v3::{
            Ephemeral, JoinedRoom, LeftRoom, RoomAccountData, RoomSummary, State, StateEvents, Timeline as WireTimeline,
        },
    },
    events::{AnySyncTimelineEvent, room::member::MembershipState},
    serde::Raw,
};

pub use self::asked::Asked;
use super::{
    delta::{self, Frame, Sent},
    passing::Passing,
    summary,
    timeline::{Span, Timeline},
};
use crate::{
    keyspace::EventNo,
    records::rooms::{Membership, RootRecord},
    rooms::{
        show::Viewer,
        unread::Count,
        view::{Event, RoomView},
    },
    tx::Fault,
};

/// The newest events that are looked through for redactions, where none of what came is shown.
const REDACTIONS: usize = 100;

/// The part of a room that the user is in; `None` if there is nothing to say.
pub async fn joined(
    asked: &Asked<'_>,
    (room, member): (&RoomView, &Membership),
    known: Option<Position>,
    account_data: RoomAccountData,
    passing: Passing,
    sent: &mut Sent,
) -> Result<Option<JoinedRoom>, Fault> {
    let mut viewer = asked.viewer(room, member);
    let span = Span { after: known, before: RoomView::place_after(room.view.position()), always: None };
    let timeline = asked.timeline(room, &mut viewer, &span).await?;
    let frame = frame(asked, room, known, &timeline, room.root()).await?;
    let mut state = delta::section(room, &frame, asked.want, &timeline.events).await?;

    let everything = frame.before.is_none();
    let said = timeline.events.iter().chain(&state);
    let mut said = said.map(|event| event.pdu.kind().to_string());
    // A redaction that was cut off may have taken the room's name, and no state has changed.
    let summary = if everything || timeline.limited || said.any(|kind| summary::depends_on(&kind)) {
        summary::summary(room, asked.user()).await?
    } else {
        RoomSummary::default()
    };
    let nothing = timeline.events.is_empty() && !timeline.limited && state.is_empty() && account_data.is_empty();
    let nothing = nothing && passing.is_empty();
    if nothing && !everything && !counts_changed(room, known).await? {
        return Ok(None);
    }
    if asked.want.lazy {
        let own = everything.then(|| asked.request.user.clone());
        let needed = summary.heroes.iter().cloned().chain(own).collect();
        add_members(asked, room, &frame, &timeline.events, &mut state, needed, sent).await?;
    }
    let (unread_notifications, unread_thread_notifications) = counts(asked, room).await?;
    Ok(Some(JoinedRoom {
        summary,
        unread_notifications,
        unread_thread_notifications,
        ephemeral: Ephemeral { events: passing.events },
        timeline: wire_timeline(asked, &mut viewer, &timeline, &span).await?,
        state: wire_state(asked, &mut viewer, state, everything).await?,
        account_data,
    }))
}

/// What the user has not read: of the room as a whole or, if the filter asks for threads, of the main timeline and each
/// thread.
async fn counts(
    asked: &Asked<'_>,
    room: &RoomView,
) -> Result<(UnreadNotificationsCount, BTreeMap<OwnedEventId, UnreadNotificationsCount>), Fault> {
    let wire = |count: Count| UnreadNotificationsCount {
        highlight_count: Some(count.highlights.into()),
        notification_count: Some(count.notifications.into()),
    };
    let unread = asked.counter.count(room, &asked.own.reader).await?;
    if !asked.filter().room.timeline.unread_thread_notifications {
        return Ok((wire(unread.total()), BTreeMap::new()));
    }
    let threads = unread.threads.into_iter().map(|(root, count)| (root, wire(count)));
    Ok((wire(unread.main), threads.collect()))
}

/// The part of a room that the user is no longer in, or was not let into.
pub async fn left(
    asked: &Asked<'_>,
    room: &RoomView,
    member: &Membership,
    account_data: RoomAccountData,
) -> Result<LeftRoom, Fault> {
    let mut viewer = asked.viewer(room, member);
    let leave = room.event(member.event).await?;
    let departure = match room.last_stay(asked.user(), leave.no).await? {
        Some(stay) => Some(room.event(stay.departure).await?),
        None => None,
    };
    let in_span = |event: &Event| asked.since.is_none_or(|since| event.meta.place.anchor > since);
    let Some(departure) = departure.filter(in_span) else {
        return left_unseen(asked, &mut viewer, leave, account_data).await;
    };
    let known = asked.known(room, member).await?;
    let span = Span { after: known, before: leave.meta.place.next(), always: Some(leave.no) };
    let timeline = asked.timeline(room, &mut viewer, &span).await?;
    let end = room.root_before(departure.no).await?;
    let mut frame = frame(asked, room, known, &timeline, end).await?;
    if timeline.first.is_some_and(|(place, _)| place > departure.meta.place) {
        // All that is shown is of later: a ban, say. The state before that was never theirs to see.
        frame.start = frame.end;
    }
    frame.last = leave.meta.facts.key.map(|key| (key, leave.no));
    let mut state = delta::section(room, &frame, asked.want, &timeline.events).await?;
    if asked.want.lazy {
        add_members(asked, room, &frame, &timeline.events, &mut state, BTreeSet::new(), &mut Sent::default()).await?;
    }
    Ok(LeftRoom {
        timeline: wire_timeline(asked, &mut viewer, &timeline, &span).await?,
        state: wire_state(asked, &mut viewer, state, frame.before.is_none()).await?,
        account_data,
    })
}

/// A room that the user never was in, or had left before: an invite refused, say. They learn of their own membership.
async fn left_unseen(
    asked: &Asked<'_>,
    viewer: &mut Viewer<'_>,
    leave: Event,
    account_data: RoomAccountData,
) -> Result<LeftRoom, Fault> {
    let place = leave.meta.place;
    let span = Span { after: asked.since, before: place, always: None };
    let shows = leave.passes(&asked.filter().room.timeline);
    let shown = if shows { vec![leave.clone()] } else { Vec::new() };
    let state = if asked.want.after || !shows { vec![leave] } else { Vec::new() };
    let timeline = Timeline { events: shown, ..Timeline::default() };
    Ok(LeftRoom {
        timeline: wire_timeline(asked, viewer, &timeline, &span).await?,
        state: wire_state(asked, viewer, state, false).await?,
        account_data,
    })
}

/// Whether a room was one of the user's at a position: they were in it, invited to it or knocked at it.
pub async fn was_of(room: &RoomView, user: &UserId, at: Position) -> Result<bool, Fault> {
    use MembershipState as M;
    Ok(matches!(membership(room, room.root_at(at).await?, user).await?, M::Join | M::Invite | M::Knock))
}

async fn membership(room: &RoomView, root: RootRecord, user: &UserId) -> Result<MembershipState, Fault> {
    let event = room.state_event(root, "m.room.member", user.as_str()).await?;
    Ok(visibility::membership(event.as_ref().map(|event| &event.pdu)))
}

async fn frame(
    asked: &Asked<'_>,
    room: &RoomView,
    known: Option<Position>,
    timeline: &Timeline,
    end: RootRecord,
) -> Result<Frame, Fault> {
    let known = match known {
        Some(known) => Some(state_at(asked, room, known, timeline, end).await?),
        None => None,
    };
    let start = match (known, timeline.first) {
        (Some(known), _) if !timeline.limited => known,
        (_, Some((_, first))) => room.root_before(first).await?,
        (_, None) => end,
    };
    Ok(Frame { before: known.filter(|_| !asked.request.full_state), known, start, end, last: None })
}

/// The state that the client has. Where the one before the first event since then is that of the end, nothing has changed:
/// mostly it is so, and it need not be looked up.
async fn state_at(
    asked: &Asked<'_>,
    room: &RoomView,
    known: Position,
    timeline: &Timeline,
    end: RootRecord,
) -> Result<RootRecord, Fault> {
    let first = match timeline.oldest {
        Some(oldest) => room.roots_before(&[oldest]).await?.pop().flatten(),
        None => None,
    };
    let unchanged = first == Some(end);
    if unchanged && end == room.root() {
        asked.note_unchanged(room.no);
    }
    if unchanged { Ok(end) } else { room.root_at(known).await }
}

/// Adds the members that the client needs to show the timeline and the room's name, and does not have. Where the state is
/// that after the timeline, the client takes none from the timeline itself.
async fn add_members(
    asked: &Asked<'_>,
    room: &RoomView,
    frame: &Frame,
    timeline: &[Event],
    state: &mut Vec<Event>,
    mut needed: BTreeSet<OwnedUserId>,
    sent: &mut Sent,
) -> Result<(), Fault> {
    needed.extend(timeline.iter().map(|event| event.pdu.sender().clone()));
    let at = room.view.position();
    let taken = if asked.want.after { &[] } else { timeline };
    let member = |event: &Event| {
        let user = event.pdu.membership().and(event.pdu.state_key());
        user.and_then(|user| OwnedUserId::try_from(user).ok())
    };
    if asked.want.after {
        needed.extend(timeline.iter().filter_map(member));
    }
    let everything = frame.before.is_none();
    let said: BTreeSet<EventNo> = state.iter().chain(taken).map(|event| event.no).collect();
    let target = asked.want.target(frame);
    let repeats = asked.redundant || everything;
    let known = !repeats && sent.has_all(room.no, &needed, target);
    let members = if known { Vec::new() } else { delta::members(room, target, &needed).await? };
    let wanted = members.iter().filter(|(user, no)| !said.contains(no) && (repeats || !sent.has(room.no, user, *no)));
    let missing: Vec<_> = wanted.map(|(_, no)| *no).collect();
    state.extend(delta::events(room, &missing).await?);
    // What the filter keeps out was not sent.
    state.retain(|event| event.passes(&asked.filter().room.state));
    for event in state.iter().chain(taken) {
        if let Some(user) = member(event) {
            sent.note(room.no, user, event.no, at);
        }
    }
    sent.hold(room.no, &members, target);
    Ok(())
}

/// Whether events came since that notify, or that take such back, though none of them is shown.
async fn counts_changed(room: &RoomView, known: Option<Position>) -> Result<bool, Fault> {
    let since = RoomView::place_after(known.unwrap_or_default());
    let Some((_, last)) = room.timeline_before(since, 1).await?.pop() else { return Ok(room.head.ordinal > 0) };
    let meta = room.metas(&[last]).await?;
    if meta.first().is_some_and(|meta| meta.facts.ordinal != room.head.ordinal) {
        return Ok(true);
    }
    let came = room.timeline_before(RoomView::place_after(room.view.position()), REDACTIONS).await?;
    let came: Vec<_> = came.into_iter().filter(|(place, _)| *place >= since).map(|(_, no)| no).collect();
    Ok(room.events(&came).await?.iter().any(|event| event.pdu.redacts().is_some()))
}

async fn wire_timeline(
    asked: &Asked<'_>,
    viewer: &mut Viewer<'_>,
    timeline: &Timeline,
    span: &Span,
) -> Result<WireTimeline, Fault> {
    // With nothing in it, the timeline begins where the client's knowledge ends, unless all of it was left out.
    let known = span.after.filter(|_| !timeline.limited).map(RoomView::place_after);
    let begins = timeline.first.map(|(place, _)| place).or(known).unwrap_or(span.before);
    let events: Vec<Raw<AnySyncTimelineEvent>> =
        asked.shape.timeline(viewer, timeline, timeline.limited && asked.left() > 0).await?;
    let written: usize = events.iter().map(|event| event.json().get().len()).sum();
    asked.count(written.saturating_sub(timeline.bytes));
    Ok(WireTimeline { limited: timeline.limited || asked.anew, prev_batch: Some(begins.to_string()), events })
}

/// `whole` says that it is all the state there is, not what changed.
async fn wire_state(
    asked: &Asked<'_>,
    viewer: &mut Viewer<'_>,
    mut state: Vec<Event>,
    whole: bool,
) -> Result<State, Fault> {
    let wanted = &asked.filter().room.state;
    state.retain(|event| event.passes(wanted));
    let events = StateEvents { events: asked.shape.state(viewer, &state, whole).await? };
    Ok(if asked.want.after { State::After(events) } else { State::Before(events) })
}
