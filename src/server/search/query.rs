//! Answering a search: the rooms' lists merged, newest first; each event judged as its reader may see it; a page of them
//! shown.
//!
//! What one request looks at is bounded. Where that does not do for a page, the token goes on from there: a page may have
//! fewer results than were asked for, or none, and yet a next one.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, BinaryHeap, HashMap},
};

use depesche_rules::{
    bounds::{MAX_PAGE_BYTES, MAX_SEARCH_STATE_BYTES},
    filter,
    pdu::Pdu,
};
use depesche_store::MAX_SCAN;
use ruma::{OwnedUserId, RoomId};

use super::{
    Found, Group, Query, Token, WINDOW, index,
    lists::{Lists, Next},
    show, words,
};
use crate::{
    Base, Fault, account_data,
    keyspace::{EventNo, MEMBER, ROOM, ROOM_NO, RoomNo},
    records::{events::Place, rooms::Membership},
    rooms::{
        show::Viewer,
        view::{Event, RoomView},
    },
    tx::{Pages, View},
};

/// Words of a term that the index is asked for, the longest: they are the rarest. The others are looked for in the events.
const WORDS: usize = 8;
/// Rows of the index that one request reads in all; each room has its share of them.
const ROWS: usize = 10_000;
/// Rows that each room's list may read in any case, so that every request comes further.
const ROWS_OF_ONE: usize = 16;
/// Events that one request judges.
const JUDGED: usize = 1000;
/// Events judged before others have a turn: each may have to be read and taken apart.
const AT_ONCE: usize = 16;
/// Results that are counted beyond a page of the newest.
const COUNTED: usize = 100;

/// A search under way.
pub struct Search<'a> {
    base: &'a Base,
    query: &'a Query<'a>,
    view: View,
    /// The words of the term.
    words: Vec<String>,
    from: Token,
    /// Rooms with a match, in no order.
    rooms: Vec<(RoomView, Membership)>,
    /// Whom the user ignores.
    ignored: BTreeSet<OwnedUserId>,
    lists: Vec<Listed>,
}

/// A list of a room's events, which room, and where it begins.
type Listed = (Lists, usize, Next);

/// The next event of a list.
struct Head {
    place: Place,
    /// Which list.
    list: usize,
    /// The event; `None` where the list stopped.
    event: Option<Event>,
}

/// A result, before it is shown.
struct Match {
    rank: f64,
    place: Place,
    /// Which room.
    room: usize,
    no: EventNo,
    sender: OwnedUserId,
}

/// The results of a request, and where it stopped looking if that was before the end.
struct Window {
    matches: Vec<Match>,
    stopped: Option<Place>,
}

impl<'a> Search<'a> {
    /// Finds the rooms that have all words.
    pub async fn open(base: &'a Base, query: &'a Query<'a>, from: Option<Token>) -> Result<Self, Fault> {
        let view = base.view();
        let end = RoomView::place_after(view.position());
        let from = from.unwrap_or(Token { before: end, skip: 0, seen: 0, group: None });
        let mut distinct = BTreeSet::new();
        let mut words: Vec<String> = words::split(query.term).map(Into::into).collect();
        words.retain(|word| distinct.insert(word.clone()));
        let ignored = account_data::ignored_users(&view, query.user).await?;
        let mut search = Self { base, query, view, words, from, rooms: Vec::new(), ignored, lists: Vec::new() };
        if !search.words.is_empty() && query.limit > 0 {
            search.find_rooms().await?;
        }
        Ok(search)
    }

    async fn find_rooms(&mut self) -> Result<(), Fault> {
        let mut rarest = self.words.clone();
        rarest.sort_by_key(|word| std::cmp::Reverse(word.len()));
        rarest.truncate(WORDS);
        let rooms = self.own_rooms().await?;
        let share = (ROWS / (rooms.len() * self.query.parts.len()).max(1)).max(ROWS_OF_ONE);
        for (no, membership) in rooms {
            let mut room = None;
            for part in &self.query.parts {
                let (mut list, mut rows) = (Lists::new(no, *part, &rarest), share);
                // Most rooms have no such word at all: that costs one row and not the room.
                let mut next = list.next(&self.view, EventNo::MAX, &mut rows).await?;
                if next == Next::End {
                    continue;
                }
                if room.is_none() {
                    room = self.enter(no, &membership).await?;
                }
                let Some((_, newest)) = &room else { break };
                if let (Next::Event(first) | Next::Stopped(first), Some(newest)) = (next, *newest)
                    && first > newest
                {
                    next = list.next(&self.view, newest, &mut rows).await?;
                }
                if newest.is_some() && next != Next::End {
                    self.lists.push((list, self.rooms.len(), next));
                }
            }
            self.rooms.extend(room.map(|(room, _)| (room, membership)));
        }
        Ok(())
    }

