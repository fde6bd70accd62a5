//! Which events one user on one device sees: history visibility, whom they ignore, redaction. How they look is
//! [`super::shown`]'s.
//!
//! Reads only. Where many events share the state before them, that state is asked once.

use std::collections::BTreeSet;

use depesche_rules::{
    bounds::MAX_THREAD_EVENTS_LOOKED_AT,
    filter,
    pdu::Pdu,
    redaction,
    visibility::{self, Sight},
};
use foldhash::{HashMap, HashMapExt as _};
use ruma::{
    MilliSecondsSinceUnixEpoch, OwnedDeviceId, OwnedUserId, UserId,
    api::client::filter::RoomEventFilter,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
};

use super::view::{Event, RoomView};
use crate::{
    account_data,
    keyspace::EventNo,
    records::{
        events::{Place, Status},
        rooms::{Membership, RootRecord},
    },
    tx::Fault,
};

/// Who looks at a room's events.
pub struct Viewer<'a> {
    room: &'a RoomView,
    user: OwnedUserId,
    device: Option<OwnedDeviceId>,
    now: MilliSecondsSinceUnixEpoch,
    own: Option<Membership>,
    /// By event: the state before it.
    roots: HashMap<EventNo, RootRecord>,
    /// By root: the viewer's membership there, and the history visibility.
    memberships: HashMap<RootRecord, MembershipState>,
    visibilities: HashMap<RootRecord, HistoryVisibility>,
    /// The event by which the viewer last joined.
    last_join: LastJoin,
    /// Whom the viewer ignores, once it was asked.
    ignored: Option<BTreeSet<OwnedUserId>>,
    /// Where what the viewer may see ends, once it was asked.
    horizon: Option<Place>,
    /// Of senders who were asked about: the state they left behind who asked for erasure, `None` of all others.
    pub(super) erased: HashMap<OwnedUserId, Option<RootRecord>>,
    /// How many more events of threads are looked at for one to show.
    pub(super) thread_events_left: usize,
}

/// The event by which a viewer last joined: looked up only where history visibility asks for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LastJoin {
    NotAsked,
    Never,
    At(EventNo),
}

impl<'a> Viewer<'a> {
    /// A user's look at a room. The device is told its own transaction ids.
    pub async fn new(
        room: &'a RoomView,
        user: OwnedUserId,
        device: Option<OwnedDeviceId>,
        now: MilliSecondsSinceUnixEpoch,
    ) -> Result<Self, Fault> {
        let own = room.membership(&user).await?;
        Ok(Self::of(room, user, device, now, own))
    }

    /// As [`Self::new`], of a user whose relation to the room is known.
    pub fn of(
        room: &'a RoomView,
        user: OwnedUserId,
        device: Option<OwnedDeviceId>,
        now: MilliSecondsSinceUnixEpoch,
        own: Option<Membership>,
    ) -> Self {
        Self {
            room,
            user,
            device,
            now,
            own,
            roots: HashMap::new(),
            memberships: HashMap::new(),
            visibilities: HashMap::new(),
            last_join: LastJoin::NotAsked,
            ignored: None,
            horizon: None,
            erased: HashMap::new(),
            thread_events_left: MAX_THREAD_EVENTS_LOOKED_AT,
        }
    }

