//! The engine's own rows: how positions, changes and leases lie under [`RESERVED`].
//!
//! Engines share this layout, so that a row means the same in each of them. Nothing here reads or writes; a batch
//! cannot touch these keys, and no scan returns them.

use std::collections::VecDeque;

use crate::{Bytes, Change, Position, RESERVED, Range, Topic};

/// The stored ceiling: no position above it has been handed out yet.
pub const CEILING: &[u8] = &[RESERVED, b'p'];
/// The newest position whose change is no longer kept.
pub const TRIMMED: &[u8] = &[RESERVED, b't'];
/// The first key that is not reserved: scans begin here at the earliest.
pub const FIRST: &[u8] = &[RESERVED + 1];

const CHANGE: u8 = b'c';
const LEASE: u8 = b'l';
const LEASE_END: u8 = b'x';

/// How far ahead the ceiling is stored: one write of it in so many commits, and so large a gap after a crash.
const AHEAD: u64 = 1 << 20;
/// How much higher a restored copy starts at least: what the original did after the copy was made stays below.
const RESTORED_AHEAD: u64 = 1 << 32;
/// A restored copy starts at least at so many positions for each millisecond since 1970: more than any machine commits.
/// So what an earlier restore of the same copy has handed out stays below, too. Enough until the year 2109.
const PER_MS: u32 = 22;

/// The key of the change at a position.
pub fn change_key(position: Position) -> Bytes {
    [&[RESERVED, CHANGE], position.0.to_be_bytes().as_slice()].concat().into()
}

/// The keys of the changes above a position.
pub fn changes_above(after: Position) -> Range {
    let all = Range::prefix(vec![RESERVED, CHANGE]);
    match after.0.checked_add(1) {
        Some(first) => Range { from: change_key(Position(first)), to: all.to },
        None => Range { from: all.to.clone(), to: all.to },
    }
}

/// The keys of the changes up to and including a position.
pub fn changes_through(through: Position) -> Range {
    Range { from: change_key(Position(0)), to: changes_above(through).from }
}

/// The value of a change.
pub fn change_value(topics: impl IntoIterator<Item = Topic>) -> Bytes {
    topics.into_iter().flat_map(|topic| topic.0.to_be_bytes()).collect()
}

/// The change of a row; none if the row is not one.
pub fn decode_change(key: &[u8], value: &[u8]) -> Option<Change> {
    let position = decode_position(key.strip_prefix(&[RESERVED, CHANGE])?)?;
    let (topics, rest) = value.as_chunks();
    rest.is_empty()
        .then(|| Change { position, topics: topics.iter().map(|topic| Topic(u64::from_be_bytes(*topic))).collect() })
}

/// A position as the ceiling and the trim mark store it.
pub fn position_value(position: Position) -> Bytes {
    Bytes::copy_from_slice(&position.0.to_be_bytes())
}

/// The position of [`position_value`].
pub fn decode_position(value: &[u8]) -> Option<Position> {
    value.try_into().ok().map(|bytes| Position(u64::from_be_bytes(bytes)))
}

/// The key of the row that names a lease's epoch and holder.
pub(crate) fn lease_key(name: &str) -> Bytes {
    [&[RESERVED, LEASE], name.as_bytes()].concat().into()
}

/// The key of the row that says when a lease ends.
pub(crate) fn lease_end_key(name: &str) -> Bytes {
    [&[RESERVED, LEASE_END], name.as_bytes()].concat().into()
}

/// The counter of positions of an open engine.
///
/// Invariant: no position is handed out that is not below a ceiling which is durable before, or together with, the
/// first batch that uses it. So the next start, which begins at the ceiling, is above all of them.
#[derive(Clone, Debug)]
pub struct Positions {
    last: u64,
    ceiling: u64,
}

impl Positions {
    /// Starts at the stored ceiling (none: a new database). The engine stores [`Positions::due`] before anything else.
    pub fn start(ceiling: Option<Position>) -> Self {
        let ceiling = ceiling.unwrap_or_default().0;
        Self { last: ceiling, ceiling }
    }

    /// Starts so much higher that nothing the original did after it was copied reaches here, and nothing that an earlier
    /// restore of the same copy did, if the clock has gone on since.
    pub fn start_restored(ceiling: Option<Position>, now_ms: u64) -> Self {
        let above_original = ceiling.unwrap_or_default().0.saturating_add(RESTORED_AHEAD);
        let above_earlier = now_ms.min(u64::MAX >> PER_MS) << PER_MS;
        Self::start(Some(Position(above_original.max(above_earlier))))
    }

    /// When a copy was restored, in milliseconds since 1970, by the first position it handed out. Near enough: a copy that was
    /// made of a restored one in the same second begins a second later. Long ago if the clock was not set.
    pub fn restored_ms(first: Position) -> u64 {
        first.0 >> PER_MS
    }

