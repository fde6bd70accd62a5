//! The difference of the auth chains of several states, and the conflicted state subgraph.
//!
//! Events are known by their numbers in the room, which are a topological order of the auth graph: an event's auth events
//! have lower numbers. So a walk from the highest number down meets each event after everything that leads to it, and
//! knows then which of the states ("sides") reach it. A state event belongs to the chain of its own side.
//!
//! The parts of the states enter as nodes of their trees, each by the highest event number below it, and are opened only
//! when on top. What all sides reach is followed too, since it may be what others are still to meet; the walk ends when
//! only such entries are left. It costs what is newer than the oldest event of the difference, and no cap cuts it.
//!
//! What is not loaded is returned, and the walk goes on from where it stood.
//!
//! Spec: [state resolution](https://spec.matrix.org/v1.19/rooms/v2/#definitions),
//! [conflicted state subgraph](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::BuildHasher,
};

use crate::tree::{Node, Nodes, Root};

/// The most states whose chains are compared. An event has at most [`crate::bounds::MAX_PREV_EVENTS`] before it.
pub const MAX_SIDES: usize = 64;

/// How many of the next entries are looked at when something is missing, to load it together.
const LOOK_AHEAD: usize = 64;

/// The edges of the auth graph that are in memory.
pub trait Edges {
    /// The numbers of the auth events of an event, if they are there.
    fn auth_events(&self, event_no: u32) -> Option<&[u32]>;
}

impl<S: BuildHasher> Edges for HashMap<u32, Vec<u32>, S> {
    fn auth_events(&self, event_no: u32) -> Option<&[u32]> {
        self.get(&event_no).map(Vec::as_slice)
    }
}

impl Edges for BTreeMap<u32, Vec<u32>> {
    fn auth_events(&self, event_no: u32) -> Option<&[u32]> {
        self.get(&event_no).map(Vec::as_slice)
    }
}

/// What has to be loaded before the walk can go on; not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Numbers of nodes of the state tree.
    pub nodes: Vec<u32>,
    /// Numbers of events whose auth events are asked for.
    pub edges: Vec<u32>,
}

/// How far a walk came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Load this and run again.
    Need(Need),
    /// The end.
    Done(T),
}

/// The sides that reach something, a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides(u64);

impl Sides {
    /// Whether this side does.
    pub fn has(self, side: usize) -> bool {
        side < MAX_SIDES && self.0 >> side & 1 == 1
    }
}

/// An event of the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    /// Its number.
    pub event_no: u32,
    /// The sides whose chain has it; never all.
    pub sides: Sides,
}

/// What is open: by highest event number, then nodes before what is below them, then the number of event or node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    high: u32,
    /// 0 for an event; for a node its level, counted from 1.
    height: u8,
    number: u32,
}

/// A walk over the auth chains of several states.
#[derive(Clone, Debug)]
pub struct AuthWalk {
    open: BTreeMap<Open, u64>,
    all: u64,
    incomplete: usize,
    apart: Vec<Apart>,
}

impl AuthWalk {
    /// A walk that begins at these states; `None` if they are more than [`MAX_SIDES`].
    pub fn new(roots: &[Root]) -> Option<Self> {
        if roots.len() > MAX_SIDES {
            return None;
        }
        let all = u64::MAX.checked_shr(u32::try_from(MAX_SIDES - roots.len()).ok()?).unwrap_or(0);
        let mut walk = Self { open: BTreeMap::new(), all, incomplete: 0, apart: Vec::new() };
        for (side, root) in roots.iter().enumerate().filter(|(_, root)| !root.is_empty()) {
            // Opened first: what is highest below a root is not known before.
            walk.reach(Open { high: u32::MAX, height: root.height, number: root.node }, 1 << side);
        }
        Some(walk)
    }

    /// Walks on. Done gives the events that are in some but not all chains, highest first.
    pub fn run(&mut self, nodes: &impl Nodes, edges: &impl Edges) -> Step<Vec<Apart>> {
        while self.incomplete > 0 {
            let Some((&top, &sides)) = self.open.last_key_value() else { break };
            if top.height == 0 {
                let Some(auth_events) = edges.auth_events(top.number) else { return self.need(nodes, edges) };
                self.close(top, sides);
                for event_no in auth_events.iter().filter(|event_no| **event_no < top.number) {
                    self.reach(Open::event(*event_no), sides);
                }
            } else {
                let Some(node) = nodes.node(top.number) else { return self.need(nodes, edges) };
                self.close(top, sides);
                self.open_node(node, top.height, sides);
            }
        }
        Step::Done(std::mem::take(&mut self.apart))
    }

