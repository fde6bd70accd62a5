//! How those are with whom a user shares rooms, and how the user is: their other devices show it.
//!
//! Spec: [presence](https://spec.matrix.org/v1.19/client-server-api/#presence).

use std::collections::BTreeSet;

use depesche_rules::filter;
use ruma::{
    OwnedUserId, UInt,
    events::presence::{PresenceEvent, PresenceEventContent},
    presence::PresenceState,
    serde::Raw,
};

use super::{Syncs, room::Asked, session::Session};
use crate::{
    keyspace::RoomNo,
    presence::Shown,
    profiles::{self, Profile},
    tx::{Fault, View},
};

impl Syncs {
    /// Of an answer to `/sync`: what changed, or who is there.
    pub(super) async fn presence_of(
        &self,
        asked: &Asked<'_>,
        view: &View,
        session: &Session,
    ) -> Result<Vec<Raw<PresenceEvent>>, Fault> {
        let wanted = &asked.request.filter.presence;
        // A limit has no meaning here but for none at all: who was left out would never be told again.
        if !self.presence.enabled() || wanted.limit == Some(UInt::MIN) {
            return Ok(Vec::new());
        }
        let rooms = match asked.since {
            Some(since) => session.rooms_passed(since),
            None => session.joined().map(|(room, _)| room).collect(),
        };
        let mut users = BTreeSet::new();
        for room in rooms {
            // Of a room that is new to the client, all.
            let is_new =
                session.rooms.get(room).is_some_and(|member| asked.since.is_some_and(|at| member.position > at.0));
            let since = asked.since.filter(|_| !is_new);
            self.presence.news(view, room, since, &mut users).await?;
        }
        users.retain(|user| !asked.own.ignored.contains(user) && filter::global(wanted, "m.presence", Some(user)));
        self.presence_events(view, users, asked.since.is_none()).await
    }

    /// Who is there in some rooms.
    pub(super) async fn who_is_there(
        &self,
        view: &View,
        rooms: &[RoomNo],
        ignored: &BTreeSet<OwnedUserId>,
    ) -> Result<Vec<Raw<PresenceEvent>>, Fault> {
        let mut users = BTreeSet::new();
        for room in rooms {
            self.presence.news(view, *room, None, &mut users).await?;
        }
        users.retain(|user| !ignored.contains(user));
        self.presence_events(view, users, true).await
    }

    /// How these are; in a `first` answer those who are there.
    async fn presence_events(
        &self,
        view: &View,
        users: BTreeSet<OwnedUserId>,
        first: bool,
    ) -> Result<Vec<Raw<PresenceEvent>>, Fault> {
        let mut events = Vec::new();
        for user in users {
            let shown = self.presence.shown(&user);
            if !first || shown.state != PresenceState::Offline {
                let profile = profiles::of(view, &user).await?;
                events.push(event(user, shown, &profile)?);
            }
        }
        Ok(events)
    }
}

fn event(sender: OwnedUserId, shown: Shown, profile: &Profile) -> Result<Raw<PresenceEvent>, Fault> {
    let Shown { state, currently_active, status, last_active_ago_ms } = shown;
    let mut content = PresenceEventContent::new(state.clone());
    content.currently_active = (state == PresenceState::Online).then_some(currently_active);
    content.status_msg = status;
    content.last_active_ago = last_active_ago_ms.map(UInt::new_wrapping);
    content.displayname = profile.displayname().map(str::to_owned);
    content.avatar_url = profile.avatar_url().map(ToOwned::to_owned);
    let event = PresenceEvent { content, sender };
    Raw::new(&event).map_err(|error| Fault::Bug(format!("our own presence is no JSON: {error}")))
}
