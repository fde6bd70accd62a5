//! The Matrix specification as pure functions.
//!
//! What an event looks like, whether it is allowed, who may see it, how a client is shown it, whom it notifies; and the
//! two structures whose shape is a rule of its own: the persistent tree of a room's state and the walk over auth chains.
//!
//! Absences: no `async`, no clock, no randomness, no storage, no globals. Time and seeds are arguments. What a function
//! lacks it *returns* ([`tree::Missing`], [`auth_walk::Step::Need`], [`resolve::ResolveError::Missing`]) and the caller
//! loads it and asks again.
//!
//! Reading order: [`bounds`] and [`versions`]; [`json`], [`format`](mod@format), [`event_type`], [`pdu`] (an event); [`build`],
//! [`auth`], [`power_levels`], [`third_party_invite`] (making and judging one); [`redaction`], [`visibility`], [`client_event`], [`filter`],
//! [`push`] (showing one); [`tree`], [`auth_walk`], [`resolve`] (the state of a room).

pub mod auth;
pub mod auth_walk;
pub mod bounds;
pub mod build;
pub mod client_event;
pub mod event_type;
pub mod filter;
pub mod format;
pub mod glob;
pub mod json;
pub mod pdu;
pub mod power_levels;
pub mod push;
pub mod redaction;
pub mod relations;
pub mod resolve;
pub mod signing;
pub mod third_party_invite;
pub mod tree;
pub mod turn;
pub mod versions;
pub mod visibility;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod testing;

pub use pdu::Pdu;
