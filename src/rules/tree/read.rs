//! Reading: single entries, all of them in order, and what differs.

use super::{Lack, Missing, Node, Nodes, Root, digit};

/// The event of one key.
pub fn get(root: Root, key: u32, nodes: &impl Nodes) -> Result<Option<u32>, Missing> {
    get_many(root, &[key], nodes).map(|found| found.into_iter().next().flatten())
}

/// The events of keys, in the order asked.
pub fn get_many(root: Root, keys: &[u32], nodes: &impl Nodes) -> Result<Vec<Option<u32>>, Missing> {
    let mut found = vec![None; keys.len()];
    let mut wanted: Vec<(u32, usize)> = keys.iter().copied().zip(0..).filter(|(key, _)| root.holds(*key)).collect();
    wanted.sort_unstable();
    let mut lack = Lack::default();
    if !wanted.is_empty() {
        look_up(root.node, root.height - 1, &wanted, nodes, &mut lack, &mut found);
    }
    lack.or(found)
}

fn look_up(
    node_no: u32,
    level: u8,
    wanted: &[(u32, usize)],
    nodes: &impl Nodes,
    lack: &mut Lack,
    found: &mut [Option<u32>],
) {
    match lack.node(nodes, node_no) {
        None => {}
        Some(Node::Leaf(events)) => {
            for (key, place) in wanted {
                found[*place] = events[digit(*key, 0)];
            }
        }
        Some(Node::Inner(children)) => {
            for run in wanted.chunk_by(|a, b| digit(a.0, level) == digit(b.0, level)) {
                if let Some(child) = children[digit(run[0].0, level)] {
                    look_up(child.node, level - 1, run, nodes, lack, found);
                }
            }
        }
    }
}

/// The highest event number in the state; `None` if it is empty.
pub fn highest(root: Root, nodes: &impl Nodes) -> Result<Option<u32>, Missing> {
    if root.is_empty() {
        return Ok(None);
    }
    nodes.node(root.node).map(|node| Some(node.high())).ok_or_else(|| Missing(vec![root.node]))
}

/// A part of a state, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and events.
    pub entries: Vec<(u32, u32)>,
    /// Where the next part begins; `None` after the last.
    pub next: Option<u32>,
}

/// At most `limit` entries (at least one) from the key `from` on. All entries are those from 0 with `usize::MAX`.
pub fn entries(root: Root, from: u32, limit: usize, nodes: &impl Nodes) -> Result<Page, Missing> {
    let mut list = List { nodes, lack: Lack::default(), from, limit: limit.max(1), expected: 0, page: Page::default() };
    if root.holds(from) {
        list.visit(root.node, root.height - 1, 0);
    }
    list.lack.or(list.page)
}

struct List<'a, N> {
    nodes: &'a N,
    lack: Lack,
    from: u32,
    limit: usize,
    /// Entries found, and those guessed to be below nodes that are not loaded, so that not more is asked for than
    /// about what the page takes.
    expected: usize,
    page: Page,
}

impl<N: Nodes> List<'_, N> {
    /// Visits a node whose keys begin with `prefix`. Returns whether to go on.
    fn visit(&mut self, node_no: u32, level: u8, prefix: u32) -> bool {
        match self.lack.node(self.nodes, node_no) {
            None => self.expected = self.expected.saturating_add(4 << (2 * level)),
            Some(Node::Leaf(events)) => {
                for (place, event) in (0..).zip(events) {
                    let key = prefix | place;
                    if let Some(event) = event.filter(|_| key >= self.from)
                        && !self.add(key, event)
                    {
                        return false;
                    }
                }
            }
            Some(Node::Inner(children)) => {
                let width = 4 * u32::from(level);
                for (place, child) in (0..).zip(children) {
                    let prefix = prefix | place << width;
                    // The last key below, without the overflow of the whole range.
                    let last = prefix | ((1 << width) - 1);
                    if let Some(child) = child.filter(|_| last >= self.from)
                        && !self.visit(child.node, level - 1, prefix)
                    {
                        return false;
                    }
                }
            }
        }
        self.expected <= self.limit
    }

    fn add(&mut self, key: u32, event: u32) -> bool {
        if self.page.entries.len() == self.limit {
            self.page.next = Some(key);
            return false;
        }
        self.page.entries.push((key, event));
        self.expected = self.expected.saturating_add(1);
        true
    }
}

