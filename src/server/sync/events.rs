//! The deprecated `GET /events`: the events of a user's rooms, or of one room that they may read, one after the other.
//!
//! What `/sync` says room by room is one list here, in the order of the commits, and nothing is left out of it: an answer
//! that would be too long ends earlier, between two commits, and the next one goes on from there. There is no session: each
//! question costs a look at each room that the user is in.
//!
//! Spec: [`GET /events`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3events), also
//! [for peeking](https://spec.matrix.org/v1.19/client-server-api/#peeking_get_matrixclientv3events).

use std::time::Duration;

use depesche_rules::bounds::EVENTS_PER_ANSWER;
use depesche_store::{Position, Watch};
use ruma::{OwnedDeviceId, OwnedRoomId, OwnedUserId, events::room::member::MembershipState, presence::PresenceState};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::{
    Syncs, room,
    session::{Session, is_join},
    stripped,
};
use crate::{
    base::Base,
    keyspace::RoomNo,
    records::{events::Place, rooms::Membership},
    rooms::{
        history::ReadRefusal,
        show::Viewer,
        shown::Format,
        tokens::SyncToken,
        view::{Event, RoomView},
    },
    topic,
    tx::{Fault, View},
};

/// What somebody listens to.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Who.
    pub user: OwnedUserId,
    /// On which device.
    pub device: OwnedDeviceId,
    /// From where on; from now on if not given.
    pub from: Option<String>,
    /// Only in this room, which they need not be in.
    pub room: Option<OwnedRoomId>,
    /// How long to wait if there is nothing.
    pub timeout: Duration,
}

/// What there was to hear.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Where it begins.
    pub start: String,
    /// Where the next answer begins.
    pub end: String,
    /// The events, oldest first.
    pub chunk: Vec<Box<RawValue>>,
}

/// What wakes a listener.
enum Ears {
    /// One room.
    Room(RoomNo, Watch),
    /// All that the user is in.
    All(Box<Session>),
}

/// The events of a room that are new, oldest first.
struct News {
    room: RoomView,
    events: Vec<Event>,
}

impl Syncs {
    /// What is new, at once or as soon as there is something. The future may be dropped at any time.
    pub async fn listen(&self, listening: &Listening) -> Result<Heard, ReadRefusal> {
        let from = match &listening.from {
            Some(token) => Some(self.token(token)?.position),
            None => None,
        };
        // Of a time that this database does not know there is nothing to tell.
        let mut known = from.filter(|from| !self.restored.lost(*from));
        let _polling = self.presence.poll(&listening.user, &listening.device, &PresenceState::Online);
        let mut until = Instant::now() + listening.timeout.min(self.base.config.limits.sync_timeout);
        let poll = self.polls.begin((listening.user.clone(), listening.device.clone()));
        let mut ears = self.ears(listening).await?;
        loop {
            let view = ears.refresh(&self.base).await?;
            let after = *known.get_or_insert(view.position());
            let (chunk, through) = self.heard(listening, &ears, &view, after).await?;
            let over = Instant::now() >= until || *self.base.stopping.borrow();
            // What was left out for its length, or hidden, is behind: the client goes on from there.
            if !chunk.is_empty() || through < view.position() || over {
                let start = listening.from.clone().unwrap_or_else(|| token(after));
                return Ok(Heard { start, end: token(through), chunk });
            }
            tokio::select! {
                () = ears.changed(view.position()) => {}
                () = sleep_until(until) => {}
                () = poll.ended() => until = Instant::now(),
                () = self.base.stopped() => {}
            }
        }
    }

    async fn ears(&self, listening: &Listening) -> Result<Ears, ReadRefusal> {
        let topics = self.base.topics();
        let Some(id) = &listening.room else {
            return Ok(Ears::All(Box::new(Session::new(topics, &listening.user, &listening.device))));
        };
        let room = RoomView::find(&self.base.view(), id).await?.ok_or(ReadRefusal::Forbidden)?;
        let mut watch = topics.watch();
        watch.add(topic::room(room.no));
        watch.add(topic::user(&listening.user));
        Ok(Ears::Room(room.no, watch))
    }

