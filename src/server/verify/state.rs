//! The state of a room: its keys and their numbers, the tree, and what is kept beside it for speed.

use depesche_rules::{pdu::Pdu, tree::Node, visibility};
use ruma::{OwnedUserId, events::room::member::MembershipState};

use super::{
    Check,
    rows::{PAGE, Rows},
};
use crate::{
    keyspace::{EVENT, EventNo, KEY, KEY_NO, KeyNo, MEMBER, META, NODE, NodeNo},
    records::rooms::{RootRecord, StateKey},
    rooms::view::RoomView,
    tx::Fault,
};

/// A part of the tree that is still to be looked at.
struct Branch {
    node: NodeNo,
    level: u8,
    /// The first key below it.
    first: KeyNo,
    /// What the node above says; `None` for the topmost.
    high: Option<EventNo>,
}

/// Members of the state, counted.
#[derive(Default)]
struct Members {
    all: i64,
    joined: u32,
    invited: u32,
}

impl Check<'_> {
    /// Keys have numbers without a gap, and each pair of type and state key has one number.
    pub(super) async fn check_keys(&mut self, room: &RoomView) -> Result<(), Fault> {
        let (no, mut next, mut found) = (room.no, 1, 0);
        let mut rows = Rows::new(&KEY, KEY.under(&(no,)));
        while let Some(page) = rows.next(self).await? {
            let pairs: Vec<_> = page.iter().map(|(_, key)| (no, key.kind.clone(), key.state_key.clone())).collect();
            let numbers = self.get_all(&KEY_NO, &pairs).await?;
            for (((_, key), _), number) in page.into_iter().zip(numbers) {
                self.holds(key == next, || format!("room {no}: key {key} follows key {}", next - 1));
                next = key + 1;
                self.holds(number == Some(key), || format!("room {no}: the pair of key {key} leads to {number:?}"));
            }
        }
        let mut rows = Rows::new(&KEY_NO, KEY_NO.under(&(no,)));
        while let Some(page) = rows.next(self).await? {
            found += page.len();
        }
        let last = room.head.next_key - 1;
        self.holds(next - 1 == last, || format!("room {no}: the last key is {}, the head says {last}", next - 1));
        self.holds(found == last as usize, || format!("room {no}: {found} pairs for {last} keys"));
        Ok(())
    }

    /// The tree of the current state, node by node, and what its entries lead to.
    pub(super) async fn check_state(&mut self, room: &RoomView) -> Result<(), Fault> {
        let root = room.root();
        let (mut entries, mut members) = (Vec::new(), Members::default());
        let top = Branch { node: root.node, level: root.height.saturating_sub(1), first: 0, high: None };
        let mut branches = if root.node == 0 { Vec::new() } else { vec![top] };
        while let Some(branch) = branches.pop() {
            self.open(room, &branch, &mut branches, &mut entries).await?;
            if entries.len() >= PAGE || branches.is_empty() {
                self.check_entries(room, std::mem::take(&mut entries), &mut members).await?;
            }
        }
        let (no, head) = (room.no, &room.head);
        let Members { all, joined, invited } = members;
        *self.members.entry(no).or_default() += all;
        self.holds(joined == head.joined, || format!("room {no}: {joined} are joined, the head says {}", head.joined));
        self.holds(invited == head.invited, || format!("room {no}: {invited} invites, the head says {}", head.invited));
        Ok(())
    }

    /// Looks at one node: its kind, its numbers; adds what is below.
    async fn open(
        &mut self,
        room: &RoomView,
        branch: &Branch,
        branches: &mut Vec<Branch>,
        entries: &mut Vec<(KeyNo, EventNo)>,
    ) -> Result<(), Fault> {
        let (no, number) = (room.no, branch.node);
        let [bytes] = self.get_each(&NODE, &[(no, number)]).await?;
        let Some(node) = bytes.and_then(|bytes| Node::decode(&bytes).ok()) else {
            self.problem(|| format!("room {no}: node {number} of the state is not there or cannot be read"));
            return Ok(());
        };
        self.holds(number < room.head.next_node, || format!("room {no}: node {number} has a number not given yet"));
        let right = branch.high.is_none_or(|high| high == node.high());
        self.holds(right, || format!("room {no}: node {number} holds other events than is said above it"));
        match node {
            Node::Leaf(events) if branch.level == 0 => {
                let found = (branch.first..).zip(events).filter_map(|(key, event)| Some((key, event?)));
                entries.extend(found);
            }
            Node::Inner(children) if branch.level > 0 => {
                let width = 4 * u32::from(branch.level);
                for (place, child) in (0_u32..).zip(children) {
                    let first = branch.first | place << width;
                    branches.extend(child.map(|child| Branch {
                        node: child.node,
                        level: branch.level - 1,
                        first,
                        high: Some(child.high),
                    }));
                }
            }
            _ => self.problem(|| format!("room {no}: node {number} is of the wrong kind for level {}", branch.level)),
        }
        Ok(())
    }

    /// Each entry of the state names an event that sets it; each member has a row that says the same.
    async fn check_entries(
        &mut self,
        room: &RoomView,
        entries: Vec<(KeyNo, EventNo)>,
        members: &mut Members,
    ) -> Result<(), Fault> {
        let no = room.no;
        let keys: Vec<_> = entries.iter().map(|(key, _)| (no, *key)).collect();
        let events: Vec<_> = entries.iter().map(|(_, event)| (no, *event)).collect();
        let keys = self.get_all(&KEY, &keys).await?;
        let metas = self.get_all(&META, &events).await?;
        let mut named = Vec::new();
        for (((key, event), pair), meta) in entries.into_iter().zip(keys).zip(metas) {
            let right = meta.is_some_and(|meta| meta.facts.key == Some(key));
            self.holds(right, || format!("room {no}: key {key} is set by event {event}, which sets another"));
            named.extend(pair.and_then(member).map(|user| (user, event)));
        }
        members.all += i64::try_from(named.len()).unwrap_or(i64::MAX);
        let rows: Vec<_> = named.iter().map(|(user, _)| (user.clone(), no)).collect();
        let rows = self.get_all(&MEMBER, &rows).await?;
        let texts: Vec<_> = named.iter().map(|(_, event)| (no, *event)).collect();
        let texts = self.get_all(&EVENT, &texts).await?;
        for (((_, event), row), text) in named.into_iter().zip(rows).zip(texts) {
            let pdu = text.and_then(|text| {
                let text = std::str::from_utf8(&text).ok()?;
                Pdu::from_stored(text.into(), "$unused".try_into().ok()?, room.rules).ok()
            });
            let state = visibility::membership(pdu.as_ref());
            members.joined += u32::from(state == MembershipState::Join);
            members.invited += u32::from(state == MembershipState::Invite);
            let same = row.is_some_and(|row| row.event == event && row.state == state);
            self.holds(same, || format!("room {no}: the member that event {event} sets has another row, or none"));
        }
        Ok(())
    }

    /// What differs between two states: key and event in the second.
    pub(super) async fn changes(
        &self,
        room: &RoomView,
        before: RootRecord,
        after: RootRecord,
    ) -> Result<Vec<(KeyNo, Option<EventNo>)>, Fault> {
        if before == after {
            return Ok(Vec::new());
        }
        let changes = room.state_changes(before, after).await?;
        Ok(changes.into_iter().map(|(key, _, event)| (key, event)).collect())
    }
}

fn member(key: StateKey) -> Option<OwnedUserId> {
    (key.kind == "m.room.member").then(|| key.state_key.try_into().ok()).flatten()
}
