//! The only place that writes events: rows, indexes, state, membership, counts (`count.rs`) and topics of one batch.
//!
//! Nothing here decides whether an event is allowed; the lane has asked `rules` before. The batch is committed by the
//! lane, once.

use bytes::Bytes;
use depesche_rules::{pdu::Pdu, redaction, visibility};
use depesche_store::{Position, Stamp, StampAt};
use ruma::{
    OwnedUserId, ServerName,
    events::{TimelineEventType, room::member::MembershipState},
};

use super::{annotations, count, relations, state::Tree, summary, working::Working};
use crate::{
    keyspace::{
        EVENT, EVENT_NO, EventNo, HEAD, KEY, KEY_NO, KeyNo, MEMBER, META, NODE, OPEN_ROOM, PUBLISHED, PUSH_OUTBOX,
        ROOM, ROOM_NO, ROOT_AT, ROOT_BEFORE, RoomNo, TIMELINE, UNREAD,
    },
    records::{
        events::{Facts, Meta, Place, SentWith, Status},
        rooms::{Membership, RootRecord, StateKey, Unread},
    },
    topic,
    tx::{Fault, Tx},
    typing,
};

/// In keys that begin with a room's number: table, room, then the position.
const POSITION_IN_KEY: Stamp = Stamp { at: StampAt::Key, offset: 9 };
/// In keys that begin with the position.
const POSITION_FIRST: Stamp = Stamp { at: StampAt::Key, offset: 1 };

/// An event that passed its checks, with what the batch needs beside it.
pub struct Accepted {
    /// The event.
    pub pdu: Pdu,
    /// The numbers of its auth events.
    pub auth: Vec<EventNo>,
    /// How it was sent, if by a client of ours.
    pub sent_with: Option<SentWith>,
    /// Whether it leaves a row for push.
    pub push: bool,
}

/// Puts the rows of a new room into the batch, before its first event.
pub fn found(working: &Working, tx: &Tx) {
    tx.assume_absent(&ROOM_NO, &(working.room.room_id.clone(),));
    tx.put(&ROOM_NO, &(working.room.room_id.clone(),), &working.no);
    tx.put(&ROOM, &(working.no,), &working.room);
}

/// Appends one live event to the room and returns its number.
pub async fn event(working: &mut Working, tx: &Tx, name: &ServerName, event: Accepted) -> Result<EventNo, Fault> {
    let Accepted { pdu, auth, sent_with, push } = event;
    let no = working.head.next_event;
    let root_before = working.head.root;
    let redacts = redacted(working, tx, &pdu).await?;
    count::event(working, tx, name, no, &pdu).await?;

    let key = state_key(&pdu);
    let key_no = match &key {
        Some(key) => Some(set_state(working, tx, key, no).await?),
        None => None,
    };
    let meta = Meta {
        place: Place { anchor: Position(0), sub: working.appended, back: 0 },
        facts: Facts {
            event_id: pdu.event_id().clone(),
            status: Status::Accepted,
            auth,
            prev: std::mem::replace(&mut working.head.extremities, vec![no]),
            key: key_no,
            ordinal: working.head.ordinal,
            redacted_by: None,
            sent_with,
            has_children: false,
        },
    };
    tx.put(&EVENT, &(working.no, no), &Bytes::copy_from_slice(pdu.json().as_bytes()));
    put_meta(tx, working.no, no, &meta);
    tx.put(&EVENT_NO, &(pdu.event_id().clone(),), &(working.no, no));
    tx.put(&ROOT_BEFORE, &(working.no, no), &root_before);
    let place = (working.no, Position(0), working.appended, 0);
    tx.put_stamped(&TIMELINE, &place, &no, vec![POSITION_IN_KEY]);

    if push {
        tx.put_stamped(&PUSH_OUTBOX, &(Position(0), working.appended), &(working.no, no), vec![POSITION_FIRST]);
        tx.topic(topic::push());
    }

    if let Some(target) = redacts {
        count::redacted(working, tx, name, target).await?;
        redact(working, tx, target, no).await?;
    }
    annotations::remember(working, tx, no, &pdu);
    relations::remember(working, tx, no, &pdu).await?;
    if *pdu.kind() == TimelineEventType::RoomMember {
        change_member(working, tx, no, &pdu).await?;
    }
    let opens = redacts.is_some() || key.as_ref().is_some_and(summary::is_of_access);
    working.remember(no, &pdu, root_before, key);
    if opens {
        mark_open(working, tx).await?;
    }
    working.head.next_event += 1;
    working.head.depth = working.head.depth.max(pdu.depth());
    working.appended += 1;
    working.bytes += pdu.json().len();
    Ok(no)
}

