//! The published room directory: which rooms are in it, in which order, and who may put them there.
//!
//! Rooms with most members come first, and among those with as many the older ones. What is searched of each room is
//! kept in memory, behind a watch on the rooms: a request looks anew at those that changed since the last one, and no
//! other. A token names a place in the order, so that a page follows the last one even if rooms have come or gone.
//!
//! Spec: [published room directory](https://spec.matrix.org/v1.19/client-server-api/#published-room-directory).

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use depesche_rules::bounds::{DEFAULT_DIRECTORY_LIMIT, MAX_PAGE, MAX_PUBLISHED_ROOMS, MAX_SEARCH_TERM_BYTES};
use depesche_store::{MAX_SCAN, Position, Watch};
use ruma::{
    RoomId, UserId,
    directory::{PublicRoomsChunk, RoomTypeFilter},
    events::room::member::MembershipState,
    room::{JoinRuleSummary, RoomSummary},
};
use tokio::sync::Mutex;

use crate::{
    base::Base,
    keyspace::{EventNo, HEAD, MEMBER, META, PUBLISHED, RoomNo},
    records::rooms::Head,
    rooms::{Rooms, view::RoomView},
    topic,
    tx::{Fault, Pages, View},
};

/// Bytes that are searched of a room's name, aliases and topic together.
const MAX_SEARCHED_BYTES: usize = 2048;

/// Why the directory is not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such room.
    #[error("there is no such room")]
    NotFound,
    /// The user may not publish the room.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The token is not one of ours.
    #[error("this is not a token of the room directory")]
    BadToken,
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A question for a page of the directory.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The most rooms.
    pub limit: Option<u32>,
    /// The token of an earlier page.
    pub since: Option<String>,
    /// Only rooms in whose name, topic or alias these words stand, in this order.
    pub term: Option<String>,
    /// Only rooms of these types; of any if empty.
    pub types: Vec<RoomTypeFilter>,
}

/// A page of the directory.
#[derive(Debug, Default)]
pub struct Page {
    /// The rooms, in the order of the directory.
    pub rooms: Vec<PublicRoomsChunk>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// Where the page before ends.
    pub previous: Option<String>,
    /// How many rooms there are, whatever the question.
    pub total: usize,
}

/// Where a room stands: by members, then by age.
type Place = (Reverse<u32>, RoomNo);

/// Where a page begins or ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    After(Place),
    Before(Place),
}

/// The directory of this server.
pub struct Directory {
    rooms: Arc<Rooms>,
    shown: Mutex<Shown>,
}

/// What is kept in memory.
struct Shown {
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
struct Entry {
    /// What it was made from.
    head: Head,
    /// The events that this is told by.
    states: Vec<EventNo>,
    /// Where it stands; `None` if nobody could do anything with it, so that it is left out.
    place: Option<Place>,
    kind: RoomTypeFilter,
    /// What is searched, in lower case.
    text: String,
}

impl Directory {
    /// Nothing is in memory yet.
    pub fn new(rooms: Arc<Rooms>) -> Self {
        let mut watch = rooms.base.topics().watch();
        watch.add(topic::directory());
        let shown = Shown {
            watch,
            listed_at: None,
            read_at: Position::default(),
            stale: BTreeSet::new(),
            entries: HashMap::new(),
            order: BTreeSet::new(),
        };
        Self { rooms, shown: Mutex::new(shown) }
    }

    fn base(&self) -> &Arc<Base> {
        &self.rooms.base
    }

    /// Whether a room is published.
    pub async fn has(&self, room: &RoomId) -> Result<bool, DirectoryError> {
        let room = self.rooms.find(room).await?.ok_or(DirectoryError::NotFound)?;
        Ok(room.view.get(&PUBLISHED, &(room.no,)).await?.is_some())
    }

    /// Publishes a room, or takes it out: who may set its main alias may.
    pub async fn set(&self, user: &UserId, room: &RoomId, published: bool) -> Result<(), DirectoryError> {
        let room = self.rooms.find(room).await?.ok_or(DirectoryError::NotFound)?;
        if !self.rooms.may_name(user, Some(&room)).await? {
            return Err(DirectoryError::Forbidden("publishing this room takes the right to set its main alias"));
        }
        if published {
            self.must_have_space().await?;
        }
        self.put(user, room.no, published).await
    }

    /// Publishes a room, or takes it out, for a user who might when it was asked.
    pub(crate) async fn put(&self, user: &UserId, room: RoomNo, published: bool) -> Result<(), DirectoryError> {
        let (key, member) = (&(room,), &(user.to_owned(), room));
        self.base()
            .transact(|tx| async move {
                if tx.read(&PUBLISHED, key).await?.is_some() != published {
                    // Nobody could take out a room that its last member has left since. This row is written by who leaves:
                    // in a batch before this one it says so, in one behind it that one finds the room published.
                    let member = if published { tx.read(&MEMBER, member).await? } else { None };
                    if published && member.is_none_or(|member| member.state != MembershipState::Join) {
                        return Err(DirectoryError::Forbidden("publishing a room is for those who are joined to it"));
                    }
                    if published {
                        tx.put(&PUBLISHED, key, &());
                    } else {
                        tx.delete(&PUBLISHED, key);
                    }
                    tx.topic(topic::directory());
                }
                Ok(())
            })
            .await
    }

