//! Creating a room: the events of `POST /createRoom`, in the order the specification gives, as one batch.
//!
//! Spec: [createRoom](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom).

use depesche_rules::{
    auth,
    build::{self, EventDraft, Placement, complete_create_content},
    pdu::Pdu,
    versions,
};
use depesche_store::CommitError;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomVersionId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};

use crate::{
    keyspace::{ALIAS, PUBLISHED, ROOM_ALIAS},
    records::rooms::Room,
    rooms::{
        Rooms,
        append::{self, Accepted},
        lane::{self, Refusal},
        working::Working,
    },
    topic,
    tx::{Fault, Tx},
};

/// The most users one request invites and the most state events it sets.
const EVENTS: usize = 1000;
/// How often a creation is tried after a conflict, the first time included.
const ATTEMPTS: usize = 3;

/// What `POST /createRoom` asks for, checked for form.
#[derive(Clone, Debug)]
pub struct Creation {
    /// Who creates the room.
    pub creator: OwnedUserId,
    /// The content of the creator's membership event beside `membership`.
    pub creator_profile: CanonicalJsonObject,
    /// The version; the configured one if `None`.
    pub version: Option<RoomVersionId>,
    /// What decides join rules, history visibility and guest access.
    pub preset: Preset,
    /// Whether the room appears in the published room directory.
    pub published: bool,
    /// The room's first alias.
    pub alias: Option<OwnedRoomAliasId>,
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Whom to invite, each with the content beside `membership`.
    pub invite: Vec<(OwnedUserId, CanonicalJsonObject)>,
    /// Added to the content of the create event.
    pub creation_content: CanonicalJsonObject,
    /// State set after that of the preset: type, state key, content.
    pub initial_state: Vec<(StateEventType, String, CanonicalJsonObject)>,
    /// Put over the generated power levels.
    pub power_levels: CanonicalJsonObject,
}

/// The presets of the specification.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Preset {
    /// For invited people.
    PrivateChat,
    /// For invited people with equal rights.
    TrustedPrivateChat,
    /// For everyone.
    PublicChat,
}

