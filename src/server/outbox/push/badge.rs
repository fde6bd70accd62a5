//! The number on an app's icon: what its user has not read, in all rooms they are joined to.
//!
//! An invite is told, and does not count: it is no message, and its room is not one of theirs yet. Nor are missed calls
//! counted for themselves: of a call the server sees no end, in encrypted rooms not even the beginning.
//!
//! What a room counts for a user is kept, and counted anew only where the changes of the database name the room, or the
//! user: a notification costs what changed since the last one, not what its user is joined to. All of it is a cache.
//!
//! Spec: `counts` of [`POST /_matrix/push/v1/notify`](https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use depesche_config::Badge;
use depesche_store::{Changes, MAX_SCAN, Position, Topic};
use quick_cache::sync::Cache;
use ruma::{OwnedUserId, UserId, events::room::member::MembershipState};
use tokio::sync::Mutex;

use crate::{
    Base, Fault,
    keyspace::{MEMBER, RoomNo},
    rooms::{receipts, unread::Counter, view::RoomView},
    topic,
    tx::{Pages, View},
};

/// Users whose counts are kept.
const USERS: usize = 10_000;
/// Topics of which the last change is kept. Beyond, all counts are made anew.
const TOPICS: usize = 200_000;
/// Changes read in one step.
const CHANGES: usize = 1000;

/// Counts what users have not read.
pub struct Badges {
    base: Arc<Base>,
    counter: Counter,
    kept: Cache<OwnedUserId, Arc<Kept>>,
    seen: Mutex<Seen>,
}

/// What a user had not read at a snapshot, by joined room.
struct Kept {
    at: Position,
    rooms: BTreeMap<RoomNo, u32>,
}

/// What changed, and when last.
struct Seen {
    /// Changes above this position are known.
    from: Position,
    /// Those up to here.
    to: Position,
    last: HashMap<Topic, Position>,
}

impl Badges {
    /// Nothing is counted yet.
    pub fn new(base: Arc<Base>) -> Self {
        let now = base.view().position();
        let seen = Mutex::new(Seen { from: now, to: now, last: HashMap::new() });
        Self { base, counter: Counter::default(), kept: Cache::new(USERS), seen }
    }

    /// The number of unread messages of a user, or of rooms with such, in the rooms the user is joined to.
    pub async fn count(&self, view: &View, user: &UserId) -> Result<u32, Fault> {
        let kept = match self.kept.get(user) {
            Some(kept) => self.brought_up(view, user, kept).await?,
            None => Arc::new(self.counted(view, user).await?),
        };
        self.kept.insert(user.to_owned(), Arc::clone(&kept));
        let counts = kept.rooms.values().map(|unread| match self.base.config.push.badge {
            Badge::Messages => *unread,
            Badge::Rooms => (*unread).min(1),
        });
        Ok(counts.fold(0, u32::saturating_add))
    }

    /// Counts anew what has changed since.
    async fn brought_up(&self, view: &View, user: &UserId, kept: Arc<Kept>) -> Result<Arc<Kept>, Fault> {
        let now = view.position();
        if kept.at >= now {
            return Ok(kept);
        }
        let (mut stale, has_read) = {
            let mut seen = self.seen.lock().await;
            seen.follow(&self.base, now).await?;
            let has_changed = |topic: Topic| seen.last.get(&topic).is_some_and(|last| *last > kept.at);
            // Memberships, rules and those who are ignored change what all rooms count.
            if seen.from > kept.at || has_changed(topic::user(user)) {
                drop(seen);
                return Ok(Arc::new(self.counted(view, user).await?));
            }
            let rooms = kept.rooms.keys().copied();
            let stale = rooms.filter(|room| has_changed(topic::room(*room)) || has_changed(topic::passing(*room)));
            (stale.collect::<BTreeSet<_>>(), has_changed(topic::private_receipt(user)))
        };
        if has_read {
            let Some(read) = receipts::moved_privately(view, user, kept.at).await? else {
                return Ok(Arc::new(self.counted(view, user).await?));
            };
            stale.extend(read.into_iter().filter(|room| kept.rooms.contains_key(room)));
        }
        let stale: Vec<_> = stale.into_iter().collect();
        if stale.is_empty() {
            return Ok(Arc::new(Kept { at: now, rooms: kept.rooms.clone() }));
        }
        let mut rooms = kept.rooms.clone();
        rooms.extend(self.count_rooms(view, user, &stale).await?);
        Ok(Arc::new(Kept { at: now, rooms }))
    }

    async fn counted(&self, view: &View, user: &UserId) -> Result<Kept, Fault> {
        let mut rooms = Pages::new(&MEMBER, MEMBER.under(&(user.to_owned(),)), MAX_SCAN);
        let mut joined = Vec::new();
        while let Some(rows) = rooms.next(view).await? {
            let is_joined = rows.into_iter().filter(|(_, member)| member.state == MembershipState::Join);
            joined.extend(is_joined.map(|((_, room), _)| room));
        }
        Ok(Kept { at: view.position(), rooms: self.count_rooms(view, user, &joined).await? })
    }

    /// What a user has not read of rooms; nothing of one that is damaged.
    async fn count_rooms(&self, view: &View, user: &UserId, rooms: &[RoomNo]) -> Result<BTreeMap<RoomNo, u32>, Fault> {
        let reader = self.counter.reader(view, user).await?;
        let mut counts = BTreeMap::new();
        for no in rooms {
            let counted = async {
                let room = RoomView::open(view, *no).await?;
                Ok(self.counter.count(&room, &reader).await?.total().notifications)
            };
            counts.insert(*no, self.base.unless_damaged(*no, counted.await)?.unwrap_or_default());
        }
        Ok(counts)
    }
}

impl Seen {
    /// Takes in what changed up to a position.
    async fn follow(&mut self, base: &Base, until: Position) -> Result<(), Fault> {
        while self.to < until {
            // What is visible now is among the changes that are read now.
            let now = base.view().position();
            match base.engine.changes(self.to, CHANGES).await? {
                Changes::Trimmed => *self = Self { from: now, to: now, last: HashMap::new() },
                Changes::Found(changes) => {
                    let end = changes.last().map_or(now, |change| change.position);
                    self.to = if changes.len() < CHANGES { end.max(now) } else { end };
                    for change in changes {
                        self.last.extend(change.topics.into_iter().map(|topic| (topic, change.position)));
                    }
                    if self.last.len() > TOPICS {
                        *self = Self { from: self.to, to: self.to, last: HashMap::new() };
                    }
                }
            }
        }
        Ok(())
    }
}
