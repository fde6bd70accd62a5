//! The rules of those who have a pusher, kept from one event to the next.
//!
//! A message in a room of many readers costs none of their rules: what was read stands until the topic of its user is
//! announced. Most users have the default rules, which are made when they are needed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use depesche_rules::push;
use depesche_store::{Position, Watch};
use ruma::{OwnedUserId, UserId, push::Ruleset};

use crate::{
    Base, Fault,
    account_data::{self, BEAR_ON_ROOMS, GLOBAL},
    keyspace::ACCOUNT_DATA,
    topic,
};

/// Users whose rules are kept. Beyond, each one takes the place of another.
const USERS: usize = 10_000;
/// As many bytes of stored rules and lists.
const BYTES: usize = 16 << 20;

/// Whom and what a user does not want to hear.
#[derive(Default)]
pub struct Rules {
    /// `None` if they have the default rules.
    pub own: Option<Ruleset>,
    pub ignored: BTreeSet<OwnedUserId>,
}

/// What is known of rules.
pub struct Known {
    base: Arc<Base>,
    /// Of all whose rules are kept.
    watch: Watch,
    kept: HashMap<OwnedUserId, Kept>,
    /// The most users.
    most: usize,
    bytes: usize,
    default: Arc<Rules>,
}

/// A user's rules as a snapshot has them.
struct Kept {
    at: Position,
    /// Where the rules were last changed, and the list of those who are ignored.
    changed: [Option<Position>; 2],
    rules: Arc<Rules>,
    /// As they are stored.
    bytes: usize,
}

impl Known {
    pub fn new(base: Arc<Base>) -> Self {
        Self::of_at_most(base, USERS)
    }

    fn of_at_most(base: Arc<Base>, most: usize) -> Self {
        let watch = base.topics().watch();
        Self { base, watch, kept: HashMap::new(), most, bytes: 0, default: Arc::default() }
    }

    /// A user's rules of now.
    pub async fn of(&mut self, user: &UserId) -> Result<Arc<Rules>, Fault> {
        let topic = topic::user(user);
        if let Some(kept) = self.kept.get(user)
            && self.watch.last(topic).is_none_or(|last| last <= kept.at)
        {
            return Ok(Arc::clone(&kept.rules));
        }
        let before = self.forget(user);
        // Watched before the snapshot is taken: what that does not show will be heard of.
        self.watch.add(topic);
        let view = self.base.view();
        let keys = BEAR_ON_ROOMS.map(|kind| (user.to_owned(), GLOBAL, kind.to_owned()));
        let mut stored = view.get_many(&ACCOUNT_DATA, &keys).await?.into_iter();
        let (stored, list) = (stored.next().flatten(), stored.next().flatten());
        let changed = [&stored, &list].map(|row| row.as_ref().map(|row| row.position));
        let bytes = [&stored, &list].into_iter().flatten().map(|row| row.content.len()).sum();
        let rules = match before {
            // The topic speaks of memberships and keys as well.
            Some(before) if before.changed == changed => before.rules,
            _ if changed == [None, None] => Arc::clone(&self.default),
            _ => {
                let own = stored.map(|stored| push::effective(Some(stored.content.as_str()), user));
                Arc::new(Rules { own, ignored: account_data::users_of(list, user) })
            }
        };
        let kept = Kept { at: view.position(), changed, rules: Arc::clone(&rules), bytes };
        self.keep(user.to_owned(), kept);
        Ok(rules)
    }

    fn keep(&mut self, user: OwnedUserId, kept: Kept) {
        while self.kept.len() >= self.most || self.bytes > BYTES {
            // Whichever: where more take turns than there is room for, most stay.
            let Some(other) = self.kept.keys().next().cloned() else { break };
            self.forget(&other);
            self.watch.remove(topic::user(&other));
        }
        self.bytes += kept.bytes;
        self.kept.insert(user, kept);
    }

    fn forget(&mut self, user: &UserId) -> Option<Kept> {
        self.kept.remove(user).inspect(|kept| self.bytes -= kept.bytes)
    }
}

#[cfg(test)]
mod tests {
    use depesche_store::{Options, counting::Counting, memory::Memory};

    use super::*;
    use crate::testing::{Fixture, user};

    #[tokio::test]
    async fn where_there_is_room_for_fewer_most_stay() {
        let engine = Counting::new(Memory::new(Options::default()));
        let count = engine.count();
        let server = Fixture::on(Arc::new(engine));
        let mut known = Known::of_at_most(Arc::clone(&server.base), 8);
        let users: Vec<_> = (0..9).map(|n| user(&format!("user{n}"))).collect();
        server.ignore(&users[3], &[&users[4]]).await;
        let mut read = async || {
            count.reset();
            for user in &users {
                assert_eq!(known.of(user).await.unwrap().ignored.len(), usize::from(*user == users[3]));
            }
            (count.by_first_byte().get(&ACCOUNT_DATA.number).map_or(0, |rows| rows.gets), known.kept.len())
        };
        assert_eq!(read().await, (18, 8));
        let (rows, kept) = read().await;
        assert!(rows < 18 && kept == 8, "{rows}");
        let bytes: usize = known.kept.values().map(|kept| kept.bytes).sum();
        assert_eq!(known.bytes, bytes);
    }
}