/// A key that two states have differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: u32,
    /// Its event in the first state.
    pub before: Option<u32>,
    /// Its event in the second state.
    pub after: Option<u32>,
}

/// What differs between two states, in the order of the keys. Costs what differs.
pub fn diff(before: Root, after: Root, nodes: &impl Nodes) -> Result<Vec<Change>, Missing> {
    let conflicts = conflicts(&[before, after], nodes)?;
    Ok(conflicts
        .into_iter()
        .map(|found| Change { key: found.key, before: found.events[0], after: found.events[1] })
        .collect())
}

/// A key that not all of several states have alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The key.
    pub key: u32,
    /// Its event in each of the states.
    pub events: Vec<Option<u32>>,
}

/// What differs between states, in the order of the keys. Subtrees that all of them share are not opened.
pub fn conflicts(roots: &[Root], nodes: &impl Nodes) -> Result<Vec<Conflict>, Missing> {
    let height = roots.iter().map(|root| root.height).max().unwrap_or(0);
    let mut compare = Compare { nodes, lack: Lack::default(), found: Vec::new() };
    if height > 0 {
        let sides: Vec<_> = roots.iter().map(|root| Side::of(*root, height)).collect();
        compare.nodes(&sides, height - 1, 0);
    }
    compare.lack.or(compare.found)
}

/// The part of one state at one place of the key space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Empty,
    Node(u32),
    /// Higher than this state's tree, which hangs below the leftmost places.
    Above(Root),
}

impl Side {
    fn of(root: Root, height: u8) -> Self {
        match root {
            Root { node: 0, .. } => Self::Empty,
            root if root.height == height => Self::Node(root.node),
            root => Self::Above(root),
        }
    }
}

struct Compare<'a, N> {
    nodes: &'a N,
    lack: Lack,
    found: Vec<Conflict>,
}

impl<N: Nodes> Compare<'_, N> {
    fn nodes(&mut self, sides: &[Side], level: u8, prefix: u32) {
        if sides.windows(2).all(|pair| pair[0] == pair[1]) {
            return;
        }
        if level == 0 {
            return self.leaves(sides, prefix);
        }
        let places: Vec<_> = sides.iter().map(|side| self.below(*side, level)).collect();
        for place in 0..16_u32 {
            let sides: Vec<_> = places.iter().map(|places| places[place as usize]).collect();
            self.nodes(&sides, level - 1, prefix | place << (4 * u32::from(level)));
        }
    }

    fn below(&mut self, side: Side, level: u8) -> [Side; 16] {
        let mut below = [Side::Empty; 16];
        match side {
            Side::Empty => {}
            Side::Above(root) => below[0] = Side::of(root, level),
            Side::Node(node_no) => {
                if let Some(Node::Inner(children)) = self.lack.node(self.nodes, node_no) {
                    below = children.map(|child| child.map_or(Side::Empty, |child| Side::Node(child.node)));
                }
            }
        }
        below
    }

    fn leaves(&mut self, sides: &[Side], prefix: u32) {
        let mut events = Vec::with_capacity(sides.len());
        for side in sides {
            events.push(match side {
                Side::Node(node_no) => match self.lack.node(self.nodes, *node_no) {
                    Some(Node::Leaf(events)) => *events,
                    _ => [None; 16],
                },
                Side::Empty | Side::Above(_) => [None; 16],
            });
        }
        for place in 0..16_u32 {
            let events: Vec<_> = events.iter().map(|events| events[place as usize]).collect();
            if events.windows(2).any(|pair| pair[0] != pair[1]) {
                self.found.push(Conflict { key: prefix | place, events });
            }
        }
    }
}
