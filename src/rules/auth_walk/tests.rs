//! The walks against the definitions, computed with whole sets.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::tree::{self, Node, Root};

type Graph = BTreeMap<u32, Vec<u32>>;

/// An auth graph, and states as lists of (key, event).
fn rooms() -> impl Strategy<Value = (Graph, Vec<Vec<(u32, u32)>>)> {
    let graph = proptest::collection::vec(proptest::collection::vec(0..1000_usize, 0..4), 1..60).prop_map(|picks| {
        let mut graph = Graph::new();
        for (no, picks) in (1_u32..).zip(picks) {
            let auth: BTreeSet<u32> = picks
                .into_iter()
                .filter(|_| no > 1)
                .map(|pick| 1 + u32::try_from(pick).unwrap() % (no - 1).max(1))
                .collect();
            graph.insert(no, auth.into_iter().collect());
        }
        graph
    });
    let base = proptest::collection::vec((0..300_u32, 0..1000_usize), 0..40);
    let sides = proptest::collection::vec(proptest::collection::vec((0..300_u32, 0..1000_usize), 0..5), 1..5);
    (graph, base, sides).prop_map(|(graph, base, sides)| {
        let event = |pick: usize| 1 + u32::try_from(pick % graph.len()).unwrap();
        let entries = |picks: &[(u32, usize)]| picks.iter().map(|(key, pick)| (*key, event(*pick))).collect::<Vec<_>>();
        let base = entries(&base);
        let states = sides.iter().map(|side| [base.clone(), entries(side)].concat()).collect();
        (graph, states)
    })
}

/// Trees that share what they can: each side is a change of the first.
fn trees(states: &[Vec<(u32, u32)>]) -> (BTreeMap<u32, Node>, Vec<Root>) {
    let (mut nodes, mut next, mut roots) = (BTreeMap::new(), 1, Vec::<Root>::new());
    for state in states {
        let changes: Vec<_> = state.iter().map(|(key, event)| (*key, Some(*event))).collect();
        let written = tree::set(roots.first().copied().unwrap_or_default(), &changes, next, &nodes).unwrap();
        next = written.next_node_no;
        nodes.extend(written.nodes);
        roots.push(written.root);
    }
    (nodes, roots)
}

/// The events of a state with all that authorises them.
fn chain(graph: &Graph, events: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
    let (mut chain, mut open) = (BTreeSet::new(), events.into_iter().collect::<Vec<_>>());
    while let Some(event) = open.pop() {
        if chain.insert(event) {
            open.extend(&graph[&event]);
        }
    }
    chain
}

/// Runs a walk on what it asked for alone, and counts how much that was.
fn by_need(
    walk: &mut AuthWalk,
    stored: &BTreeMap<u32, Node>,
    graph: &Graph,
) -> (Vec<Apart>, BTreeMap<u32, Node>, Graph) {
    let (mut nodes, mut edges) = (BTreeMap::new(), Graph::new());
    loop {
        match walk.run(&nodes, &edges) {
            Step::Done(apart) => return (apart, nodes, edges),
            Step::Need(need) => {
                assert!(!need.nodes.is_empty() || !need.edges.is_empty());
                for no in need.nodes {
                    assert!(nodes.insert(no, stored[&no].clone()).is_none());
                }
                for no in need.edges {
                    assert!(edges.insert(no, graph[&no].clone()).is_none());
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn finds_the_auth_difference((graph, states) in rooms()) {
        let (nodes, roots) = trees(&states);
        let chains: Vec<_> = roots.iter().map(|root| {
            let entries = tree::entries(*root, 0, usize::MAX, &nodes).unwrap().entries;
            chain(&graph, entries.into_iter().map(|(_, event)| event))
        }).collect();
        let mut expected = Vec::new();
        for event_no in graph.keys().rev() {
            let sides = chains.iter().enumerate().filter(|(_, chain)| chain.contains(event_no));
            let sides: Vec<_> = sides.map(|(side, _)| side).collect();
            if !sides.is_empty() && sides.len() < chains.len() {
                expected.push((*event_no, sides));
            }
        }
        let mut walk = AuthWalk::new(&roots).unwrap();
        let (found, _, _) = by_need(&mut walk, &nodes, &graph);
        let found: Vec<_> = found.iter().map(|apart| {
            (apart.event_no, (0..chains.len()).filter(|side| apart.sides.has(*side)).collect::<Vec<_>>())
        }).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn finds_the_conflicted_subgraph((graph, states) in rooms()) {
        let conflicted: BTreeSet<u32> = states.iter().flatten().map(|(_, event)| *event).take(5).collect();
        let below = |event: &u32| chain(&graph, [*event]);
        let expected: Vec<u32> = graph.keys().copied().filter(|event| {
            let reached = conflicted.iter().any(|from| below(from).contains(event));
            let reaches = conflicted.iter().any(|to| below(event).contains(to));
            reached && reaches
        }).collect();
        let (mut walk, mut edges) = (SubgraphWalk::new(conflicted), Graph::new());
        let found = loop {
            match walk.run(&edges) {
                Step::Done(found) => break found,
                Step::Need(need) => {
                    for no in need.edges {
                        prop_assert!(edges.insert(no, graph[&no].clone()).is_none());
                    }
                }
            }
        };
        prop_assert_eq!(found, expected);
    }
}

/// A room of many members whose events all hang on the same three, with one more change on one side.
#[test]
fn costs_what_is_newer_than_the_difference() {
    let count = 20_000;
    let mut graph: Graph = (1..=count).map(|no| (no, if no > 3 { vec![1, 2, 3] } else { (1..no).collect() })).collect();
    graph.insert(count + 1, vec![1, 3, count]);
    let base: Vec<_> = (1..=count).map(|no| (no, no)).collect();
    let (nodes, roots) = trees(&[base, vec![(count, count + 1)]]);
    let mut walk = AuthWalk::new(&roots).unwrap();
    let (apart, loaded, edges) = by_need(&mut walk, &nodes, &graph);
    assert_eq!(apart.iter().map(|apart| apart.event_no).collect::<Vec<_>>(), [count + 1]);
    assert!(loaded.len() < 40 && edges.len() < 40, "{} nodes, {} edges", loaded.len(), edges.len());
}

#[test]
fn equal_states_need_nothing() {
    let root = Root { node: 7, height: 3 };
    let nothing = (BTreeMap::<u32, Node>::new(), Graph::new());
    assert_eq!(AuthWalk::new(&[root, root]).unwrap().run(&nothing.0, &nothing.1), Step::Done(vec![]));
    assert_eq!(AuthWalk::new(&[]).unwrap().run(&nothing.0, &nothing.1), Step::Done(vec![]));
    assert!(AuthWalk::new(&[root; MAX_SIDES]).is_some());
    assert!(AuthWalk::new(&[root; MAX_SIDES + 1]).is_none());
}