    /// The events above a position, and up to where these are all.
    async fn heard(
        &self,
        listening: &Listening,
        ears: &Ears,
        view: &View,
        after: Position,
    ) -> Result<(Vec<Box<RawValue>>, Position), ReadRefusal> {
        let (mut news, mut through) = (Vec::new(), view.position());
        for (no, member) in ears.rooms(after) {
            let room = RoomView::open(view, no).await?;
            let (events, all_through) = match member {
                None => self.viewer(listening, &room).await?.since(after, EVENTS_PER_ANSWER).await?,
                Some(member) => self.of_member(listening, &room, member, after).await?,
            };
            through = through.min(all_through);
            news.push(News { room, events });
        }
        let mut places: Vec<Place> = news.iter().flat_map(News::places).collect();
        places.sort_unstable();
        if let Some(last) = places.get(EVENTS_PER_ANSWER.saturating_sub(1)) {
            through = through.min(last.anchor);
        }
        let mut shown = Vec::new();
        for mut one in news {
            one.events.retain(|event| event.meta.place.anchor <= through);
            let mut viewer = self.viewer(listening, &one.room).await?;
            let texts = viewer.show(&one.events, Format::WithRoom).await?;
            shown.extend(one.places().zip(texts));
        }
        shown.sort_by_key(|(place, _)| *place);
        Ok((shown.into_iter().map(|(_, text)| text).collect(), through))
    }

    /// The events of a room that the user is in, is invited to or went from.
    async fn of_member(
        &self,
        listening: &Listening,
        room: &RoomView,
        member: &Membership,
        after: Position,
    ) -> Result<(Vec<Event>, Position), ReadRefusal> {
        let mut viewer = self.viewer(listening, room).await?;
        let all = room.view.position();
        if member.is_put_away() && !room::was_of(room, &listening.user, after).await? {
            return Ok((Vec::new(), all));
        }
        if member.state == MembershipState::Join {
            return viewer.since(after, EVENTS_PER_ANSWER).await;
        }
        let (mut events, through) = if member.was_joined && !member.forgotten {
            viewer.since(after, EVENTS_PER_ANSWER).await?
        } else {
            (Vec::new(), all)
        };
        // Their own membership is theirs to know, whatever else of the room is.
        let own = room.event(member.event).await?;
        let is_invite = member.state == MembershipState::Invite;
        let hidden = is_invite && stripped::is_hidden(room, &listening.user, &own, viewer.ignored().await?).await?;
        let place = own.meta.place;
        if !hidden && place.anchor > after && place.anchor <= through && events.iter().all(|event| event.no != own.no) {
            events.push(own);
        }
        Ok((events, through))
    }

    async fn viewer<'r>(&self, listening: &Listening, room: &'r RoomView) -> Result<Viewer<'r>, Fault> {
        Viewer::new(room, listening.user.clone(), Some(listening.device.clone()), self.base.now()).await
    }
}

impl Ears {
    /// The newest snapshot; what it does not show wakes.
    async fn refresh(&mut self, base: &Base) -> Result<View, Fault> {
        match self {
            Self::Room(..) => Ok(base.view()),
            Self::All(session) => session.refresh(base).await,
        }
    }

    /// The rooms in which something may be new, with what the user has to do with them; one that is only listened to
    /// comes without.
    fn rooms(&self, after: Position) -> Vec<(RoomNo, Option<&Membership>)> {
        match self {
            Self::Room(no, _) => vec![(*no, None)],
            Self::All(session) => {
                let joined = session.changed_rooms(after).into_iter();
                let others = session.rooms.changed_since(after).filter(|(_, own)| !is_join(own));
                let numbers = joined.chain(others.map(|(no, _)| no));
                numbers.map(|no| (no, session.rooms.get(no))).collect()
            }
        }
    }

    async fn changed(&self, since: Position) {
        match self {
            Self::Room(_, watch) => watch.wait(since).await,
            Self::All(session) => session.changed(since).await,
        }
    }
}

impl News {
    fn places(&self) -> impl Iterator<Item = Place> {
        self.events.iter().map(|event| event.meta.place)
    }
}

/// A token of `/sync`, which acknowledges no to-device message: nobody got one here.
pub(super) fn token(position: Position) -> String {
    SyncToken { position, to_device: Position::default() }.to_string()
}
