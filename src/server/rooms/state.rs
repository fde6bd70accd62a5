//! The state tree of a room on the store: loads the nodes that the pure functions of `rules::tree` ask for.

use std::collections::HashMap;

use depesche_rules::tree::{self, Missing, Node, Root};

use crate::{
    keyspace::{EventNo, KeyNo, NODE, NodeNo, RoomNo},
    records::rooms::RootRecord,
    tx::{Fault, View},
};

/// The most entries that one step of reading a whole state takes.
const PAGE: usize = 4096;

/// A room's tree as a snapshot shows it, with nodes that are in memory already.
pub struct Tree<'a> {
    view: &'a View,
    room: RoomNo,
    known: Option<&'a HashMap<NodeNo, Node>>,
}

/// Some nodes: those known before and those loaded since.
struct Loaded<'a> {
    known: Option<&'a HashMap<NodeNo, Node>>,
    loaded: HashMap<NodeNo, Node>,
}

impl tree::Nodes for Loaded<'_> {
    fn node(&self, no: NodeNo) -> Option<&Node> {
        self.known.and_then(|known| known.get(&no)).or_else(|| self.loaded.get(&no))
    }
}

impl<'a> Tree<'a> {
    /// What is stored.
    pub fn stored(view: &'a View, room: RoomNo) -> Self {
        Self { view, room, known: None }
    }

    /// What is stored and, before it, what is in memory: the nodes of a batch in the making.
    pub fn of(view: &'a View, room: RoomNo, known: &'a HashMap<NodeNo, Node>) -> Self {
        Self { view, room, known: Some(known) }
    }

    /// The event that sets a state.
    pub async fn get(&self, root: RootRecord, key: KeyNo) -> Result<Option<EventNo>, Fault> {
        self.load(|nodes| tree::get(root.into(), key, nodes)).await
    }

    /// The events that set several states, in the order asked.
    pub async fn get_many(&self, root: RootRecord, keys: &[KeyNo]) -> Result<Vec<Option<EventNo>>, Fault> {
        self.load(|nodes| tree::get_many(root.into(), keys, nodes)).await
    }

    /// All of the state, by key number.
    pub async fn all(&self, root: RootRecord) -> Result<Vec<(KeyNo, EventNo)>, Fault> {
        let mut entries = Vec::new();
        let mut from = Some(0);
        while let Some(next) = from {
            let page = self.load(|nodes| tree::entries(root.into(), next, PAGE, nodes)).await?;
            entries.extend(page.entries);
            from = page.next;
        }
        Ok(entries)
    }

    /// What differs between two states: key, before, after.
    pub async fn changes(
        &self,
        before: RootRecord,
        after: RootRecord,
    ) -> Result<Vec<(KeyNo, Option<EventNo>, Option<EventNo>)>, Fault> {
        let changes = self.load(|nodes| tree::diff(before.into(), after.into(), nodes)).await?;
        Ok(changes.into_iter().map(|change| (change.key, change.before, change.after)).collect())
    }

    /// A new root with some states set or removed, and the nodes to write for it.
    pub async fn set(
        &self,
        root: RootRecord,
        changes: &[(KeyNo, Option<EventNo>)],
        next: NodeNo,
    ) -> Result<tree::Written, Fault> {
        self.load(|nodes| tree::set(root.into(), changes, next, nodes)).await
    }

    /// Asks a pure function until it lacks nothing: at most once for each level of the tree.
    async fn load<T>(&self, ask: impl Fn(&Loaded<'_>) -> Result<T, Missing>) -> Result<T, Fault> {
        let mut nodes = Loaded { known: self.known, loaded: HashMap::new() };
        loop {
            let Missing(numbers) = match ask(&nodes) {
                Ok(answer) => return Ok(answer),
                Err(missing) => missing,
            };
            let keys: Vec<_> = numbers.iter().map(|no| (self.room, *no)).collect();
            let rows = self.view.get_many(&NODE, &keys).await?;
            for (no, row) in numbers.into_iter().zip(rows) {
                let broken = || Fault::Bug(format!("node {no} of room {} cannot be read", self.room));
                let node = Node::decode(&row.ok_or_else(broken)?).map_err(|_| broken())?;
                nodes.loaded.insert(no, node);
            }
        }
    }
}

impl From<RootRecord> for Root {
    fn from(root: RootRecord) -> Self {
        Self { node: root.node, height: root.height }
    }
}

impl From<Root> for RootRecord {
    fn from(root: Root) -> Self {
        Self { node: root.node, height: root.height }
    }
}
