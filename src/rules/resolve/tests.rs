//! On random small rooms with forks: resolving only what can matter gives what resolving everything gives.

use std::collections::BTreeSet;

use proptest::prelude::*;
use ruma::RoomVersionId;
use serde_json::json;

use super::*;
use crate::testing::{Room, State, apply, member, state};

/// One step of a fork: who does what to whom.
#[derive(Clone, Copy, Debug)]
struct Act {
    who: usize,
    what: usize,
    whom: usize,
}

const PEOPLE: [&str; 4] = ["creator", "ann", "ben", "cleo"];

fn acts(range: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Act>> {
    let act = (0..4_usize, 0..9_usize, 0..4_usize).prop_map(|(who, what, whom)| Act { who, what, whom });
    proptest::collection::vec(act, range)
}

/// Tries an act on a state; what the rules refuse does not happen.
fn perform(room: &mut Room, branch: &mut State, at: u64, act: Act) {
    let (who, whom) = (PEOPLE[act.who], PEOPLE[act.whom]);
    let prev = room.events.last().map(|event| event.event_id().clone()).into_iter().collect();
    let draft = match act.what {
        0 | 1 => member(who, who, "join"),
        2 => member(who, who, "leave"),
        3 => member(who, whom, "invite"),
        4 => member(who, whom, "leave"),
        5 => member(who, whom, "ban"),
        6 => state(who, "m.room.topic", "", json!({ "topic": at.to_string() })),
        7 => {
            let mut users = json!({ format!("@{whom}:here"): 50 + at % 50 });
            if !room.privileged() {
                users["@creator:here"] = json!(100);
            } else if whom == "creator" {
                return;
            }
            state(who, "m.room.power_levels", "", json!({ "users": users }))
        }
        _ => {
            let rule = if at.is_multiple_of(2) { "public" } else { "invite" };
            state(who, "m.room.join_rules", "", json!({ "join_rule": rule }))
        }
    };
    if let Ok(event) = room.write(branch, prev, at, draft) {
        apply(branch, &event);
    }
}

fn ids(state: &State) -> StateMap<OwnedEventId> {
    state.iter().map(|(key, event)| (key.clone(), event.event_id().clone())).collect()
}

fn chain(room: &Room, state: &State) -> BTreeSet<OwnedEventId> {
    let (mut chain, mut open) = (BTreeSet::new(), state.values().cloned().collect::<Vec<_>>());
    while let Some(event) = open.pop() {
        if chain.insert(event.event_id().clone()) {
            open.extend(event.auth_events().iter().map(|id| room.event(id).unwrap()));
        }
    }
    chain
}

fn reaches(room: &Room, from: &OwnedEventId, to: &BTreeSet<OwnedEventId>) -> bool {
    to.contains(from) || room.event(from).unwrap().auth_events().iter().any(|id| reaches(room, id, to))
}

fn conflicted(branches: &[State]) -> BTreeSet<OwnedEventId> {
    let all = branches.iter().flatten();
    let apart = all.filter(|(key, event)| branches.iter().any(|state| state.get(*key) != Some(*event)));
    apart.map(|(_, event)| event.event_id().clone()).collect()
}

fn subgraph(room: &Room, conflicted: &BTreeSet<OwnedEventId>) -> EventIdSet<OwnedEventId> {
    let mut below = State::new();
    for (at, id) in conflicted.iter().enumerate() {
        below.insert(("x".into(), at.to_string()), room.event(id).unwrap());
    }
    chain(room, &below).into_iter().filter(|id| reaches(room, id, conflicted)).collect()
}

/// The whole of every state, with whole chains.
fn full(room: &Room, branches: &[State]) -> StateMap<OwnedEventId> {
    let sides =
        branches.iter().map(|state| Side { state: ids(state), chain: chain(room, state).into_iter().collect() });
    let subgraph = subgraph(room, &conflicted(branches));
    resolve(sides.collect(), &subgraph, room.rules, |id| room.event(id)).unwrap()
}

/// The keys that differ and those that can decide, with what is apart of the chains; the rest as it was.
fn reduced(room: &Room, branches: &[State]) -> StateMap<OwnedEventId> {
    let chains: Vec<_> = branches.iter().map(|state| chain(room, state)).collect();
    let apart = |id: &&OwnedEventId| chains.iter().any(|chain| !chain.contains(*id));
    let (conflicted, mut full_set) = (conflicted(branches), BTreeSet::new());
    full_set.extend(conflicted.iter().cloned());
    full_set.extend(chains.iter().flatten().filter(apart).cloned());
    let subgraph = subgraph(room, &conflicted);
    full_set.extend(subgraph.iter().cloned());
    let events: Vec<_> = full_set.iter().map(|id| room.event(id).unwrap()).collect();
    let matters = keys_that_matter(&events, room.rules);
    let differs = |key: &(StateEventType, String)| branches.iter().any(|state| state.get(key) != branches[0].get(key));
    let mut sides = Vec::new();
    for (state, chain) in branches.iter().zip(&chains) {
        let kept = state.iter().filter(|(key, _)| matters.contains(*key) || differs(key));
        let kept: State = kept.map(|(key, event)| (key.clone(), event.clone())).collect();
        sides.push(Side { state: ids(&kept), chain: chain.iter().filter(apart).cloned().collect() });
    }
    let mut resolved = ids(&branches[0]);
    resolved.retain(|key, _| !differs(key));
    resolved.extend(resolve(sides, &subgraph, room.rules, |id| room.event(id)).unwrap());
    resolved
}

fn fork(version: RoomVersionId, common: &[Act], forks: &[Vec<Act>]) -> (Room, Vec<State>) {
    let mut room = Room::new(version);
    let mut trunk = room.state.clone();
    for (at, act) in (10..).zip(common) {
        perform(&mut room, &mut trunk, at, *act);
    }
    let mut branches = Vec::new();
    for (side, acts) in (0..).zip(forks) {
        let mut branch = trunk.clone();
        // The sides overlap in time.
        for (at, act) in (0..).zip(acts) {
            perform(&mut room, &mut branch, 100 + 3 * at + side, *act);
        }
        branches.push(branch);
    }
    (room, branches)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::testing::cases(48), ..ProptestConfig::default() })]

    #[test]
    fn reduced_is_as_full_in_version_2(common in acts(0..12), forks in proptest::collection::vec(acts(0..8), 2..4)) {
        let (room, branches) = fork(RoomVersionId::V11, &common, &forks);
        prop_assert_eq!(reduced(&room, &branches), full(&room, &branches));
    }

    #[test]
    fn reduced_is_as_full_in_version_2_1(common in acts(0..12), forks in proptest::collection::vec(acts(0..8), 2..4)) {
        let (room, branches) = fork(RoomVersionId::V12, &common, &forks);
        prop_assert_eq!(reduced(&room, &branches), full(&room, &branches));
    }
}

