//! The tree against a map, its shape, and the arithmetic that the plan of the house rests on.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

/// A room's nodes as they are stored, and how much was written.
#[derive(Default)]
struct Store {
    nodes: HashMap<u32, Node>,
    next: u32,
    written: usize,
    bytes: usize,
}

impl Store {
    fn set(&mut self, root: Root, changes: &[(u32, Option<u32>)]) -> Root {
        let written = set(root, changes, self.next.max(1), &self.nodes).unwrap();
        self.next = written.next_node_no;
        self.written = written.nodes.len();
        self.bytes = written.nodes.iter().map(|(_, node)| node.encode().len()).sum();
        self.nodes.extend(written.nodes);
        written.root
    }

    fn all(&self, root: Root) -> Vec<(u32, u32)> {
        entries(root, 0, usize::MAX, &self.nodes).unwrap().entries
    }
}

/// A tree of `0..count`, each key with the event of its number plus one.
fn room(store: &mut Store, count: u32) -> Root {
    let changes: Vec<_> = (0..count).map(|key| (key, Some(key + 1))).collect();
    store.set(Root::EMPTY, &changes)
}

/// Calls `ask` until nothing is missing, loading node by node from `stored`; returns the answer and the rounds.
fn by_need<T>(
    stored: &HashMap<u32, Node>,
    loaded: &mut HashMap<u32, Node>,
    mut ask: impl FnMut(&HashMap<u32, Node>) -> Result<T, Missing>,
) -> (T, usize) {
    for round in 1.. {
        match ask(loaded) {
            Ok(answer) => return (answer, round),
            Err(Missing(numbers)) => {
                assert!(!numbers.is_empty());
                for number in numbers {
                    assert!(loaded.insert(number, stored[&number].clone()).is_none(), "asked twice for {number}");
                }
            }
        }
    }
    unreachable!()
}

#[test]
fn one_changed_key_of_50_000_writes_4_nodes_and_less_than_600_bytes() {
    let mut store = Store::default();
    let root = room(&mut store, 50_000);
    assert_eq!(root.height, 4);
    store.set(root, &[(31_415, Some(60_000))]);
    assert_eq!(store.written, 4);
    assert!(store.bytes < 600, "{}", store.bytes);
}

#[test]
fn a_room_of_50_000_in_one_go_writes_each_node_once() {
    let mut store = Store::default();
    let root = room(&mut store, 50_000);
    assert_eq!(store.written, 50_000_usize.div_ceil(16) + 196 + 13 + 1);
    assert!(store.bytes < 2_500_000, "{}", store.bytes);
    assert_eq!(store.all(root).len(), 50_000);
}

#[test]
fn a_room_of_50_000_by_single_joins_stays_below_30_megabytes() {
    let (mut store, mut root, mut bytes) = (Store::default(), Root::EMPTY, 0);
    for key in 0..50_000 {
        root = store.set(root, &[(key, Some(key + 1))]);
        bytes += store.bytes;
    }
    assert!(bytes < 30_000_000, "{bytes}");
    assert_eq!(highest(root, &store.nodes), Ok(Some(50_000)));
}

#[test]
fn the_difference_of_one_key_opens_two_paths() {
    let mut store = Store::default();
    let before = room(&mut store, 50_000);
    let after = store.set(before, &[(7, Some(60_000))]);
    let mut loaded = HashMap::new();
    let (found, rounds) = by_need(&store.nodes, &mut loaded, |nodes| diff(before, after, nodes));
    assert_eq!(found, [Change { key: 7, before: Some(8), after: Some(60_000) }]);
    assert_eq!((loaded.len(), rounds), (8, 5));
}

#[test]
fn a_page_loads_about_what_it_returns() {
    let mut store = Store::default();
    let root = room(&mut store, 50_000);
    let mut loaded = HashMap::new();
    let (page, _) = by_need(&store.nodes, &mut loaded, |nodes| entries(root, 20_000, 160, nodes));
    assert_eq!(page.entries.first(), Some(&(20_000, 20_001)));
    assert_eq!((page.entries.len(), page.next), (160, Some(20_160)));
    assert!(loaded.len() < 60, "{}", loaded.len());
}