    /// The room looked at.
    pub fn room(&self) -> &'a RoomView {
        self.room
    }

    /// Who looks.
    pub fn user(&self) -> &OwnedUserId {
        &self.user
    }

    /// The viewer's own relation to the room now.
    pub fn own(&self) -> Option<&Membership> {
        self.own.as_ref()
    }

    /// Whom the viewer ignores.
    pub async fn ignored(&mut self) -> Result<&BTreeSet<OwnedUserId>, Fault> {
        let known = match self.ignored.take() {
            Some(known) => known,
            None => account_data::ignored_users(&self.room.view, &self.user).await?,
        };
        Ok(self.ignored.insert(known))
    }

    /// The same viewer, of whom it is known already whom they ignore.
    pub fn ignoring(self, users: &BTreeSet<OwnedUserId>) -> Self {
        Self { ignored: Some(users.clone()), ..self }
    }

    /// Whether the viewer ignores a user.
    pub async fn ignores(&mut self, user: &UserId) -> Result<bool, Fault> {
        Ok(self.ignored().await?.contains(user))
    }

    /// The place behind which there is nothing for the viewer to see: for who left, mostly their own leave; else the end
    /// of the room. It spares them pages of what came later.
    pub async fn horizon(&mut self) -> Result<Place, Fault> {
        if let Some(known) = self.horizon {
            return Ok(known);
        }
        let end = RoomView::place_after(self.room.view.position());
        let horizon = match &self.own {
            Some(own) if matches!(own.state, MembershipState::Leave | MembershipState::Ban) => {
                let departure = own.event;
                if self.may_see_later(departure).await? { end } else { self.behind(departure).await?.min(end) }
            }
            _ => end,
        };
        Ok(*self.horizon.insert(horizon))
    }

    /// Whether anything behind the event by which the viewer went may be visible: not while the room is, as it was then,
    /// only for its members.
    async fn may_see_later(&self, departure: EventNo) -> Result<bool, Fault> {
        let (kind, before) = ("m.room.history_visibility", self.room.root_before(departure).await?);
        let then = self.room.state_no(before, kind, "").await?;
        let now = self.room.state_no(self.room.root(), kind, "").await?;
        let open = match now {
            Some(no) => visibility::history_visibility(Some(&self.room.event(no).await?.pdu)),
            None => HistoryVisibility::Shared,
        };
        Ok(then != now || open == HistoryVisibility::WorldReadable)
    }

    /// The place just behind an event.
    pub(super) async fn behind(&self, event: EventNo) -> Result<Place, Fault> {
        let meta = self.room.metas(&[event]).await?.pop();
        meta.map(|meta| meta.place.next()).ok_or_else(|| Fault::Bug("one event asked, none answered".into()))
    }

    /// Reads in one step what will be asked of each of these events.
    pub async fn foresee(&mut self, events: &[EventNo]) -> Result<(), Fault> {
        let roots = self.room.roots_before(events).await?;
        self.roots.extend(events.iter().zip(roots).filter_map(|(no, root)| Some((*no, root?))));
        Ok(())
    }

    /// The state before an event.
    pub(super) async fn root_before(&mut self, event: EventNo) -> Result<RootRecord, Fault> {
        if let Some(root) = self.roots.get(&event) {
            return Ok(*root);
        }
        let root = self.room.root_before(event).await?;
        self.roots.insert(event, root);
        Ok(root)
    }

    /// The events that the viewer may see, in the order given.
    pub async fn visible(&mut self, events: Vec<Event>) -> Result<Vec<Event>, Fault> {
        let mut kept = Vec::with_capacity(events.len());
        for event in events {
            if self.may_see(&event).await? {
                kept.push(event);
            }
        }
        Ok(kept)
    }

    /// Whether the viewer may see an event, and does not ignore who sent it.
    pub async fn may_see(&mut self, event: &Event) -> Result<bool, Fault> {
        Ok(!self.is_spared(event).await? && self.may_know(event).await?)
    }

    /// Whether the viewer is not shown an event because they ignore who sent it. State is shown all the same: the room
    /// must not look different to who ignores somebody.
    pub(super) async fn is_spared(&mut self, event: &Event) -> Result<bool, Fault> {
        Ok(event.pdu.state_key().is_none() && self.ignores(event.pdu.sender()).await?)
    }

    /// Whether an event is in the part of the history that is open to the viewer, whomever they ignore. Of one that
    /// they are spared, others' answers are shown, and never the content.
    pub(super) async fn may_know(&mut self, event: &Event) -> Result<bool, Fault> {
        if event.meta.facts.status != Status::Accepted {
            return Ok(false);
        }
        let root = self.root_before(event.no).await?;
        // Joined at the event sees the event, and so does whoever may see everything: no need to look further.
        let membership = self.membership_at(root).await?;
        if membership == MembershipState::Join {
            return Ok(true);
        }
        let visibility = self.visibility_at(root).await?;
        if visibility == HistoryVisibility::WorldReadable {
            return Ok(true);
        }
        let sight = Sight {
            visibility,
            visibility_after: event
                .pdu
                .is_state("m.room.history_visibility", "")
                .then(|| visibility::history_visibility(Some(&event.pdu))),
            membership,
            membership_after: self.is_own(&event.pdu).then(|| visibility::membership(Some(&event.pdu))),
            joined_later: self.joined_after(event.no).await?,
        };
        Ok(sight.allows())
    }

    /// The viewer's membership in a state. In the present one it is what their own row says.
    pub(super) async fn membership_at(&mut self, root: RootRecord) -> Result<MembershipState, Fault> {
        if let Some(known) = self.memberships.get(&root) {
            return Ok(known.clone());
        }
        let found = match &self.own {
            Some(own) if root == self.room.root() => own.state.clone(),
            _ => {
                let event = self.room.state_event(root, "m.room.member", self.user.as_str()).await?;
                visibility::membership(event.as_ref().map(|event| &event.pdu))
            }
        };
        self.memberships.insert(root, found.clone());
        Ok(found)
    }

    /// The history visibility in a state.
    async fn visibility_at(&mut self, root: RootRecord) -> Result<HistoryVisibility, Fault> {
        if let Some(known) = self.visibilities.get(&root) {
            return Ok(known.clone());
        }
        let event = self.room.state_event(root, "m.room.history_visibility", "").await?;
        let found = visibility::history_visibility(event.as_ref().map(|event| &event.pdu));
        self.visibilities.insert(root, found.clone());
        Ok(found)
    }

    /// Whether the viewer joined after an event, at any time.
    async fn joined_after(&mut self, event: EventNo) -> Result<bool, Fault> {
        let Some(own) = &self.own else { return Ok(false) };
        if own.state == MembershipState::Join {
            // Joined now and not at the event: the join came between.
            return Ok(true);
        }
        if !own.was_joined {
            return Ok(false);
        }
        if self.last_join == LastJoin::NotAsked {
            let stay = self.room.last_stay(&self.user, own.event).await?;
            self.last_join = stay.map_or(LastJoin::Never, |stay| LastJoin::At(stay.joined));
        }
        Ok(matches!(self.last_join, LastJoin::At(join) if join > event))
    }

    /// Whether an event is about the viewer's own membership.
    pub(super) fn is_own(&self, pdu: &Pdu) -> bool {
        pdu.is_state("m.room.member", self.user.as_str())
    }

    /// Whether the viewer sent an event, from this device of theirs, which is the one that looks.
    pub(super) fn sent(&self, pdu: &Pdu, device: &str) -> bool {
        *pdu.sender() == self.user && self.device.as_ref().is_some_and(|own| own.as_str() == device)
    }

    /// When the viewer looks.
    pub(super) fn now(&self) -> MilliSecondsSinceUnixEpoch {
        self.now
    }
}