/// Two topics of two sides, both allowed.
fn two_topics(version: RoomVersionId) -> (Room, Vec<State>) {
    let topic = Act { who: 0, what: 6, whom: 0 };
    fork(version, &[], &[vec![topic], vec![topic]])
}

#[test]
fn the_later_of_two_topics_stays() {
    for version in crate::testing::versions() {
        let (room, branches) = two_topics(version);
        let key = (StateEventType::RoomTopic, String::new());
        assert_eq!(full(&room, &branches)[&key], *branches[1][&key].event_id());
    }
}

#[test]
fn a_ban_stands_against_what_the_banned_did_meanwhile() {
    let join = Act { who: 1, what: 0, whom: 0 };
    let raise = Act { who: 0, what: 7, whom: 1 };
    let (room, branches) = fork(
        RoomVersionId::V12,
        &[join, raise],
        &[vec![Act { who: 0, what: 5, whom: 1 }], vec![Act { who: 1, what: 6, whom: 0 }]],
    );
    let resolved = full(&room, &branches);
    assert!(!resolved.contains_key(&(StateEventType::RoomTopic, String::new())));
    let ban = &branches[0][&(StateEventType::RoomMember, "@ann:here".to_owned())];
    assert_eq!(resolved[&(StateEventType::RoomMember, "@ann:here".to_owned())], *ban.event_id());
}

#[test]
fn an_event_that_is_not_loaded_is_asked_for_and_never_left_out() {
    let (room, branches) = two_topics(RoomVersionId::V12);
    let lost = branches[1][&(StateEventType::RoomTopic, String::new())].event_id().clone();
    let sides =
        branches.iter().map(|state| Side { state: ids(state), chain: chain(&room, state).into_iter().collect() });
    let result = resolve(sides.collect(), &EventIdSet::new(), room.rules, |id| room.event(id).filter(|_| *id != lost));
    assert_eq!(result, Err(ResolveError::Missing(vec![lost])));
}
