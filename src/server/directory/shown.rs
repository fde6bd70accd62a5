//! What is kept in memory of the published rooms: what is searched of each, and their order.
//!
//! It lies behind a watch on the rooms: whoever asks looks anew at those that changed since the last time, and at no other.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
};

use depesche_rules::bounds::MAX_SEARCH_TERM_BYTES;
use depesche_store::{MAX_SCAN, Position, Watch};
use ruma::{
    directory::RoomTypeFilter,
    room::{JoinRuleSummary, RoomSummary},
};

use super::{Place, Query, Token};
use crate::{
    base::Base,
    keyspace::{EventNo, HEAD, META, PUBLISHED, RoomNo},
    records::rooms::Head,
    rooms::view::RoomView,
    topic,
    tx::{Fault, Pages, View},
};

/// Bytes that are searched of a room's name, aliases and topic together.
const MAX_SEARCHED_BYTES: usize = 2048;

/// What is kept in memory.
pub struct Shown {
    watch: Watch,
    /// The snapshot by which the rooms below are those that are published.
    listed_at: Option<Position>,
    /// The snapshot that shows the rooms as they are kept, but for those that are stale.
    read_at: Position,
    /// Rooms to look at. One goes when it is done: who asks may give up in between, and a read may fail.
    stale: BTreeSet<RoomNo>,
    entries: HashMap<RoomNo, Entry>,
    order: BTreeSet<Place>,
}

/// A published room.
pub struct Entry {
    /// What it was made from.
    pub(super) head: Head,
    /// The events that this is told by.
    pub(super) states: Vec<EventNo>,
    /// Where it stands; `None` if nobody could do anything with it, so that it is left out.
    pub(super) place: Option<Place>,
    pub(super) kind: RoomTypeFilter,
    /// What is searched, in lower case.
    pub(super) text: String,
}

