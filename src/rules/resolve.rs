//! State resolution, versions 2 and 2.1.
//!
//! The algorithm is ruma's. It silently leaves out an event that it cannot fetch, which would give this server a state
//! of its own; here a miss is an answer, and a result that had one is never given out.
//!
//! The caller resolves only what can matter: of each state the conflicted keys and [`keys_that_matter`], of each chain
//! what is not in all of them ([`crate::auth_walk`]). The other keys are alike in all states and stay as they are.
//!
//! Spec: [version 2](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution),
//! [version 2.1](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution).

use std::{cell::RefCell, collections::BTreeSet};

use ruma::{
    EventId, OwnedEventId,
    events::StateEventType,
    room_version_rules::RoomVersionRules,
    state_res::{self, StateMap, utils::event_id_set::EventIdSet},
};

use crate::{auth::auth_types_of, pdu::Pdu};

/// One of the states to resolve.
#[derive(Clone, Debug, Default)]
pub struct Side {
    /// Its entries, or of them what can matter.
    pub state: StateMap<OwnedEventId>,
    /// Its auth chain with its own events, or of it what is not in the chain of every side.
    pub chain: EventIdSet<OwnedEventId>,
}

/// Why there is no resolved state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Load these events and call again.
    #[error("{} events are not loaded", .0.len())]
    Missing(Vec<OwnedEventId>),
    /// The room's version has an algorithm that this server does not have.
    #[error("no state resolution for this room version")]
    Unsupported,
    /// An event cannot be judged at all.
    #[error("state resolution failed: {0}")]
    Failed(String),
}

/// Resolves states of one room. `subgraph` is the conflicted state subgraph
/// ([`crate::auth_walk::SubgraphWalk`]), which versions before 12 do not use.
pub fn resolve(
    sides: Vec<Side>,
    subgraph: &EventIdSet<OwnedEventId>,
    rules: &RoomVersionRules,
    fetch_event: impl Fn(&EventId) -> Option<Pdu>,
) -> Result<StateMap<OwnedEventId>, ResolveError> {
    let algorithm = rules.state_res.v2_rules().ok_or(ResolveError::Unsupported)?;
    let missing = RefCell::new(BTreeSet::new());
    let fetch = |id: &EventId| {
        let found = fetch_event(id);
        if found.is_none() {
            missing.borrow_mut().insert(id.to_owned());
        }
        found
    };
    let (states, chains): (Vec<_>, Vec<_>) = sides.into_iter().map(|side| (side.state, side.chain)).unzip();
    let subgraph = |_: &StateMap<Vec<OwnedEventId>>| Some(subgraph.clone());
    let resolved = state_res::resolve(&rules.authorization, algorithm, &states, chains, fetch, subgraph);
    let missing = missing.into_inner();
    if !missing.is_empty() {
        return Err(ResolveError::Missing(missing.into_iter().collect()));
    }
    resolved.map_err(|error| ResolveError::Failed(error.to_string()))
}

/// The keys whose entries can decide about the events of the full conflicted set: of each the keys of its auth events,
/// and the create event. An event too malformed to have any is never allowed and needs none.
pub fn keys_that_matter<'a>(
    full_conflicted_set: impl IntoIterator<Item = &'a Pdu>,
    rules: &RoomVersionRules,
) -> BTreeSet<(StateEventType, String)> {
    let mut keys = BTreeSet::from([(StateEventType::RoomCreate, String::new())]);
    for event in full_conflicted_set {
        keys.extend(auth_types_of(event, rules).unwrap_or_default());
    }
    keys
}

#[cfg(test)]
mod tests;