/// Puts the head, the state after the commit if it changed, and what the batch's events are about: once a batch, after
/// its events.
pub async fn close(working: &mut Working, tx: &Tx) -> Result<(), Fault> {
    relations::close(working, tx).await?;
    if working.before().map(|head| head.root) != Some(working.head.root) {
        let key = (working.no, Position(0));
        tx.put_stamped(&ROOT_AT, &key, &working.head.root, vec![POSITION_IN_KEY]);
    }
    if working.head.joined == 0 && working.before().is_some_and(|head| head.joined > 0) {
        unpublish(working.no, tx).await?;
    }
    tx.put(&HEAD, &(working.no,), &working.head);
    tx.topic(topic::room(working.no));
    Ok(())
}

/// Takes a room that its last member has left out of the room directory: nobody could do that any more.
async fn unpublish(room: RoomNo, tx: &Tx) -> Result<(), Fault> {
    if tx.read(&PUBLISHED, &(room,)).await?.is_some() {
        tx.delete(&PUBLISHED, &(room,));
        tx.topic(topic::directory());
    }
    Ok(())
}

fn state_key(pdu: &Pdu) -> Option<StateKey> {
    let state_key = pdu.state_key()?;
    Some(StateKey { kind: pdu.kind().to_string(), state_key: state_key.to_owned() })
}

/// Sets a state in the tree, giving its key a number if it has none.
async fn set_state(working: &mut Working, tx: &Tx, key: &StateKey, event: EventNo) -> Result<KeyNo, Fault> {
    let key_no = if let Some(known) = working.key_no(tx, key).await? {
        known
    } else {
        let no = working.head.next_key;
        working.head.next_key += 1;
        tx.put(&KEY_NO, &(working.no, key.kind.clone(), key.state_key.clone()), &no);
        tx.put(&KEY, &(working.no, no), key);
        working.remember_key(key.clone(), no);
        no
    };
    let (room, root, next) = (working.no, working.head.root, working.head.next_node);
    let set = Tree::of(tx.view(), room, working.nodes()).set(root, &[(key_no, Some(event))], next).await?;
    for (node_no, node) in set.nodes {
        tx.put(&NODE, &(room, node_no), &Bytes::from(node.encode()));
        working.head.next_node = working.head.next_node.max(node_no + 1);
        working.nodes().insert(node_no, node);
    }
    working.head.root = RootRecord { node: set.root.node, height: set.root.height };
    Ok(key_no)
}

/// The event that this one redacts, if it is in the room and the redaction applies.
async fn redacted(working: &mut Working, tx: &Tx, pdu: &Pdu) -> Result<Option<EventNo>, Fault> {
    let Some(target) = pdu.redacts() else { return Ok(None) };
    let Some(no) = working.event_no(tx, &target.to_owned()).await? else { return Ok(None) };
    let target = working.pdu(tx, no).await?;
    let Some(levels) = working.power_levels(tx).await? else { return Ok(None) };
    Ok(redaction::applies(pdu, &target, &levels).then_some(no))
}

async fn redact(working: &mut Working, tx: &Tx, target: EventNo, by: EventNo) -> Result<(), Fault> {
    let key = (working.no, target);
    let Some(mut meta) = tx.read(&META, &key).await? else { return Ok(()) };
    if meta.facts.redacted_by.is_some() {
        // The first redaction took the content; there is nothing left for this one.
        return Ok(());
    }
    relations::forget(working, tx, target, meta.place).await?;
    meta.facts.redacted_by = Some(by);
    put_meta(tx, working.no, target, &meta);
    working.forget_content(target)
}

