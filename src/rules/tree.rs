//! The state of a room as a persistent tree: numbers of state keys to numbers of events.
//!
//! Fan-out 16. The shape depends on the keys alone: the height is the least that holds the largest key, nothing is
//! compressed, no node is empty. Nodes never change; a change writes the nodes on its paths anew and shares the rest, so
//! two states have in common what has one number. A child is kept with the highest event number below it, by which the
//! walk over auth chains ([`crate::auth_walk`]) goes.
//!
//! Nothing here loads. A function that meets a node which is not in [`Nodes`] goes on where it can, to find what else is
//! not there, and returns all of it as [`Missing`]; the caller loads these and calls again. That ends after at most
//! `height` rounds, one for each level, so the work stays linear:
//!
//! ```text
//! loop {
//!     match tree::get_many(root, &keys, &loaded) {
//!         Ok(found) => break found,
//!         Err(Missing(numbers)) => loaded.extend(snapshot.get_many(numbers).await?),
//!     }
//! }
//! ```
//!
//! A node that cannot be loaded is the caller's to report: calling again without it would return the same.

mod change;
mod node;
mod read;

#[cfg(test)]
mod tests;

use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
};

pub use self::{
    change::{Written, set},
    node::{BadNode, Child, Node},
    read::{Change, Conflict, Page, conflicts, diff, entries, get, get_many, highest},
};

/// A state: the topmost node and the levels of nodes below and including it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Root {
    /// 0 for the state without entries.
    pub node: u32,
    /// 0 for the state without entries, else 1 to 8: as many digits to the base of 16 as the largest key has.
    pub height: u8,
}

impl Root {
    /// The state without entries.
    pub const EMPTY: Self = Self { node: 0, height: 0 };

    /// Whether there are no entries.
    pub fn is_empty(self) -> bool {
        self.node == 0
    }

    /// Whether a key of this number could be in the tree.
    fn holds(self, key: u32) -> bool {
        height_for(key) <= self.height
    }
}

/// The nodes that are in memory.
pub trait Nodes {
    /// The node of this number, if it is there.
    fn node(&self, node_no: u32) -> Option<&Node>;
}

impl<N: Borrow<Node>, S: BuildHasher> Nodes for HashMap<u32, N, S> {
    fn node(&self, node_no: u32) -> Option<&Node> {
        self.get(&node_no).map(Borrow::borrow)
    }
}

impl<N: Borrow<Node>> Nodes for BTreeMap<u32, N> {
    fn node(&self, node_no: u32) -> Option<&Node> {
        self.get(&node_no).map(Borrow::borrow)
    }
}

/// The numbers of nodes that have to be loaded first; never empty, each number once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} nodes are not loaded", .0.len())]
pub struct Missing(pub Vec<u32>);

/// Collects what is missing while a function goes on where it can.
#[derive(Default)]
struct Lack(Vec<u32>);

impl Lack {
    fn node<'a>(&mut self, nodes: &'a impl Nodes, node_no: u32) -> Option<&'a Node> {
        let found = nodes.node(node_no);
        if found.is_none() {
            self.0.push(node_no);
        }
        found
    }

    fn or<T>(mut self, value: T) -> Result<T, Missing> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_unstable();
        self.0.dedup();
        Err(Missing(self.0))
    }
}

/// The least height of a tree that has this key.
fn height_for(key: u32) -> u8 {
    let bits = u32::BITS - key.leading_zeros();
    u8::try_from(bits.div_ceil(4).max(1)).expect("at most 8")
}

/// The digit of a key that a node of this level looks at; leaves are level 0.
fn digit(key: u32, level: u8) -> usize {
    ((key >> (4 * u32::from(level))) & 0xf) as usize
}
