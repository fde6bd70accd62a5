//! Writing: one state from another.

use super::{Child, Lack, Missing, Node, Nodes, Root, digit, height_for};

/// A state that was made, and the nodes that have to be stored with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The new state.
    pub root: Root,
    /// The new nodes with their numbers, which are consecutive; a node comes after those below it.
    pub nodes: Vec<(u32, Node)>,
    /// The number of the next node that is made in this room.
    pub next_node_no: u32,
}

/// Sets keys (`Some`) and removes keys (`None`), in any order; of two changes to one key the last counts. Each touched
/// node is written once; what does not change anything writes nothing.
pub fn set(
    root: Root,
    changes: &[(u32, Option<u32>)],
    next_node_no: u32,
    nodes: &impl Nodes,
) -> Result<Written, Missing> {
    debug_assert!(next_node_no > 0, "0 is the empty state");
    let mut changes = changes.to_vec();
    // Stable, and reversed before: the last change to a key comes first and is kept.
    changes.reverse();
    changes.sort_by_key(|(key, _)| *key);
    changes.dedup_by_key(|(key, _)| *key);
    let needed = changes.iter().filter(|(_, event)| event.is_some()).map(|(key, _)| height_for(*key)).max();
    let height = root.height.max(needed.unwrap_or(0));
    changes.retain(|(key, _)| height_for(*key) <= height);
    if changes.is_empty() {
        return Ok(Written { root, nodes: Vec::new(), next_node_no });
    }
    let mut build = Build { nodes, lack: Lack::default(), written: Vec::new(), next: next_node_no };
    let source = build.source(root, height);
    let top = build.apply(source, height - 1, &changes);
    let root = build.top(top, root, height);
    build.lack.or(Written { root, nodes: build.written, next_node_no: build.next })
}

struct Build<'a, N> {
    nodes: &'a N,
    lack: Lack,
    written: Vec<(u32, Node)>,
    next: u32,
}

/// A subtree before the change.
#[derive(Clone, Copy)]
enum Source {
    Empty,
    Stored(Child),
    /// Higher than the old tree, which hangs below the leftmost places.
    Above(Child, u8),
}

/// A subtree after the change.
enum Outcome {
    Empty,
    Kept(Child),
    Fresh(Node),
}

impl<N: Nodes> Build<'_, N> {
    fn source(&mut self, root: Root, height: u8) -> Source {
        if root.is_empty() {
            return Source::Empty;
        }
        if root.height == height {
            // The topmost node's own `high` is kept nowhere and not asked for.
            return Source::Stored(Child { node: root.node, high: 0 });
        }
        let high = self.lack.node(self.nodes, root.node).map_or(0, Node::high);
        Source::Above(Child { node: root.node, high }, root.height)
    }

    fn apply(&mut self, source: Source, level: u8, changes: &[(u32, Option<u32>)]) -> Outcome {
        match source {
            Source::Empty if changes.is_empty() => Outcome::Empty,
            Source::Stored(child) if changes.is_empty() => Outcome::Kept(child),
            _ if level == 0 => self.apply_leaf(source, changes),
            _ => self.apply_inner(source, level, changes),
        }
    }

    fn apply_leaf(&mut self, source: Source, changes: &[(u32, Option<u32>)]) -> Outcome {
        let before = match source {
            Source::Stored(child) => match self.lack.node(self.nodes, child.node) {
                Some(Node::Leaf(events)) => *events,
                _ => [None; 16],
            },
            Source::Empty | Source::Above(..) => [None; 16],
        };
        let mut after = before;
        for (key, event) in changes {
            after[digit(*key, 0)] = *event;
        }
        finish(source, after == before, after, Node::Leaf)
    }

    fn apply_inner(&mut self, source: Source, level: u8, changes: &[(u32, Option<u32>)]) -> Outcome {
        let (before, mut sources) = self.places(source, level);
        let mut after = before;
        let mut runs = changes.chunk_by(|a, b| digit(a.0, level) == digit(b.0, level)).peekable();
        for place in 0..16 {
            let run = runs.next_if(|run| digit(run[0].0, level) == place).unwrap_or_default();
            let source = std::mem::replace(&mut sources[place], Source::Empty);
            after[place] = match self.apply(source, level - 1, run) {
                Outcome::Empty => None,
                Outcome::Kept(child) => Some(child),
                Outcome::Fresh(node) => Some(self.place(node)),
            };
        }
        finish(source, after == before, after, Node::Inner)
    }

    /// What stands in the places of a subtree before the change.
    fn places(&mut self, source: Source, level: u8) -> ([Option<Child>; 16], [Source; 16]) {
        let mut sources = [Source::Empty; 16];
        let mut before = [None; 16];
        match source {
            Source::Empty => {}
            Source::Above(child, height) if height == level => sources[0] = Source::Stored(child),
            Source::Above(..) => sources[0] = source,
            Source::Stored(child) => {
                if let Some(Node::Inner(children)) = self.lack.node(self.nodes, child.node) {
                    before = *children;
                    sources = before.map(|child| child.map_or(Source::Empty, Source::Stored));
                }
            }
        }
        (before, sources)
    }

    /// Gives a new node its number.
    fn place(&mut self, node: Node) -> Child {
        let child = Child { node: self.next, high: node.high() };
        self.written.push((self.next, node));
        self.next += 1;
        child
    }

    /// The root above a changed subtree, lowered as far as the largest key that is left allows.
    fn top(&mut self, mut top: Outcome, old: Root, mut height: u8) -> Root {
        loop {
            let node = match top {
                Outcome::Empty => return Root::EMPTY,
                Outcome::Kept(_) => return old,
                Outcome::Fresh(node) => node,
            };
            let Some(child) = only_leftmost(&node) else {
                return Root { node: self.place(node).node, height };
            };
            height -= 1;
            if let Some((_, node)) = self.written.pop_if(|(number, _)| *number == child.node) {
                self.next -= 1;
                top = Outcome::Fresh(node);
                continue;
            }
            return self.lower(child, height);
        }
    }

    /// As [`Self::top`], from a node that is stored already.
    fn lower(&mut self, mut child: Child, mut height: u8) -> Root {
        while let Some(below) = self.lack.node(self.nodes, child.node).and_then(only_leftmost) {
            child = below;
            height -= 1;
        }
        Root { node: child.node, height }
    }
}

fn finish<T>(source: Source, same: bool, after: [Option<T>; 16], node: fn([Option<T>; 16]) -> Node) -> Outcome {
    match source {
        Source::Stored(child) if same => Outcome::Kept(child),
        _ if after.iter().all(Option::is_none) => Outcome::Empty,
        _ => Outcome::Fresh(node(after)),
    }
}

/// The child of an inner node that has only its leftmost.
fn only_leftmost(node: &Node) -> Option<Child> {
    let Node::Inner([first, rest @ ..]) = node else { return None };
    first.filter(|_| rest.iter().all(Option::is_none))
}