/// Keeps the row of a room that everyone may join or read in step with its state.
async fn mark_open(working: &mut Working, tx: &Tx) -> Result<(), Fault> {
    let rules = working.state(tx, summary::JOIN_RULES, "").await?;
    let visibility = working.state(tx, summary::HISTORY_VISIBILITY, "").await?;
    put_open(tx, working.no, summary::is_open(rules.as_ref(), visibility.as_ref()));
    Ok(())
}

/// Puts or takes away the row of a room that everyone may join or read. For rooms from before there were such rows.
pub fn put_open(tx: &Tx, room: RoomNo, is_open: bool) {
    if is_open {
        tx.put(&OPEN_ROOM, &(room,), &());
    } else {
        tx.delete(&OPEN_ROOM, &(room,));
    }
}

/// Makes for these events of earlier batches, in their order, what databases did not have when they were appended: the
/// index of relations, and what redacted ones had counted. A batch takes those of one room once.
pub async fn catch_up(tx: &Tx, name: &ServerName, room: RoomNo, events: &[EventNo]) -> Result<(), Fault> {
    let mut working = Working::load(tx, room).await?;
    relations::catch_up(&mut working, tx, events).await?;
    for no in events {
        count::catch_up(&mut working, tx, name, *no).await?;
    }
    if working.before() != Some(&working.head) {
        tx.put(&HEAD, &(room,), &working.head);
    }
    Ok(())
}

/// An anchor of 0 means that the event is of this batch: the engine stamps it.
pub(super) fn put_meta(tx: &Tx, room: RoomNo, no: EventNo, meta: &Meta) {
    if meta.place.anchor == Position(0) {
        let stamp = Stamp { at: StampAt::Value, offset: Meta::ANCHOR };
        tx.put_stamped_value(&META, &(room, no), meta, vec![stamp]);
    } else {
        tx.put(&META, &(room, no), meta);
    }
}

/// Keeps the member's row, the counts and the member's own topic in step with a membership event.
async fn change_member(working: &mut Working, tx: &Tx, no: EventNo, pdu: &Pdu) -> Result<(), Fault> {
    let state = visibility::membership(Some(pdu));
    let Some(user) = pdu.state_key().and_then(|user| OwnedUserId::try_from(user).ok()) else { return Ok(()) };
    let key = (user.clone(), working.no);
    let before = tx.read(&MEMBER, &key).await?;
    count_member(working, before.as_ref().map(|member| &member.state), &state);
    let joined_before = before.as_ref().is_some_and(|member| member.state == MembershipState::Join);
    if state == MembershipState::Join && !joined_before {
        tx.put(&UNREAD, &key, &Unread { ordinal: working.head.ordinal });
    }
    if state != MembershipState::Join {
        typing::stopped(tx, working.no, &user).await?;
    }
    // A room that was forgotten stays so until its user joins: an invite opens nothing of what they were there for.
    let forgotten = state != MembershipState::Join && before.as_ref().is_some_and(|member| member.forgotten);
    let was_joined = before.is_some_and(|member| member.was_joined) || state == MembershipState::Join;
    let member = Membership { position: 0, state, event: no, forgotten, was_joined };
    let stamp = Stamp { at: StampAt::Value, offset: Membership::POSITION };
    tx.put_stamped_value(&MEMBER, &key, &member, vec![stamp]);
    tx.topic(topic::user(&user));
    Ok(())
}

/// A count that does not agree with the rows is a fault to be seen; the room goes on all the same.
fn one_less(count: &mut u32, room: RoomNo) {
    if let Some(less) = count.checked_sub(1) {
        *count = less;
    } else {
        tracing::error!(room, "a member goes whom the room had not counted");
    }
}

fn count_member(working: &mut Working, before: Option<&MembershipState>, after: &MembershipState) {
    let head = &mut working.head;
    match before {
        Some(MembershipState::Join) => one_less(&mut head.joined, working.no),
        Some(MembershipState::Invite) => one_less(&mut head.invited, working.no),
        _ => {}
    }
    match after {
        MembershipState::Join => head.joined += 1,
        MembershipState::Invite => head.invited += 1,
        _ => {}
    }
}