impl Shown {
    /// Nothing is in memory yet.
    pub fn new(base: &Base) -> Self {
        let mut watch = base.topics().watch();
        watch.add(topic::directory());
        Self {
            watch,
            listed_at: None,
            read_at: Position::default(),
            stale: BTreeSet::new(),
            entries: HashMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// How many rooms take a place in the directory.
    pub fn taken(&self) -> usize {
        // Rooms that were left before leaving took them out of the directory take nobody's place.
        self.entries.values().filter(|entry| entry.head.joined > 0).count()
    }

    /// How many rooms are shown.
    pub fn total(&self) -> usize {
        self.order.len()
    }

    /// Brings what is kept up to the newest snapshot, and returns it.
    pub async fn refresh(&mut self, base: &Base) -> Result<View, Fault> {
        let mut view = base.view();
        if self.listed_at.is_none_or(|at| self.watch.last(topic::directory()).is_some_and(|last| last > at)) {
            let published = published(&view).await?;
            let known = self.entries.keys().chain(&self.stale);
            let gone: Vec<_> = known.filter(|room| !published.contains(room)).copied().collect();
            for room in gone {
                self.watch.remove(topic::room(room));
                self.stale.remove(&room);
                self.forget(room);
            }
            for room in published {
                if !self.entries.contains_key(&room) {
                    self.watch.add(topic::room(room));
                    self.stale.insert(room);
                }
            }
            self.listed_at = Some(view.position());
            // What happened in the new ones before they were watched is in a newer snapshot.
            view = base.view();
        }
        let changed = self.watch.changed_since(self.read_at).into_iter().filter_map(topic::room_of);
        self.stale.extend(changed.filter(|room| self.entries.contains_key(room)));
        let stale: Vec<_> = self.stale.iter().map(|room| (*room,)).collect();
        for ((room,), head) in stale.iter().zip(view.get_each(&HEAD, &stale).await?) {
            let looked = match head {
                Ok(Some(head)) => self.look_at(&view, *room, head).await,
                Ok(None) => Ok(()),
                Err(fault) => Err(fault),
            };
            if base.unless_damaged(*room, looked)?.is_none() {
                self.forget(*room);
            }
            self.stale.remove(room);
        }
        self.read_at = view.position();
        Ok(view)
    }

    /// Makes a room's entry anew, where it says something else now.
    async fn look_at(&mut self, view: &View, room: RoomNo, head: Head) -> Result<(), Fault> {
        let stands = match self.entries.get(&room) {
            Some(entry) => entry.is_of(&head) && !entry.has_lost_words(view, room).await?,
            None => false,
        };
        if !stands {
            let of = RoomView::open(view, room).await?;
            let entry = Entry::new(room, head, of.summary_events().await?, &of.summary().await?);
            self.put(room, entry);
        }
        Ok(())
    }

    pub(super) fn put(&mut self, room: RoomNo, entry: Entry) {
        self.forget(room);
        self.order.extend(entry.place);
        self.entries.insert(room, entry);
    }

    fn forget(&mut self, room: RoomNo) {
        if let Some(place) = self.entries.remove(&room).and_then(|entry| entry.place) {
            self.order.remove(&place);
        }
    }

    /// The places of a page, in order, and whether there are more in its direction.
    pub fn places(&self, since: Option<Token>, wanted: &Wanted<'_>, limit: usize) -> (Vec<Place>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let fits = |place: &&Place| self.entries.get(&place.1).is_some_and(|entry| wanted.takes(entry));
        let mut places: Vec<Place> = match since {
            Some(Token::Before(place)) => {
                let before = self.order.range((Unbounded, Excluded(place))).rev();
                before.filter(fits).take(limit + 1).copied().collect()
            }
            Some(Token::After(place)) => {
                let after = self.order.range((Excluded(place), Unbounded));
                after.filter(fits).take(limit + 1).copied().collect()
            }
            None => self.order.iter().filter(fits).take(limit + 1).copied().collect(),
        };
        let more = places.len() > limit;
        places.truncate(limit);
        if matches!(since, Some(Token::Before(_))) {
            places.reverse();
        }
        (places, more)
    }
}

/// All published rooms.
async fn published(view: &View) -> Result<HashSet<RoomNo>, Fault> {
    let mut pages = Pages::new(&PUBLISHED, PUBLISHED.under(&()), MAX_SCAN);
    let mut rooms = HashSet::new();
    while let Some(rows) = pages.next(view).await? {
        rooms.extend(rows.into_iter().map(|((room,), ())| room));
    }
    Ok(rooms)
}

impl Entry {
    fn new(room: RoomNo, head: Head, states: Vec<EventNo>, summary: &RoomSummary) -> Self {
        let closed = matches!(summary.join_rule, JoinRuleSummary::Invite | JoinRuleSummary::Private);
        let is_shown = head.joined > 0 && (!closed || summary.world_readable);
        let alias = summary.canonical_alias.as_ref().map(|alias| alias.as_str());
        let parts = [summary.name.as_deref(), alias, summary.topic.as_deref()];
        let mut text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n").to_lowercase();
        text.truncate(text.floor_char_boundary(MAX_SEARCHED_BYTES));
        Self {
            place: is_shown.then_some((Reverse(head.joined), room)),
            head,
            states,
            kind: RoomTypeFilter::from(summary.room_type.clone()),
            text,
        }
    }

    /// Whether a room's head says that the states are the same, and the members as many.
    fn is_of(&self, head: &Head) -> bool {
        self.head.root == head.root && self.head.joined == head.joined
    }

    /// Whether any of what it was made from has been redacted since, which its room's head does not tell.
    async fn has_lost_words(&self, view: &View, room: RoomNo) -> Result<bool, Fault> {
        let keys: Vec<_> = self.states.iter().map(|no| (room, *no)).collect();
        let metas = view.get_many(&META, &keys).await?;
        let is_new = |by: EventNo| by >= self.head.next_event;
        Ok(metas.into_iter().flatten().any(|meta| meta.facts.redacted_by.is_some_and(is_new)))
    }
}

/// What a room has to be like.
pub struct Wanted<'a> {
    term: String,
    types: &'a [RoomTypeFilter],
    /// The term is longer than what is searched.
    nothing: bool,
}

impl<'a> Wanted<'a> {
    /// What a question wants.
    pub fn new(query: &'a Query) -> Self {
        let term = query.term.as_deref().unwrap_or_default().trim();
        Self { term: term.to_lowercase(), types: &query.types, nothing: term.len() > MAX_SEARCH_TERM_BYTES }
    }

    fn takes(&self, entry: &Entry) -> bool {
        let is_of_type = self.types.is_empty() || self.types.contains(&entry.kind);
        !self.nothing && is_of_type && entry.text.contains(&self.term)
    }
}