    /// Refuses what would make the directory larger than is kept in memory.
    pub async fn must_have_space(&self) -> Result<(), DirectoryError> {
        let mut shown = self.shown.lock().await;
        shown.refresh(self.base()).await?;
        // Rooms that were left before leaving took them out of the directory take nobody's place.
        let taken = shown.entries.values().filter(|entry| entry.head.joined > 0).count();
        if taken < MAX_PUBLISHED_ROOMS {
            return Ok(());
        }
        Err(DirectoryError::Forbidden("the room directory is full"))
    }

    /// A page of the directory.
    pub async fn page(&self, query: &Query) -> Result<Page, DirectoryError> {
        let since = query.since.as_deref().map(Token::read).transpose()?;
        let limit = query.limit.unwrap_or(DEFAULT_DIRECTORY_LIMIT).clamp(1, MAX_PAGE);
        let wanted = Wanted::new(query);
        let (view, places, more, total) = {
            let mut shown = self.shown.lock().await;
            let view = shown.refresh(self.base()).await?;
            let (places, more) = shown.places(since, &wanted, usize::try_from(limit).unwrap_or(usize::MAX));
            (view, places, more, shown.order.len())
        };
        let forwards = !matches!(since, Some(Token::Before(_)));
        // Who comes from behind a page knows that there is more behind, and the other way round.
        let (has_before, has_after) = if forwards { (since.is_some(), more) } else { (more, true) };
        let mut page = Page {
            rooms: Vec::with_capacity(places.len()),
            next: places.last().filter(|_| has_after).map(|place| Token::After(*place).write()),
            previous: places.first().filter(|_| has_before).map(|place| Token::Before(*place).write()),
            total,
        };
        for (_, room) in places {
            let summary = async { RoomView::open(&view, room).await?.summary().await };
            page.rooms.extend(self.base().unless_damaged(room, summary.await)?.map(PublicRoomsChunk::from));
        }
        Ok(page)
    }
}

impl Shown {
    /// Brings what is kept up to the newest snapshot, and returns it.
    async fn refresh(&mut self, base: &Base) -> Result<View, Fault> {
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

    fn put(&mut self, room: RoomNo, entry: Entry) {
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
    fn places(&self, since: Option<Token>, wanted: &Wanted<'_>, limit: usize) -> (Vec<Place>, bool) {
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
struct Wanted<'a> {
    term: String,
    types: &'a [RoomTypeFilter],
    /// The term is longer than what is searched.
    nothing: bool,
}

impl<'a> Wanted<'a> {
    fn new(query: &'a Query) -> Self {
        let term = query.term.as_deref().unwrap_or_default().trim();
        Self { term: term.to_lowercase(), types: &query.types, nothing: term.len() > MAX_SEARCH_TERM_BYTES }
    }

    fn takes(&self, entry: &Entry) -> bool {
        let is_of_type = self.types.is_empty() || self.types.contains(&entry.kind);
        !self.nothing && is_of_type && entry.text.contains(&self.term)
    }
}

impl Token {
    fn write(self) -> String {
        let (sign, (Reverse(members), room)) = match self {
            Self::After(place) => ('n', place),
            Self::Before(place) => ('p', place),
        };
        format!("{sign}{members}_{room}")
    }

    fn read(text: &str) -> Result<Self, DirectoryError> {
        let place = |rest: &str| {
            let (members, room) = rest.split_once('_')?;
            Some((Reverse(members.parse().ok()?), room.parse().ok()?))
        };
        let after = text.strip_prefix('n').and_then(place).map(Self::After);
        after.or_else(|| text.strip_prefix('p').and_then(place).map(Self::Before)).ok_or(DirectoryError::BadToken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fixture, user};

    #[tokio::test]
    async fn so_many_rooms_are_published_and_no_more() {
        let server = Fixture::new();
        let directory = Directory::new(Arc::clone(&server.rooms));
        let alice = &user("alice");
        // The second time the first room is one of them.
        for has_space in [true, false] {
            let room = server.public_room(alice).await;
            // In memory they are as good as on the disk: nothing says that the list is another one.
            let mut shown = directory.shown.lock().await;
            shown.refresh(&server.base).await.unwrap();
            let head = Head::clone(&server.rooms.find(&room).await.unwrap().unwrap().head);
            for room in (1_000_000..).take(MAX_PUBLISHED_ROOMS - 1) {
                let (place, kind) = (None, RoomTypeFilter::from(None::<String>));
                shown.put(room, Entry { head: head.clone(), states: Vec::new(), place, kind, text: String::new() });
            }
            drop(shown);
            let published = directory.set(alice, &room, true).await;
            let refused = matches!(published, Err(DirectoryError::Forbidden(_)));
            assert!(if has_space { published.is_ok() } else { refused }, "{published:?}");
        }
    }
}