#[test]
fn what_changes_nothing_writes_nothing() {
    let mut store = Store::default();
    let root = room(&mut store, 100);
    assert_eq!(store.set(root, &[(5, Some(6)), (1000, None), (u32::MAX, None)]), root);
    assert_eq!(store.written, 0);
    assert_eq!(store.set(root, &[]), root);
    assert_eq!(store.set(Root::EMPTY, &[(3, None)]), Root::EMPTY);
}

#[test]
fn the_last_of_two_changes_to_a_key_counts() {
    let mut store = Store::default();
    let root = store.set(Root::EMPTY, &[(5, Some(1)), (6, Some(1)), (5, Some(2)), (6, None)]);
    assert_eq!(store.all(root), [(5, 2)]);
}

#[test]
fn the_whole_range_of_keys() {
    let mut store = Store::default();
    let root = store.set(Root::EMPTY, &[(u32::MAX, Some(1)), (0, Some(2))]);
    assert_eq!(root.height, 8);
    assert_eq!(store.all(root), [(0, 2), (u32::MAX, 1)]);
    assert_eq!(get(root, u32::MAX, &store.nodes), Ok(Some(1)));
    let root = store.set(root, &[(u32::MAX, None)]);
    assert_eq!((root.height, store.all(root)), (1, vec![(0, 2)]));
}

#[test]
fn bytes_that_are_no_node() {
    let leaf = Node::Leaf(std::array::from_fn(|place| (place == 3).then_some(9))).encode();
    assert_eq!(leaf, [1, 0, 8, 0, 0, 0, 9]);
    let changed: [&[u8]; 6] =
        [&[], &[1, 0, 0], &[1, 0, 8], &[2, 0, 8, 0, 0, 0, 9], &[3, 0, 8, 0, 0, 0, 9], &[1, 0, 8, 0, 0, 0, 9, 0]];
    for bytes in changed {
        assert_eq!(Node::decode(bytes), Err(BadNode), "{bytes:?}");
    }
}

/// Small numbers, so that changes meet; now and then a large one, so that the height moves.
fn key() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..80_u32, 2 => 0..5_000_u32, 1 => any::<u32>()]
}

fn change() -> impl Strategy<Value = (u32, Option<u32>)> {
    (key(), prop_oneof![3 => (1..500_u32).prop_map(Some), 2 => Just(None)])
}

fn batches() -> impl Strategy<Value = Vec<Vec<(u32, Option<u32>)>>> {
    proptest::collection::vec(proptest::collection::vec(change(), 0..40), 1..12)
}

fn apply(map: &mut BTreeMap<u32, u32>, changes: &[(u32, Option<u32>)]) {
    for (key, event) in changes {
        match event {
            Some(event) => map.insert(*key, *event),
            None => map.remove(key),
        };
    }
}

fn flat(map: &BTreeMap<u32, u32>) -> Vec<(u32, u32)> {
    map.iter().map(|(key, event)| (*key, *event)).collect()
}

/// No empty node, no level too many, leaves at the bottom, the right highest numbers.
fn check_shape(nodes: &HashMap<u32, Node>, node_no: u32, level: u8) {
    let node = &nodes[&node_no];
    assert_eq!(&Node::decode(&node.encode()).unwrap(), node);
    match node {
        Node::Leaf(_) => assert!(level == 0 && node.events().count() > 0),
        Node::Inner(_) => {
            assert!(level > 0 && node.children().count() > 0);
            for child in node.children() {
                assert_eq!(child.high, nodes[&child.node].high());
                check_shape(nodes, child.node, level - 1);
            }
        }
    }
}