    /// The rooms that the user is or was in, as far as the filter wants them.
    async fn own_rooms(&self) -> Result<Vec<(RoomNo, Membership)>, Fault> {
        let user = self.query.user;
        let mut found = Vec::new();
        if let Some(wanted) = &self.query.filter.rooms {
            let ids: Vec<_> = wanted.iter().collect::<BTreeSet<_>>().into_iter().map(|id| (id.clone(),)).collect();
            let numbers = self.view.get_many(&ROOM_NO, &ids).await?.into_iter().flatten();
            let keys: Vec<_> = numbers.map(|no| (user.to_owned(), no)).collect();
            let members = self.view.get_many(&MEMBER, &keys).await?;
            found.extend(keys.into_iter().zip(members).filter_map(|((_, no), member)| Some((no, member?))));
        } else {
            let mut pages = Pages::new(&MEMBER, MEMBER.under(&(user.to_owned(),)), MAX_SCAN);
            while let Some(rows) = pages.next(&self.view).await? {
                found.extend(rows.into_iter().map(|((_, no), member)| (no, member)));
            }
        }
        found.retain(|(_, member)| member.was_joined && !member.forgotten);
        Ok(found)
    }

    /// A room with a match, and the newest of its events that come into question; `None` if it is not searched at all.
    async fn enter(&self, no: RoomNo, membership: &Membership) -> Result<Option<(RoomView, Option<EventNo>)>, Fault> {
        let Some(stored) = self.view.get(&ROOM, &(no,)).await? else { return Ok(None) };
        if !filter::section(self.query.filter, &stored.room_id) || index::is_encrypted(&self.view, no).await? {
            return Ok(None);
        }
        let room = RoomView::open(&self.view, no).await?;
        let horizon = self.viewer(&room, membership).horizon().await?;
        let before = self.from.before.min(horizon);
        let newest = room.timeline_before(before, 1).await?.first().map(|(_, no)| *no);
        Ok(Some((room, newest)))
    }