    fn open_node(&mut self, node: &Node, height: u8, sides: u64) {
        for event_no in node.events() {
            self.reach(Open::event(event_no), sides);
        }
        for child in node.children() {
            self.reach(Open { high: child.high, height: height.saturating_sub(1), number: child.node }, sides);
        }
    }

    fn reach(&mut self, what: Open, sides: u64) {
        let known = self.open.get(&what).copied();
        let sides = sides | known.unwrap_or(0);
        if known.is_none_or(|known| known != self.all) {
            self.incomplete -= usize::from(known.is_some());
            self.incomplete += usize::from(sides != self.all);
        }
        self.open.insert(what, sides);
    }

    fn close(&mut self, what: Open, sides: u64) {
        self.open.remove(&what);
        if sides != self.all {
            self.incomplete -= 1;
            if what.height == 0 {
                self.apart.push(Apart { event_no: what.number, sides: Sides(sides) });
            }
        }
    }

    fn need(&self, nodes: &impl Nodes, edges: &impl Edges) -> Step<Vec<Apart>> {
        let mut need = Need::default();
        for open in self.open.keys().rev().take(LOOK_AHEAD) {
            if open.height == 0 {
                need.edges.extend(edges.auth_events(open.number).is_none().then_some(open.number));
            } else {
                need.nodes.extend(nodes.node(open.number).is_none().then_some(open.number));
            }
        }
        // A node that is a root here and below another root there stands twice.
        need.nodes.sort_unstable();
        need.nodes.dedup();
        Step::Need(need)
    }
}

impl Open {
    fn event(event_no: u32) -> Self {
        Self { high: event_no, height: 0, number: event_no }
    }
}

/// A walk that finds the conflicted state subgraph: every event on a path of auth events from one event of the
/// conflicted state set to another, these included. Used from room version 12 on.
#[derive(Clone, Debug)]
pub struct SubgraphWalk {
    conflicted: BTreeSet<u32>,
    open: BTreeSet<u32>,
    /// What is reached from a conflicted event, with the auth events of it that may lead to another.
    reached: BTreeMap<u32, Vec<u32>>,
}

impl SubgraphWalk {
    /// A walk from these events.
    pub fn new(conflicted: impl IntoIterator<Item = u32>) -> Self {
        let conflicted: BTreeSet<_> = conflicted.into_iter().collect();
        Self { open: conflicted.clone(), conflicted, reached: BTreeMap::new() }
    }

    /// Walks on. Done gives the events of the subgraph, lowest first.
    pub fn run(&mut self, edges: &impl Edges) -> Step<Vec<u32>> {
        let lowest = self.conflicted.first().copied().unwrap_or(0);
        while let Some(&event_no) = self.open.last() {
            let Some(auth_events) = edges.auth_events(event_no) else { return self.need(edges) };
            self.open.remove(&event_no);
            // Below the lowest there is no conflicted event to reach.
            let down: Vec<_> = auth_events.iter().copied().filter(|auth| (lowest..event_no).contains(auth)).collect();
            self.open.extend(down.iter().filter(|auth| !self.reached.contains_key(auth)));
            self.reached.insert(event_no, down);
        }
        Step::Done(self.between())
    }

    /// Of what is reached, what reaches in its turn.
    fn between(&self) -> Vec<u32> {
        let mut subgraph = BTreeSet::new();
        for (event_no, down) in &self.reached {
            if self.conflicted.contains(event_no) || down.iter().any(|auth| subgraph.contains(auth)) {
                subgraph.insert(*event_no);
            }
        }
        subgraph.into_iter().collect()
    }

    fn need(&self, edges: &impl Edges) -> Step<Vec<u32>> {
        let next = self.open.iter().rev().take(LOOK_AHEAD).copied();
        let edges = next.filter(|event_no| edges.auth_events(*event_no).is_none()).collect();
        Step::Need(Need { nodes: Vec::new(), edges })
    }
}

#[cfg(test)]
mod tests;