/// Why a room was not created.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CreateError {
    /// The version is not one of ours.
    #[error("this server does not support room version {0}")]
    UnsupportedVersion(RoomVersionId),
    /// The alias is taken.
    #[error("the alias {0} is taken")]
    AliasTaken(OwnedRoomAliasId),
    /// The rules do not allow one of the events.
    #[error("the initial state is not allowed: {0}")]
    InvalidState(String),
    /// More invites or state events than one request may hold, or more bytes than one batch.
    #[error("{0}")]
    TooLarge(String),
    /// A parameter is not what it has to be.
    #[error("{0}")]
    BadContent(String),
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Rooms {
    /// Creates a room with all its first events, or nothing.
    pub async fn create(&self, creation: Creation) -> Result<OwnedRoomId, CreateError> {
        let version = creation.version.clone().unwrap_or_else(|| self.default_version());
        let rules =
            versions::room_version_rules(&version).ok_or_else(|| CreateError::UnsupportedVersion(version.clone()))?;
        if creation.invite.len() + creation.initial_state.len() > EVENTS {
            return Err(CreateError::TooLarge(format!("at most {EVENTS} invites and state events at once")));
        }
        for _ in 1..ATTEMPTS {
            match self.try_create(&creation, &version, rules).await {
                Err(CreateError::Fault(Fault::Commit(CommitError::Conflict(_)))) => {}
                outcome => return outcome,
            }
        }
        self.try_create(&creation, &version, rules).await
    }

    async fn try_create(
        &self,
        creation: &Creation,
        version: &RoomVersionId,
        rules: &'static RoomVersionRules,
    ) -> Result<OwnedRoomId, CreateError> {
        let tx = self.base.tx();
        let no = self.next_number().await?;
        let create = self.create_event(creation, version, rules)?;
        let room_id = create.room_id().clone();
        let room = Room { room_id: room_id.clone(), version: version.clone() };
        let mut working = Working::create(no, room).ok_or_else(|| CreateError::UnsupportedVersion(version.clone()))?;
        working.begin(&tx);
        append::found(&working, &tx);
        auth::check_state_independent(&create, rules, |_| None)
            .map_err(|why| CreateError::InvalidState(why.to_string()))?;
        append::event(&mut working, &tx, &self.base.name, Accepted { pdu: create, auth: Vec::new(), sent_with: None })
            .await?;
        for draft in drafts(creation, rules) {
            lane::write(&self.base, &self.key, &mut working, &tx, draft, None).await?;
        }
        self.name_room(creation, &tx, &working).await?;
        append::close(&mut working, &tx).await?;
        match self.base.commit(&tx).await {
            Ok(_) => Ok(room_id),
            Err(Fault::Commit(CommitError::Contract(why))) => Err(CreateError::TooLarge(why)),
            Err(fault) => Err(fault.into()),
        }
    }

    /// The alias and the place in the directory.
    async fn name_room(&self, creation: &Creation, tx: &Tx, working: &Working) -> Result<(), CreateError> {
        if let Some(alias) = &creation.alias {
            if tx.read(&ALIAS, &(alias.clone(),)).await?.is_some() {
                return Err(CreateError::AliasTaken(alias.clone()));
            }
            let target = crate::records::rooms::Alias {
                room_id: working.room.room_id.clone(),
                creator: creation.creator.clone(),
            };
            tx.put(&ALIAS, &(alias.clone(),), &target);
            tx.put(&ROOM_ALIAS, &(working.no, alias.clone()), &());
        }
        if creation.published {
            tx.put(&PUBLISHED, &(working.no,), &());
        }
        tx.topic(topic::user(&creation.creator));
        Ok(())
    }

    /// The create event. From version 12 on it makes the room's id; before, the id is drawn.
    fn create_event(
        &self,
        creation: &Creation,
        version: &RoomVersionId,
        rules: &RoomVersionRules,
    ) -> Result<Pdu, CreateError> {
        let mut content = creation.creation_content.clone();
        complete_create_content(&mut content, &creation.creator, version, rules);
        if creation.preset == Preset::TrustedPrivateChat && rules.authorization.additional_room_creators {
            add_creators(&mut content, creation);
        }
        let drawn = (!rules.authorization.room_create_event_id_as_room_id)
            .then(|| OwnedRoomId::try_from(format!("!{}:{}", self.base.random.letters(18), self.base.name)));
        let drawn = drawn.transpose().map_err(|why| Fault::Bug(format!("a drawn room id is invalid: {why}")))?;
        let place = Placement {
            rules,
            room_id: drawn.as_deref(),
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: self.creation_time(),
            server_name: &self.base.name,
            key: &self.key,
        };
        let draft = EventDraft::state(creation.creator.clone(), StateEventType::RoomCreate, "", content);
        build::build(draft, &place).map_err(|why| Refusal::from(why).into())
    }

    fn default_version(&self) -> RoomVersionId {
        self.base.config.rooms.default_version.clone()
    }
}

impl From<Refusal> for CreateError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fault(fault) => Self::Fault(fault),
            Refusal::TooLarge(why) => Self::TooLarge(why),
            Refusal::BadContent(why) | Refusal::InvalidParam(why) => Self::BadContent(why),
            other => Self::InvalidState(other.to_string()),
        }
    }
}

/// The events behind the create event, in their order.
fn drafts(creation: &Creation, rules: &RoomVersionRules) -> Vec<EventDraft> {
    let creator = &creation.creator;
    let mut member = creation.creator_profile.clone();
    member.insert("membership".to_owned(), "join".to_owned().into());
    let mut drafts = vec![
        EventDraft::state(creator.clone(), StateEventType::RoomMember, creator.as_str(), member),
        EventDraft::state(creator.clone(), StateEventType::RoomPowerLevels, "", power_levels(creation, rules)),
    ];
    let mut state = |kind: StateEventType, state_key: &str, content: CanonicalJsonObject| {
        drafts.push(EventDraft::state(creator.clone(), kind, state_key, content));
    };
    if let Some(alias) = &creation.alias {
        state(StateEventType::RoomCanonicalAlias, "", object([("alias", alias.to_string().into())]));
    }
    for (kind, content) in preset(creation.preset) {
        // What the client sets itself is not set twice.
        if !creation.initial_state.iter().any(|(own, key, _)| *own == kind && key.is_empty()) {
            state(kind, "", content);
        }
    }
    for (kind, state_key, content) in &creation.initial_state {
        let renamed = *kind == StateEventType::RoomName && creation.name.is_some()
            || *kind == StateEventType::RoomTopic && creation.topic.is_some();
        if !(renamed && state_key.is_empty()) {
            state(kind.clone(), state_key, content.clone());
        }
    }
    if let Some(name) = &creation.name {
        state(StateEventType::RoomName, "", object([("name", name.clone().into())]));
    }
    if let Some(topic) = &creation.topic {
        state(StateEventType::RoomTopic, "", topic_content(topic));
    }
    for (user, content) in &creation.invite {
        let mut content = content.clone();
        content.insert("membership".to_owned(), "invite".to_owned().into());
        state(StateEventType::RoomMember, user.as_str(), content);
    }
    drafts
}

