//! One answer to `/sync` at one snapshot.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use depesche_rules::filter;
use depesche_store::Position;
use ruma::{
    RoomId,
    api::client::sync::sync_events::{DeviceLists as WireLists, v3},
    events::room::member::MembershipState,
};

use super::{
    Request, Syncs,
    passing::Passing,
    room::{self, Asked},
    session::{Own, Session},
    stripped,
    timeline::Span,
};
use crate::{
    account_data::{BEAR_ON_ROOMS, Entry, GLOBAL, ignored_users},
    keys::KeyCounts,
    keyspace::{HEAD, ROOM, RoomNo},
    records::rooms::Membership,
    rooms::{tokens::SyncToken, unread, view::RoomView},
    to_device::Page,
    tx::{Fault, View},
};

/// How many rooms are opened at a time.
pub(super) const ROOMS: usize = 100;

/// An answer.
pub struct Answer {
    /// What the client gets.
    pub response: v3::Response,
    /// Whether it says nothing that is worth waking the client for.
    pub empty: bool,
}

/// Account data by room.
type RoomData = HashMap<RoomNo, Vec<Entry>>;

/// Account data that is new.
#[derive(Default)]
struct News {
    /// Global, as far as the filter wants it.
    global: Vec<Entry>,
    /// By room.
    data: RoomData,
    /// Whether what was said before counts otherwise now.
    counts_otherwise: bool,
}

impl Syncs {
    /// What is new since a token at a snapshot; without a token, everything.
    pub(super) async fn answer(
        &self,
        request: &Request,
        since: Option<SyncToken>,
        view: &View,
        session: &mut Session,
    ) -> Result<Answer, Fault> {
        let anew = since.is_some_and(|since| self.restored.lost(since.position));
        let known = since.map(|since| since.position);
        let position = known.filter(|_| !anew);
        let own = self.own(view, session).await?;
        let most = self.base.config.limits.events_per_page;
        let mut asked = Asked::new(request, position, self.base.now(), most, (&self.unread, &own));
        asked.anew = anew;
        session.sent.rewind(position.unwrap_or_default());
        let News { global, mut data, counts_otherwise } =
            self.account_data_of(request, position, view, session).await?;
        let mut passing = self.passing(&asked, view, session).await?;
        if counts_otherwise {
            let joined: Vec<_> = session.joined().map(|(room, member)| (room, member.event)).collect();
            for room in unread::unread_of(view, &request.user, &joined).await? {
                passing.entry(room).or_default().recount = true;
            }
        }
        let rooms = self.rooms(&asked, view, session, &mut data, passing).await?;
        let presence = self.presence_of(&asked, view, session).await?;
        let acknowledged = since.unwrap_or_default().to_device;
        let (waiting, counts) = self.waiting(request, view, session, acknowledged).await?;
        let lists = match known {
            Some(since) => self.device_lists_of(view, session, since, &asked.unchanged()).await?,
            None => super::DeviceLists::default(),
        };
        let next = SyncToken { position: view.position(), to_device: waiting.last };
        let empty = rooms.is_empty()
            && global.is_empty()
            && presence.is_empty()
            && waiting.events.is_empty()
            && lists.is_empty()
            && !position.is_some_and(|since| session.device_changed(since, view.position()));
        let response = v3::Response {
            rooms,
            presence: v3::Presence { events: presence },
            account_data: v3::GlobalAccountData { events: global.iter().map(Entry::event).collect() },
            to_device: v3::ToDevice { events: waiting.events },
            device_lists: WireLists {
                changed: lists.changed.into_iter().collect(),
                left: lists.left.into_iter().collect(),
            },
            device_one_time_keys_count: counts.one_time,
            device_unused_fallback_key_types: Some(counts.unused_fallback),
            ..v3::Response::new(next.to_string())
        };
        Ok(Answer { response, empty: empty && position.is_some() && !request.full_state })
    }

    /// What the user's account data mean for every room.
    async fn own(&self, view: &View, session: &mut Session) -> Result<Arc<Own>, Fault> {
        if let Some(own) = &session.own {
            return Ok(Arc::clone(own));
        }
        let reader = self.unread.reader(view, session.user()).await?;
        let own = Arc::new(Own { reader, ignored: ignored_users(view, session.user()).await? });
        session.own = Some(Arc::clone(&own));
        Ok(own)
    }

