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

/// Users whose rules are kept. Beyond, all are forgotten.
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
    bytes: usize,
    default: Arc<Rules>,
}

/// A user's rules as a snapshot has them.
struct Kept {
    at: Position,
    /// Where the rules were last changed, and the list of those who are ignored.
    changed: [Option<Position>; 2],
    rules: Arc<Rules>,
}

impl Known {
    pub fn new(base: Arc<Base>) -> Self {
        let watch = base.topics().watch();
        Self { base, watch, kept: HashMap::new(), bytes: 0, default: Arc::default() }
    }

    /// A user's rules of now.
    pub async fn of(&mut self, user: &UserId) -> Result<Arc<Rules>, Fault> {
        let topic = topic::user(user);
        if let Some(kept) = self.kept.get(user)
            && self.watch.last(topic).is_none_or(|last| last <= kept.at)
        {
            return Ok(Arc::clone(&kept.rules));
        }
        if self.kept.len() >= USERS || self.bytes >= BYTES {
            *self = Self::new(Arc::clone(&self.base));
        }
        // Watched before the snapshot is taken: what that does not show will be heard of.
        self.watch.add(topic);
        let view = self.base.view();
        let keys = BEAR_ON_ROOMS.map(|kind| (user.to_owned(), GLOBAL, kind.to_owned()));
        let mut stored = view.get_many(&ACCOUNT_DATA, &keys).await?.into_iter();
        let (stored, list) = (stored.next().flatten(), stored.next().flatten());
        let changed = [&stored, &list].map(|row| row.as_ref().map(|row| row.position));
        let rules = match self.kept.remove(user) {
            // The topic speaks of memberships and keys as well.
            Some(kept) if kept.changed == changed => kept.rules,
            _ if changed == [None, None] => Arc::clone(&self.default),
            _ => {
                self.bytes += [&stored, &list].into_iter().flatten().map(|row| row.content.len()).sum::<usize>();
                let own = stored.map(|stored| push::effective(Some(stored.content.as_str()), user));
                Arc::new(Rules { own, ignored: account_data::users_of(list, user) })
            }
        };
        self.kept.insert(user.to_owned(), Kept { at: view.position(), changed, rules: Arc::clone(&rules) });
        Ok(rules)
    }
}