    /// The newest position handed out.
    pub fn last(&self) -> Position {
        Position(self.last)
    }

    /// The next one. A position whose batch then fails stays a gap.
    pub fn hand_out(&mut self) -> Position {
        self.last += 1;
        Position(self.last)
    }

    /// The ceiling to store with the group at hand, synced, if the stored one comes near.
    pub fn due(&self) -> Option<Position> {
        (self.ceiling < self.last + AHEAD / 2).then_some(Position(self.last + AHEAD))
    }

    /// The ceiling is durable.
    pub fn stored(&mut self, ceiling: Position) {
        self.ceiling = ceiling.0;
    }
}

/// Which changes an open engine keeps, to know what to trim without reading.
#[derive(Debug)]
pub struct Kept {
    positions: VecDeque<Position>,
    keep: usize,
}

impl Kept {
    /// The changes found at the start, oldest first, of which so many are to be kept.
    pub fn new(keep: u64, positions: impl IntoIterator<Item = Position>) -> Self {
        Self { positions: positions.into_iter().collect(), keep: usize::try_from(keep).unwrap_or(usize::MAX) }
    }

    /// A change is stored.
    pub fn add(&mut self, position: Position) {
        self.positions.push_back(position);
    }

    /// The newest change to forget now. Some more than asked are kept, so that trimming comes in few, larger steps.
    pub fn due(&self) -> Option<Position> {
        let extra = self.positions.len().checked_sub(self.keep)?;
        if extra > self.keep / 8 { self.positions.get(extra.checked_sub(1)?).copied() } else { None }
    }

    /// The changes up to and including this one are gone.
    pub fn forget(&mut self, through: Position) {
        while self.positions.front().is_some_and(|position| *position <= through) {
            self.positions.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_and_nothing_else_is_one() {
        let key = change_key(Position(7));
        let value = change_value([Topic(1), Topic(u64::MAX)]);
        let change = Change { position: Position(7), topics: vec![Topic(1), Topic(u64::MAX)] };
        assert_eq!(decode_change(&key, &value), Some(change));
        assert_eq!(decode_change(&key, &value[1..]), None);
        assert_eq!(decode_change(CEILING, &value), None);
        assert!(changes_above(Position(6)).contains(&key));
        assert!(!changes_above(Position(7)).contains(&key));
        assert!(!changes_above(Position(u64::MAX)).contains(&change_key(Position(u64::MAX))));
        assert!(changes_through(Position(7)).contains(&key));
        assert!(!changes_through(Position(6)).contains(&key));
    }

    #[test]
    fn positions_never_pass_the_stored_ceiling() {
        let mut positions = Positions::start(None);
        for _ in 0..3 * AHEAD {
            if let Some(ceiling) = positions.due() {
                positions.stored(ceiling);
            }
            assert!(positions.hand_out().0 <= positions.ceiling);
        }
        assert!(Positions::start(Some(Position(positions.ceiling))).hand_out() > positions.last());
    }

    #[test]
    fn a_copy_restored_again_starts_above_what_its_first_restore_did() {
        let copied = Some(Position(5000));
        let now_ms = 1_800_000_000_000;
        assert_eq!(Positions::start_restored(copied, 0).last(), Position(5000 + RESTORED_AHEAD), "without a clock");
        let mut first = Positions::start_restored(copied, now_ms);
        assert!(first.last() > Positions::start_restored(copied, 0).last());
        assert_eq!(Positions::restored_ms(first.hand_out()), now_ms);
        assert!(Positions::restored_ms(Positions::start_restored(copied, 0).last()) < 2000);
        for _ in 0..3 {
            first.hand_out();
        }
        let second = Positions::start_restored(copied, now_ms + 1);
        assert!(second.last() > first.last());
        // A copy of the restored one, restored in the same millisecond.
        assert!(Positions::start_restored(Some(second.last()), now_ms + 1).last() > second.last());
        assert!(Positions::start_restored(copied, u64::MAX).last().0 < u64::MAX - AHEAD);
    }

    #[test]
    fn at_least_so_many_changes_are_kept() {
        let mut kept = Kept::new(16, []);
        for position in 1..=100 {
            kept.add(Position(position));
            if let Some(through) = kept.due() {
                kept.forget(through);
                assert_eq!(through, Position(position - 16));
            }
            assert!(kept.positions.len() <= 18, "{}", kept.positions.len());
        }
        assert!(kept.positions.len() >= 16);
        let mut none = Kept::new(0, [Position(3)]);
        assert_eq!(none.due(), Some(Position(3)));
        none.forget(Position(3));
        assert_eq!(none.due(), None);
    }
}