    /// The to-device messages that wait above one of them, and the device's key counts.
    async fn waiting(
        &self,
        request: &Request,
        view: &View,
        session: &mut Session,
        above: Position,
    ) -> Result<(Page, KeyCounts), Fault> {
        if let Some(counts) = session.rests(above) {
            return Ok((Page { events: Vec::new(), last: above, more: false }, counts.clone()));
        }
        let (user, device) = (&request.user, &request.device);
        let page = self.to_device.read(view, user, device, above, usize::MAX).await?;
        let counts = self.keys.counts(view, user, device).await?;
        if !page.more {
            session.rest(view.position(), page.last, &counts);
        }
        Ok((page, counts))
    }

    /// Account data that is new.
    async fn account_data_of(
        &self,
        request: &Request,
        since: Option<Position>,
        view: &View,
        session: &Session,
    ) -> Result<News, Fault> {
        let entries = match since {
            Some(since) if !session.data_changed(since) => Vec::new(),
            Some(since) => self.account_data.changed_since(view, &request.user, since).await?,
            None => self.account_data.all(view, &request.user).await?,
        };
        let mut news = News::default();
        for entry in entries {
            if entry.room != GLOBAL {
                news.data.entry(entry.room).or_default().push(entry);
                continue;
            }
            news.counts_otherwise |= since.is_some() && BEAR_ON_ROOMS.contains(&entry.kind.as_str());
            if filter::global(&request.filter.account_data, &entry.kind, None) {
                news.global.push(entry);
            }
        }
        Ok(news)
    }

    async fn rooms(
        &self,
        asked: &Asked<'_>,
        view: &View,
        session: &mut Session,
        data: &mut RoomData,
        mut passing: HashMap<RoomNo, Passing>,
    ) -> Result<v3::Rooms, Fault> {
        let mut rooms = v3::Rooms::default();
        let wanted = asked.wanted(view, session, data, &passing).await?;
        for chunk in wanted.chunks(ROOMS) {
            let opened = open(view, chunk).await?;
            for (no, room) in chunk.iter().zip(opened) {
                let Some(room) = self.base.unless_damaged(*no, room)? else { continue };
                let Some(member) = session.rooms.get(room.no).cloned() else { continue };
                if !filter::room(&asked.request.filter.room, room.room_id()) {
                    continue;
                }
                let news = (data.remove(&room.no), passing.remove(&room.no));
                let added = self.add(&mut rooms, asked, &room, &member, news, session).await;
                self.base.unless_damaged(room.no, added)?;
                // A first sync of many rooms is long work with everything in memory: others want a turn.
                tokio::task::yield_now().await;
            }
        }
        Ok(rooms)
    }

    /// Adds a room to its section.
    async fn add(
        &self,
        rooms: &mut v3::Rooms,
        asked: &Asked<'_>,
        room: &RoomView,
        member: &Membership,
        (data, passing): (Option<Vec<Entry>>, Option<Passing>),
        session: &mut Session,
    ) -> Result<(), Fault> {
        let id = room.room_id().to_owned();
        match member.state {
            MembershipState::Join => {
                let known = asked.known(room, member).await?;
                let data = match (known, asked.since) {
                    (None, Some(_)) => self.account_data.of_room(&room.view, &asked.request.user, room.no).await?,
                    _ => data.unwrap_or_default(),
                };
                let data = room_data(asked.request, &id, &data);
                let passing = if known.is_some() {
                    passing.unwrap_or_default()
                } else {
                    let whose = (asked.request, &asked.own.ignored);
                    Passing::of(&room.view, room.no, &id, whose, None, Vec::new()).await?
                };
                if let Some(joined) =
                    room::joined(asked, (room, member), known, data, passing, &mut session.sent).await?
                {
                    rooms.join.insert(id, joined);
                }
            }
            MembershipState::Invite if asked.hides_invite(room, member).await? => {
                if let Some(gone) = asked.gone_before(room, member).await? {
                    let data = room_data(asked.request, &id, &data.unwrap_or_default());
                    rooms.leave.insert(id, room::left(asked, room, &gone, data).await?);
                }
            }
            MembershipState::Invite => {
                let events = stripped::state(room, member).await?;
                rooms.invite.insert(id, v3::InvitedRoom { invite_state: v3::InviteState { events } });
            }
            MembershipState::Knock => {
                let events = stripped::state(room, member).await?;
                rooms.knock.insert(id, v3::KnockedRoom { knock_state: v3::KnockState { events } });
            }
            _ if member.is_put_away() && !asked.was_told_of(room).await? => {}
            _ => {
                let data = room_data(asked.request, &id, &data.unwrap_or_default());
                rooms.leave.insert(id, room::left(asked, room, member, data).await?);
            }
        }
        Ok(())
    }
}

