//! Writes a draft into its room: builds the event on the current state, asks the rules, and has it appended.
//!
//! Who writes one message after the other is judged once while the state stands: nothing that the rules look at is
//! another then ([`Allowed`]).

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use depesche_rules::{
    auth,
    build::{self, EventDraft, Placement},
    pdu::Pdu,
    power_levels,
    signing::SigningKey,
    third_party_invite,
};
use ruma::{
    OwnedEventId, OwnedUserId,
    events::{StateEventType, TimelineEventType},
};

use super::{
    append::{self, Accepted},
    lane::{Refusal, Transaction},
    working::Working,
};
use crate::{
    base::Base,
    keyspace::EventNo,
    records::{events::SentWith, rooms::RootRecord},
    tx::Tx,
};

/// What authorises an event.
#[derive(Default)]
pub struct Grounds {
    numbers: Vec<EventNo>,
    ids: Vec<OwnedEventId>,
}

/// What the rules allowed in the state that stands: events that are no state and of which they read nothing but type
/// and sender.
#[derive(Default)]
pub struct Allowed {
    state: RootRecord,
    grounds: HashMap<(TimelineEventType, OwnedUserId), Arc<Grounds>>,
}

impl Allowed {
    /// How many are remembered.
    pub fn count(&self) -> usize {
        self.grounds.len()
    }

    /// Forgets all of it.
    pub fn clear(&mut self) {
        self.grounds.clear();
    }

    fn find(&mut self, state: RootRecord, what: &(TimelineEventType, OwnedUserId)) -> Option<Arc<Grounds>> {
        if self.state != state {
            self.state = state;
            self.clear();
        }
        self.grounds.get(what).cloned()
    }
}

/// Builds a draft on the current state, asks the rules, and appends it.
pub async fn write(
    base: &Base,
    key: &SigningKey,
    working: &mut Working,
    tx: &Tx,
    draft: EventDraft,
    transaction: Option<&Transaction>,
) -> Result<OwnedEventId, Refusal> {
    let what = (draft.state_key.is_none() && !auth::looks_into(&draft.kind))
        .then(|| (draft.kind.clone(), draft.sender.clone()));
    let state = working.head.root;
    let known = what.as_ref().and_then(|what| working.allowed.find(state, what));
    let (pdu, grounds) = if let Some(grounds) = known {
        (build(base, key, working, tx, draft, &grounds).await?, grounds)
    } else {
        let (pdu, grounds) = judge(base, key, working, tx, draft).await?;
        let grounds = Arc::new(grounds);
        if let Some(what) = what {
            working.allowed.grounds.insert(what, Arc::clone(&grounds));
        }
        (pdu, grounds)
    };
    let event_id = pdu.event_id().clone();
    let sent_with = transaction
        .map(|transaction| SentWith { device: transaction.device.to_string(), transaction: transaction.id.clone() });
    let push = working.tells && base.pushers.load(Ordering::Relaxed) > 0;
    let accepted = Accepted { pdu, auth: grounds.numbers.clone(), sent_with, push };
    append::event(working, tx, &base.name, accepted).await?;
    Ok(event_id)
}

/// The event that a draft becomes, if the rules allow it, and what authorises it.
async fn judge(
    base: &Base,
    key: &SigningKey,
    working: &mut Working,
    tx: &Tx,
    draft: EventDraft,
) -> Result<(Pdu, Grounds), Refusal> {
    let rules = working.rules;
    let types = draft.auth_types(rules).map_err(|why| Refusal::Forbidden(why.to_string()))?;
    let mut grounds = Grounds::default();
    let mut state = Vec::with_capacity(types.len() + 1);
    for (kind, state_key) in types {
        if let Some(no) = working.state_no(tx, &kind.to_string(), &state_key).await? {
            let pdu = working.pdu(tx, no).await?;
            grounds.numbers.push(no);
            grounds.ids.push(pdu.event_id().clone());
            state.push((kind, state_key, pdu));
        }
    }
    let pdu = build(base, key, working, tx, draft, &grounds).await?;
    if let Some(create) = working.state(tx, "m.room.create", "").await? {
        if *pdu.kind() == TimelineEventType::RoomPowerLevels {
            // The auth rules would say no as well, but not that it is the content and not the sender.
            power_levels::check(&create, &pdu, rules).map_err(|why| Refusal::BadContent(why.to_string()))?;
        }
        state.push((StateEventType::RoomCreate, String::new(), create));
    }
    auth::check_state_independent(&pdu, rules, |id| {
        state.iter().find(|(_, _, pdu)| pdu.event_id() == id).map(|(_, _, pdu)| pdu.clone())
    })?;
    let invited = state.iter().find(|(kind, ..)| *kind == StateEventType::RoomThirdPartyInvite);
    third_party_invite::check_size(&pdu, invited.map(|(.., event)| event))?;
    auth::check_state_dependent(&pdu, rules, |kind, state_key| {
        state.iter().find(|(k, s, _)| k == kind && s == state_key).map(|(_, _, pdu)| pdu.clone())
    })?;
    Ok((pdu, grounds))
}

/// The event that a draft becomes at the end of the room.
async fn build(
    base: &Base,
    key: &SigningKey,
    working: &mut Working,
    tx: &Tx,
    draft: EventDraft,
    grounds: &Grounds,
) -> Result<Pdu, Refusal> {
    let room = Arc::clone(&working.room);
    let place = Placement {
        rules: working.rules,
        room_id: Some(&room.room_id),
        prev_events: working.ids(tx, &working.head.extremities.clone()).await?,
        auth_events: grounds.ids.clone(),
        depth: working.head.depth + 1,
        origin_server_ts: base.now(),
        server_name: &base.name,
        key,
    };
    Ok(build::build(draft, place)?)
}