proptest! {
    #[test]
    fn behaves_as_a_map(batches in batches(), asked in proptest::collection::vec(key(), 0..20)) {
        let (mut store, mut root, mut map) = (Store::default(), Root::EMPTY, BTreeMap::new());
        let mut history = vec![(root, map.clone())];
        for changes in &batches {
            root = store.set(root, changes);
            apply(&mut map, changes);
            prop_assert_eq!(store.all(root), flat(&map));
            prop_assert_eq!(root.height, map.keys().last().map_or(0, |key| height_for(*key)));
            if !root.is_empty() {
                check_shape(&store.nodes, root.node, root.height - 1);
            }
            prop_assert_eq!(highest(root, &store.nodes).unwrap(), map.values().max().copied());
            let expected: Vec<_> = asked.iter().map(|key| map.get(key).copied()).collect();
            prop_assert_eq!(get_many(root, &asked, &store.nodes).unwrap(), expected);
            history.push((root, map.clone()));
        }
        // What was written before is as it was.
        for (root, map) in &history {
            prop_assert_eq!(store.all(*root), flat(map));
        }
    }

    #[test]
    fn differences_are_those_of_the_maps(batches in batches(), picks in proptest::collection::vec(0..100_usize, 2..5)) {
        let (mut store, mut history) = (Store::default(), vec![(Root::EMPTY, BTreeMap::new())]);
        for (at, changes) in batches.iter().enumerate() {
            // A fork: from any of the states before.
            let (root, mut map) = history[picks[at % picks.len()] % history.len()].clone();
            apply(&mut map, changes);
            history.push((store.set(root, changes), map));
        }
        let sides: Vec<_> = picks.iter().map(|pick| history[pick % history.len()].clone()).collect();
        let roots: Vec<_> = sides.iter().map(|(root, _)| *root).collect();
        let mut expected = Vec::new();
        let keys: std::collections::BTreeSet<u32> = sides.iter().flat_map(|(_, map)| map.keys().copied()).collect();
        for key in keys {
            let events: Vec<_> = sides.iter().map(|(_, map)| map.get(&key).copied()).collect();
            if events.windows(2).any(|pair| pair[0] != pair[1]) {
                expected.push(Conflict { key, events });
            }
        }
        let (found, rounds) = by_need(&store.nodes, &mut HashMap::new(), |nodes| conflicts(&roots, nodes));
        prop_assert_eq!(found, expected);
        prop_assert!(rounds <= 9);
    }

    #[test]
    fn pages_make_up_the_whole(batches in batches(), limit in 1..30_usize) {
        let (mut store, mut root, mut map) = (Store::default(), Root::EMPTY, BTreeMap::new());
        for changes in &batches {
            root = store.set(root, changes);
            apply(&mut map, changes);
        }
        let (mut all, mut from, mut loaded) = (Vec::new(), Some(0), HashMap::new());
        while let Some(start) = from {
            let (page, _) = by_need(&store.nodes, &mut loaded, |nodes| entries(root, start, limit, nodes));
            prop_assert!(page.entries.len() <= limit && (page.next.is_none() || page.entries.len() == limit));
            all.extend(page.entries);
            from = page.next;
        }
        prop_assert_eq!(all, flat(&map));
    }

    #[test]
    fn asking_by_need_gives_the_same_in_few_rounds(batches in batches(), changes in proptest::collection::vec(change(), 0..40)) {
        let (mut store, mut root) = (Store::default(), Root::EMPTY);
        for changes in &batches {
            root = store.set(root, changes);
        }
        let whole = set(root, &changes, store.next.max(1), &store.nodes).unwrap();
        let mut loaded = HashMap::new();
        let (by_need, rounds) =
            by_need(&store.nodes, &mut loaded, |nodes| set(root, &changes, store.next.max(1), nodes));
        prop_assert_eq!(whole, by_need);
        // One round for each level, and those that lowering the root takes.
        prop_assert!(rounds <= 9, "{}", rounds);
    }
}