impl Asked<'_> {
    /// Whether the user is not to see an invite.
    async fn hides_invite(&self, room: &RoomView, member: &Membership) -> Result<bool, Fault> {
        let invite = room.event(member.event).await?;
        stripped::is_hidden(room, &self.request.user, &invite, &self.own.ignored).await
    }

    /// If the user was in the room at the token: how they stood to it once they had gone, before they were asked in again.
    async fn gone_before(&self, room: &RoomView, invited: &Membership) -> Result<Option<Membership>, Fault> {
        if self.known(room, invited).await?.is_none() {
            return Ok(None);
        }
        let Some(stay) = room.last_stay(&self.request.user, invited.event).await? else { return Ok(None) };
        let departure = room.event(stay.departure).await?.pdu;
        let state = departure.membership().unwrap_or(MembershipState::Leave);
        Ok(Some(Membership { event: stay.departure, state, ..invited.clone() }))
    }

    /// Whether the room was one of the user's at the token: then the device has to learn that it is no more, even if it
    /// was forgotten meanwhile.
    async fn was_told_of(&self, room: &RoomView) -> Result<bool, Fault> {
        match self.since {
            Some(since) => room::was_of(room, &self.request.user, since).await,
            None => Ok(false),
        }
    }

    /// The rooms to look at.
    async fn wanted(
        &self,
        view: &View,
        session: &Session,
        data: &RoomData,
        passing: &HashMap<RoomNo, Passing>,
    ) -> Result<Vec<RoomNo>, Fault> {
        let Some(since) = self.since else { return Ok(self.wanted_first(session)) };
        let mut wanted: BTreeSet<RoomNo> = session.rooms.changed_since(since).map(|(room, _)| room).collect();
        wanted.extend(data.keys().chain(passing.keys()).filter(|room| session.rooms.is_joined(**room)));
        if self.request.full_state {
            wanted.extend(session.joined().map(|(room, _)| room));
        }
        let span = Span { after: Some(since), before: RoomView::place_after(view.position()), always: None };
        for room in session.changed_rooms(since) {
            // What was not watched long enough may have nothing new.
            if wanted.contains(&room) || (!session.knows(room, since) && nothing_in(&span, view, room).await?) {
                continue;
            }
            wanted.insert(room);
        }
        Ok(wanted.into_iter().collect())
    }

    /// All rooms, but those that were left only on demand.
    fn wanted_first(&self, session: &Session) -> Vec<RoomNo> {
        // Who is told everything anew may believe to be in rooms that were left.
        let archived = self.request.filter.room.include_leave || self.anew;
        let wanted = session.rooms.all().filter(|(_, member)| match member.state {
            MembershipState::Join | MembershipState::Invite | MembershipState::Knock => true,
            _ => archived && member.was_joined && !member.forgotten,
        });
        wanted.map(|(room, _)| room).collect()
    }
}

/// Whether nothing happened in a room. Of one that is damaged, whoever opens it finds out.
async fn nothing_in(span: &Span, view: &View, room: RoomNo) -> Result<bool, Fault> {
    match span.is_empty(view, room).await {
        Err(fault) if fault.is_damage() => Ok(false),
        known => known,
    }
}

/// Account data of a room, filtered.
fn room_data(request: &Request, room: &RoomId, entries: &[Entry]) -> v3::RoomAccountData {
    let wanted = &request.filter.room.account_data;
    let passes = |entry: &&Entry| {
        let has_url =
            || serde_json::from_str::<serde_json::Value>(entry.content.get()).is_ok_and(|c| c.get("url").is_some());
        filter::parts(wanted, room, &entry.kind, None, has_url)
    };
    v3::RoomAccountData { events: entries.iter().filter(passes).map(Entry::event).collect() }
}

/// Opens several rooms, which must exist, with two reads. One that cannot be read fails alone.
async fn open(view: &View, numbers: &[RoomNo]) -> Result<Vec<Result<RoomView, Fault>>, Fault> {
    let keys: Vec<_> = numbers.iter().map(|no| (*no,)).collect();
    let rooms = view.get_each(&ROOM, &keys).await?;
    let heads = view.get_each(&HEAD, &keys).await?;
    let rows = numbers.iter().zip(rooms).zip(heads);
    Ok(rows.map(|((no, room), head)| RoomView::of(view, *no, room?, head?)).collect())
}
