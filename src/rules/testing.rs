//! What the tests of this crate share: a room that is written event by event, with forks where a test wants them.

use std::collections::BTreeMap;

use ruma::{
    CanonicalJsonObject, EventId, MilliSecondsSinceUnixEpoch, OwnedEventId, OwnedRoomId, OwnedUserId, RoomVersionId,
    ServerName, UInt, UserId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{Value, json};

use crate::{
    auth::{Reject, check_state_dependent, check_state_independent},
    build::{EventDraft, Placement, build, complete_create_content},
    json::to_object,
    pdu::Pdu,
    power_levels::PowerLevels,
    signing::SigningKey,
    versions::{SUPPORTED, room_version_rules},
};

/// A state of the room.
pub type State = BTreeMap<(StateEventType, String), Pdu>;

/// A room whose events are all local, and pass the auth rules.
pub struct Room {
    pub version: RoomVersionId,
    pub rules: &'static RoomVersionRules,
    pub key: SigningKey,
    pub id: Option<OwnedRoomId>,
    /// After the last event of [`Room::send`].
    pub state: State,
    /// Every event, in the order of making.
    pub events: Vec<Pdu>,
    last: Option<Pdu>,
}

pub fn user(name: &str) -> OwnedUserId {
    UserId::parse(if name.contains(':') { format!("@{name}") } else { format!("@{name}:here") }).unwrap()
}

pub fn server() -> &'static ServerName {
    <&ServerName>::try_from("here").unwrap()
}

pub fn object(value: Value) -> CanonicalJsonObject {
    to_object(value).unwrap()
}

pub fn versions() -> impl Iterator<Item = RoomVersionId> {
    SUPPORTED.iter().map(|(version, _)| version.clone())
}

/// A message's draft.
pub fn message(sender: &str, content: Value) -> EventDraft {
    EventDraft::message(user(sender), TimelineEventType::RoomMessage, object(content))
}

/// A state event's draft.
pub fn state(sender: &str, kind: &str, state_key: &str, content: Value) -> EventDraft {
    EventDraft::state(user(sender), kind.into(), state_key, object(content))
}

/// A membership's draft.
pub fn member(sender: &str, target: &str, membership: &str) -> EventDraft {
    let target = user(target).to_string();
    state(sender, "m.room.member", &target, json!({ "membership": membership }))
}

impl Room {
    /// A room with its create event alone, made by `@creator:here`.
    pub fn bare(version: RoomVersionId) -> Self {
        let rules = room_version_rules(&version).unwrap();
        let key = SigningKey::from_seed([1; 32], "1").unwrap();
        let new_room = (!rules.authorization.room_create_event_id_as_room_id)
            .then(|| OwnedRoomId::try_from("!room:here").unwrap());
        let mut room = Self { version, rules, key, id: new_room, state: State::new(), events: vec![], last: None };
        let mut content = CanonicalJsonObject::new();
        complete_create_content(&mut content, &user("creator"), &room.version, rules);
        let create = room.send(EventDraft::state(user("creator"), StateEventType::RoomCreate, "", content));
        room.id = Some(create.room_id().clone());
        room
    }

    /// A public room with its creator joined at level 100 or more.
    pub fn new(version: RoomVersionId) -> Self {
        let mut room = Self::bare(version);
        room.send(member("creator", "creator", "join"));
        let levels = if room.privileged() { json!({}) } else { json!({ "users": { "@creator:here": 100 } }) };
        room.send(state("creator", "m.room.power_levels", "", levels));
        room.send(state("creator", "m.room.join_rules", "", json!({ "join_rule": "public" })));
        room
    }

    /// Whether creators stand above power levels.
    pub fn privileged(&self) -> bool {
        self.rules.authorization.explicitly_privilege_room_creators
    }

    /// Sends what must be allowed.
    pub fn send(&mut self, draft: EventDraft) -> Pdu {
        self.try_send(draft).unwrap()
    }

    /// Sends on the current state.
    pub fn try_send(&mut self, draft: EventDraft) -> Result<Pdu, Reject> {
        let before = self.state.clone();
        let prev = self.last.iter().map(|event| event.event_id().clone()).collect();
        let event = self.write(&before, prev, self.events.len() as u64, draft)?;
        apply(&mut self.state, &event);
        self.last = Some(event.clone());
        Ok(event)
    }

    /// Makes an event on any state, and keeps it if that state allows it. `at` orders events by their time.
    pub fn write(
        &mut self,
        before: &State,
        prev: Vec<OwnedEventId>,
        at: u64,
        draft: EventDraft,
    ) -> Result<Pdu, Reject> {
        let types = draft.auth_types(self.rules)?;
        let auth_events = types.iter().filter_map(|key| Some(before.get(key)?.event_id().clone())).collect();
        let is_create = draft.kind == TimelineEventType::RoomCreate;
        let nameless = is_create && self.rules.authorization.room_create_event_id_as_room_id;
        let place = Placement {
            rules: self.rules,
            room_id: self.id.as_deref().filter(|_| !nameless),
            prev_events: prev,
            auth_events,
            depth: at + 1,
            origin_server_ts: MilliSecondsSinceUnixEpoch(UInt::try_from(1000 + at).unwrap()),
            server_name: server(),
            key: &self.key,
        };
        let event = build(draft, place).unwrap();
        check_state_independent(&event, self.rules, |id| self.event(id))?;
        check_state_dependent(&event, self.rules, |kind, key| before.get(&(kind.clone(), key.to_owned())).cloned())?;
        self.events.push(event.clone());
        Ok(event)
    }

    pub fn event(&self, id: &EventId) -> Option<Pdu> {
        self.events.iter().find(|event| event.event_id() == id).cloned()
    }

    pub fn levels(&self) -> PowerLevels {
        let at = |kind: StateEventType| self.state.get(&(kind, String::new()));
        PowerLevels::new(at(StateEventType::RoomCreate).unwrap(), at(StateEventType::RoomPowerLevels), self.rules)
            .unwrap()
    }
}

/// Applies an event to a state.
pub fn apply(state: &mut State, event: &Pdu) {
    if let Some(state_key) = event.state_key() {
        state.insert((event.kind().to_string().into(), state_key.to_owned()), event.clone());
    }
}

/// How many cases a property has: as many as usual, or as `PROPTEST_CASES` says if that is more.
pub fn cases(usual: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.unwrap_or(usual).max(usual)
}
