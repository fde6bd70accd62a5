//! What goes out: requests that the server makes to others, over TLS.
//!
//! Users choose whom some of them go to (a push gateway's URL, a page to preview), so each is bounded in bytes and time,
//! and reaches no address of our own network unless the operator allows it: [`guard`] looks at the addresses a name has
//! come to, in the very look-up the connection is made from. Only pages may redirect, and each redirect is looked at.
//!
//! This crate implements traits of `depesche-server`; it has no table and knows no room.

pub mod guard;
pub mod pages;
pub mod push;