impl RoomView {
    /// The event as anyone may have it: without its content's unprotected part if it was redacted.
    pub fn readable(&self, event: Event) -> Result<Pdu, Fault> {
        if event.meta.facts.redacted_by.is_none() { Ok(event.pdu) } else { self.without_content(&event.pdu) }
    }

    /// The event without its content's unprotected part.
    pub fn without_content(&self, pdu: &Pdu) -> Result<Pdu, Fault> {
        redaction::redact(pdu, self.rules)
            .map_err(|why| Fault::Bug(format!("event {} cannot be redacted: {why}", pdu.event_id())))
    }

    /// The event with nothing in its content but what is protected: it was not redacted, and names what it names.
    pub(super) fn with_empty_content(&self, pdu: &Pdu) -> Result<Pdu, Fault> {
        redaction::empty_content(pdu, self.rules)
            .map_err(|why| Fault::Bug(format!("the content of event {} cannot be left out: {why}", pdu.event_id())))
    }
}

impl Event {
    /// Whether a filter wants it, as anyone may have it: what was redacted does not count.
    pub fn passes(&self, wanted: &RoomEventFilter) -> bool {
        match self.meta.facts.redacted_by {
            None => filter::event(wanted, &self.pdu),
            Some(_) => filter::redacted_event(wanted, &self.pdu),
        }
    }
}
