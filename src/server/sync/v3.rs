//! One answer to `/sync` at one snapshot.

use std::collections::{BTreeSet, HashMap};

use depesche_rules::filter;
use depesche_store::Position;
use ruma::{
    RoomId,
    api::client::sync::sync_events::{DeviceLists as WireLists, v3},
    events::room::member::MembershipState,
};

use super::{
    Request, Syncs,
    room::{self, Asked},
    session::Session,
    stripped,
    timeline::Span,
};
use crate::{
    account_data::{Entry, GLOBAL, blocks_invites, ignored_users},
    keyspace::{HEAD, ROOM, RoomNo},
    records::rooms::Membership,
    rooms::{tokens::SyncToken, view::RoomView},
    tx::{Fault, View},
};

/// How many rooms are opened at a time.
const ROOMS: usize = 100;

/// An answer.
pub struct Answer {
    /// What the client gets.
    pub response: v3::Response,
    /// Whether it says nothing that is worth waking the client for.
    pub empty: bool,
}

/// Account data by room.
type RoomData = HashMap<RoomNo, Vec<Entry>>;

impl Syncs {
    /// What is new since a token at a snapshot; without a token, everything.
    pub(super) async fn answer(
        &self,
        request: &Request,
        since: Option<SyncToken>,
        view: &View,
        session: &mut Session,
    ) -> Result<Answer, Fault> {
        let position = since.map(|since| since.position);
        let mut asked = Asked::new(request, position, self.base.now(), self.base.config.limits.events_per_page);
        asked.ignored = ignored_users(view, &request.user).await?;
        session.sent.rewind(position.unwrap_or_default());
        let (global, mut data) = self.account_data_of(request, position, view).await?;
        let rooms = self.rooms(&asked, view, session, &mut data).await?;
        let (user, device) = (&request.user, &request.device);
        let acknowledged = since.unwrap_or_default().to_device;
        let waiting = self.to_device.read(view, user, device, acknowledged, usize::MAX).await?;
        let counts = self.keys.counts(view, user, device).await?;
        let lists = match position {
            Some(since) => self.device_lists(view, user, since, &session.rooms, &session.changed_rooms(since)).await?,
            None => super::DeviceLists::default(),
        };
        let next = SyncToken { position: view.position(), to_device: waiting.last };
        let empty = rooms.is_empty()
            && global.is_empty()
            && waiting.events.is_empty()
            && lists.is_empty()
            && !position.is_some_and(|since| session.device_changed(since, view.position()));
        let response = v3::Response {
            rooms,
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

    /// Account data that is new: global, filtered, and by room.
    async fn account_data_of(
        &self,
        request: &Request,
        since: Option<Position>,
        view: &View,
    ) -> Result<(Vec<Entry>, RoomData), Fault> {
        let entries = match since {
            Some(since) => self.account_data.changed_since(view, &request.user, since).await?,
            None => self.account_data.all(view, &request.user).await?,
        };
        let (mut global, mut rooms) = (Vec::new(), RoomData::new());
        for entry in entries {
            if entry.room != GLOBAL {
                rooms.entry(entry.room).or_default().push(entry);
            } else if filter::global(&request.filter.account_data, &entry.kind, None) {
                global.push(entry);
            }
        }
        Ok((global, rooms))
    }

    async fn rooms(
        &self,
        asked: &Asked<'_>,
        view: &View,
        session: &mut Session,
        data: &mut RoomData,
    ) -> Result<v3::Rooms, Fault> {
        let mut rooms = v3::Rooms::default();
        let wanted = asked.wanted(view, session, data).await?;
        for chunk in wanted.chunks(ROOMS) {
            let opened = open(view, chunk).await?;
            for room in opened {
                let Some(member) = session.rooms.get(&room.no).cloned() else { continue };
                if !filter::room(&asked.request.filter.room, room.room_id()) {
                    continue;
                }
                self.add(&mut rooms, asked, &room, &member, data.remove(&room.no), session).await?;
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
        data: Option<Vec<Entry>>,
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
                if let Some(joined) = room::joined(asked, room, known, data, &mut session.sent).await? {
                    rooms.join.insert(id, joined);
                }
            }
            MembershipState::Invite if asked.hides_invite(room, member).await? => {}
            MembershipState::Invite => {
                let events = stripped::state(room, member).await?;
                rooms.invite.insert(id, v3::InvitedRoom { invite_state: v3::InviteState { events } });
            }
            MembershipState::Knock => {
                let events = stripped::state(room, member).await?;
                rooms.knock.insert(id, v3::KnockedRoom { knock_state: v3::KnockState { events } });
            }
            _ => {
                let data = room_data(asked.request, &id, &data.unwrap_or_default());
                rooms.leave.insert(id, room::left(asked, room, member, data).await?);
            }
        }
        Ok(())
    }
}

impl Asked<'_> {
    /// Whether the user is not to see an invite: its sender is ignored, or the user takes none.
    async fn hides_invite(&self, room: &RoomView, member: &Membership) -> Result<bool, Fault> {
        let invite = room.event(member.event).await?;
        Ok(self.ignored.contains(invite.pdu.sender()) || blocks_invites(&room.view, &self.request.user).await?)
    }

    /// The rooms to look at.
    async fn wanted(&self, view: &View, session: &Session, data: &RoomData) -> Result<Vec<RoomNo>, Fault> {
        let Some(since) = self.since else { return Ok(self.wanted_first(session)) };
        let is_new = |member: &Membership| member.position > since.0;
        let mut wanted: BTreeSet<RoomNo> = session
            .rooms
            .iter()
            .filter(|(_, member)| member.state != MembershipState::Join && is_new(member))
            .map(|(room, _)| *room)
            .collect();
        for (room, member) in session.joined() {
            if self.request.full_state || is_new(member) || data.contains_key(&room) {
                wanted.insert(room);
            }
        }
        let span = Span { after: Some(since), before: RoomView::place_after(view.position()), always: None };
        for room in session.changed_rooms(since) {
            // Woken for a reason of another kind, or not watched long enough to tell.
            if !wanted.contains(&room) && !span.is_empty(view, room).await? {
                wanted.insert(room);
            }
        }
        Ok(wanted.into_iter().collect())
    }

    /// All rooms, but those that were left only on demand.
    fn wanted_first(&self, session: &Session) -> Vec<RoomNo> {
        let archived = self.request.filter.room.include_leave;
        let wanted = session.rooms.iter().filter(|(_, member)| match member.state {
            MembershipState::Join | MembershipState::Invite | MembershipState::Knock => true,
            _ => archived && member.was_joined && !member.forgotten,
        });
        wanted.map(|(room, _)| *room).collect()
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

/// Opens several rooms, which must exist, with two reads.
async fn open(view: &View, numbers: &[RoomNo]) -> Result<Vec<RoomView>, Fault> {
    let keys: Vec<_> = numbers.iter().map(|no| (*no,)).collect();
    let rooms = view.get_many(&ROOM, &keys).await?;
    let heads = view.get_many(&HEAD, &keys).await?;
    let rows = numbers.iter().zip(rooms).zip(heads);
    rows.map(|((no, room), head)| RoomView::of(view, *no, room, head)).collect()
}