    fn viewer<'r>(&self, room: &'r RoomView, membership: &Membership) -> Viewer<'r> {
        let (user, device) = (self.query.user.to_owned(), Some(self.query.device.to_owned()));
        Viewer::of(room, user, device, self.base.now(), Some(membership.clone())).ignoring(&self.ignored)
    }

    /// The page.
    pub async fn page(mut self) -> Result<Found, Fault> {
        let (rooms, lists) = (std::mem::take(&mut self.rooms), std::mem::take(&mut self.lists));
        let mut viewers: Vec<_> = rooms.iter().map(|(room, member)| self.viewer(room, member)).collect();
        let window = self.window(lists, &mut viewers).await?;
        let order = self.order(&window);
        let mut found =
            Found { count: self.from.seen + window.matches.len(), words: self.words.clone(), ..Found::default() };
        let mut through = self.from.skip.min(order.len());
        let (mut left, mut left_for_states) = (MAX_PAGE_BYTES, MAX_SEARCH_STATE_BYTES);
        // Once for each room, whether it has a state to show or not.
        let mut asked_for_state = BTreeSet::new();
        for (at, matched) in order.iter().enumerate().skip(self.from.skip) {
            let id = rooms[matched.room].0.room_id();
            let wants_state = self.query.state && !asked_for_state.contains(&matched.room);
            let is_wanted = self.wants(matched, id);
            if found.results.len() == self.query.limit
                || left == 0
                || (is_wanted && wants_state && left_for_states == 0)
            {
                break;
            }
            through = at + 1;
            if !is_wanted {
                continue;
            }
            let viewer = &mut viewers[matched.room];
            let hit = show::hit(viewer, matched.no, matched.rank, self.query.context).await?;
            left = left.saturating_sub(hit.bytes());
            found.results.push(hit);
            if wants_state {
                asked_for_state.insert(matched.room);
                if let Some(state) = show::state(viewer).await? {
                    left_for_states = left_for_states.saturating_sub(state.iter().map(|event| event.get().len()).sum());
                    found.state.insert(id.to_owned(), state);
                }
            }
        }
        found.next = self.next(&window, &order, through);
        Ok(found)
    }

    /// The newest results before the token's place.
    async fn window(&self, mut lists: Vec<Listed>, viewers: &mut [Viewer<'_>]) -> Result<Window, Fault> {
        let most = if self.query.by_rank { WINDOW } else { self.query.limit + COUNTED };
        let share = (ROWS / lists.len().max(1)).max(ROWS_OF_ONE);
        let mut rows = vec![share; lists.len()];
        let mut heads = BinaryHeap::new();
        for (at, (_, room, next)) in lists.iter().enumerate() {
            heads.extend(head(viewers[*room].room(), at, *next).await?);
        }
        let (mut matches, mut judged) = (Vec::new(), 0);
        while let Some(Head { place, list, event }) = heads.pop() {
            // One more than are wanted says that there is a next page.
            let enough = matches.len() > most || judged >= JUDGED;
            let Some(event) = event.filter(|_| !enough) else {
                return Ok(Window { matches, stopped: Some(place.next()) });
            };
            let (words, room, _) = &mut lists[list];
            judged += 1;
            if judged % AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            if let Some(rank) = self.judge(&mut viewers[*room], &event).await? {
                let sender = event.pdu.sender().clone();
                matches.push(Match { rank, place, room: *room, no: event.no, sender });
            }
            if let Some(before) = event.no.checked_sub(1) {
                let next = words.next(&self.view, before, &mut rows[list]).await?;
                heads.extend(head(viewers[*room].room(), list, next).await?);
            }
        }
        Ok(Window { matches, stopped: None })
    }

    /// How well an event fits; `None` if it is none that the viewer looks for and may see.
    async fn judge(&self, viewer: &mut Viewer<'_>, event: &Event) -> Result<Option<f64>, Fault> {
        if event.meta.facts.redacted_by.is_some() || !event.passes(self.query.filter) {
            return Ok(None);
        }
        let Some(rank) = self.rank(&event.pdu) else { return Ok(None) };
        Ok((viewer.may_see(event).await? && !viewer.is_erased(event).await?).then_some(rank))
    }

    /// The share of an event's words that are looked for, if all are there.
    fn rank(&self, event: &Pdu) -> Option<f64> {
        let (part, texts) = words::of_pdu(event)?;
        if !self.query.parts.contains(&part) {
            return None;
        }
        let words: Vec<_> = texts.words().collect();
        // Counted once: a term may have hundreds of words, and an event tens of thousands.
        let mut times = HashMap::<&str, usize>::new();
        for word in &words {
            *times.entry(word).or_default() += 1;
        }
        let hits: usize = self.words.iter().map(|word| times.get(word.as_str()).copied()).sum::<Option<_>>()?;
        // An event has less than 2^17 words.
        let of = |count: usize| u32::try_from(count).map_or(f64::MAX, f64::from);
        Some(of(hits) / of(words.len()))
    }

    /// What was found, best or newest first.
    fn order<'w>(&self, window: &'w Window) -> Vec<&'w Match> {
        let mut order: Vec<&Match> = window.matches.iter().collect();
        if self.query.by_rank {
            // Stable: of equal ones the newer comes first.
            order.sort_by(|one, other| other.rank.total_cmp(&one.rank));
        }
        order
    }

    /// Whether a result is of the group that the token goes on with.
    fn wants(&self, found: &Match, room: &RoomId) -> bool {
        match &self.from.group {
            None => true,
            Some(Group::Room(id)) => room == id,
            Some(Group::Sender(id)) => found.sender == *id,
        }
    }

    /// Where the page after one goes on that went through so many of what was found.
    fn next(&self, window: &Window, order: &[&Match], through: usize) -> Option<Token> {
        let group = self.from.group.clone();
        let next = if through < order.len() {
            if self.query.by_rank {
                Some(Token { skip: through, group, ..self.from.clone() })
            } else {
                let before = order[..through].last().map_or(self.from.before, |last| last.place);
                Some(Token { before, skip: 0, seen: self.from.seen + through, group })
            }
        } else {
            let seen = self.from.seen + order.len();
            window.stopped.map(|before| Token { before, skip: 0, seen, group })
        };
        next.filter(|_| self.query.limit > 0)
    }
}

/// Where a list goes on.
async fn head(room: &RoomView, list: usize, next: Next) -> Result<Option<Head>, Fault> {
    Ok(match next {
        Next::End => None,
        Next::Event(no) => {
            let event = room.event(no).await?;
            Some(Head { place: event.meta.place, list, event: Some(event) })
        }
        Next::Stopped(no) => {
            let place = room.metas(&[no]).await?.first().map(|meta| meta.place);
            place.map(|place| Head { place, list, event: None })
        }
    })
}

/// By place: the newest is the greatest.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.place, other.list).cmp(&(other.place, self.list))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}