/// The topic as text of both kinds: the plain field and the block of `m.topic`.
fn topic_content(topic: &str) -> CanonicalJsonObject {
    let text = object([("body", topic.to_owned().into()), ("mimetype", "text/plain".to_owned().into())]);
    let block = object([("m.text", CanonicalJsonValue::Array(vec![text.into()]))]);
    object([("topic", topic.to_owned().into()), ("m.topic", block.into())])
}

/// Adds the invited to the creators whom the client names, each once.
fn add_creators(content: &mut CanonicalJsonObject, creation: &Creation) {
    let mut creators = match content.remove("additional_creators") {
        Some(CanonicalJsonValue::Array(creators)) => creators,
        _ => Vec::new(),
    };
    for (user, _) in &creation.invite {
        let user = CanonicalJsonValue::String(user.to_string());
        if !creators.contains(&user) {
            creators.push(user);
        }
    }
    content.insert("additional_creators".to_owned(), CanonicalJsonValue::Array(creators));
}

/// The generated power levels with the client's put over them.
fn power_levels(creation: &Creation, rules: &RoomVersionRules) -> CanonicalJsonObject {
    let privileged = rules.authorization.explicitly_privilege_room_creators;
    let mut users = CanonicalJsonObject::new();
    if !privileged {
        users.insert(creation.creator.to_string(), level(100));
        if creation.preset == Preset::TrustedPrivateChat {
            users.extend(creation.invite.iter().map(|(user, _)| (user.to_string(), level(100))));
        }
    }
    let hundred = ["m.room.power_levels", "m.room.history_visibility", "m.room.server_acl", "m.room.encryption"];
    let fifty = ["m.room.name", "m.room.avatar", "m.room.topic", "m.room.canonical_alias"];
    let mut events = CanonicalJsonObject::new();
    events.extend(hundred.map(|kind| (kind.to_owned(), level(100))));
    events.extend(fifty.map(|kind| (kind.to_owned(), level(50))));
    // From version 12 on replacing the room takes more than administering it.
    events.insert(TimelineEventType::RoomTombstone.to_string(), level(if privileged { 150 } else { 100 }));
    let invite = if creation.preset == Preset::PublicChat { 50 } else { 0 };
    let mut content = object([
        ("users", users.into()),
        ("events", events.into()),
        ("users_default", level(0)),
        ("events_default", level(0)),
        ("state_default", level(50)),
        ("ban", level(50)),
        ("kick", level(50)),
        ("redact", level(50)),
        ("invite", level(invite)),
        ("historical", level(100)),
    ]);
    content.extend(creation.power_levels.clone());
    content
}

fn preset(preset: Preset) -> [(StateEventType, CanonicalJsonObject); 3] {
    let (join_rule, guests) = match preset {
        Preset::PublicChat => ("public", "forbidden"),
        Preset::PrivateChat | Preset::TrustedPrivateChat => ("invite", "can_join"),
    };
    let one = |field: &str, value: &str| object([(field, value.to_owned().into())]);
    [
        (StateEventType::RoomJoinRules, one("join_rule", join_rule)),
        (StateEventType::RoomHistoryVisibility, one("history_visibility", "shared")),
        (StateEventType::RoomGuestAccess, one("guest_access", guests)),
    ]
}

fn object<const N: usize>(fields: [(&str, CanonicalJsonValue); N]) -> CanonicalJsonObject {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn level(level: i32) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(level.into())
}
