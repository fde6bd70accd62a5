//! Creating a room: the events of `POST /createRoom`, in the order the specification gives, as one batch. What stands in
//! them is in `drafts.rs`.
//!
//! A room that is not there yet has no lane. Who else wants its alias at the same time, or changes what the batch relies
//! on, is told by a conflict, and the batch is made anew as everywhere else.
//!
//! Spec: [createRoom](https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom).

mod drafts;

use depesche_rules::{
    auth,
    bounds::{MAX_ADDITIONAL_CREATORS, MAX_CREATE_INITIAL_STATE, MAX_CREATE_INVITES},
    build::{self, EventDraft, Placement, complete_create_content},
    pdu::Pdu,
    versions,
};
use depesche_store::CommitError;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedRoomId, OwnedUserId, RoomVersionId,
    events::StateEventType, room_version_rules::RoomVersionRules,
};

pub(super) use self::drafts::object;
use self::drafts::{add_creators, drafts};
use crate::{
    account_data::blocks_invites,
    keyspace::{ALIAS, PUBLISHED, ROOM_ALIAS, RoomNo},
    profiles,
    records::rooms::Room,
    rooms::{
        Rooms, aliases,
        append::{self, Accepted},
        lane::Refusal,
        membership::{is_leaving, leaving},
        send,
        working::Working,
        write,
    },
    topic,
    tx::{Fault, Tx},
};

/// What `POST /createRoom` asks for, checked for form.
#[derive(Clone, Debug)]
pub struct Creation {
    /// Who creates the room.
    pub creator: OwnedUserId,
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

/// A room in the making.
pub(super) struct Birth<'a> {
    pub(super) creator: &'a OwnedUserId,
    pub(super) version: &'a RoomVersionId,
    pub(super) rules: &'static RoomVersionRules,
    /// Of the create event, without what the server adds.
    pub(super) content: CanonicalJsonObject,
    /// The events behind it.
    pub(super) drafts: Vec<EventDraft>,
    /// Whether its events are told by push.
    pub(super) tells: bool,
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
    /// What is asked for would be refused in a room that exists as well: an invite, a canonical alias.
    #[error(transparent)]
    Refused(Refusal),
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
        self.check(&creation).await?;
        // Before the batch: it waits for others that want numbers.
        let no = self.next_number().await?;
        let (creation, version) = (&creation, &version);
        let created = self.base.transact(|tx| async move {
            let working = self.found(&tx, no, creation, version, rules).await?;
            Ok::<_, CreateError>(working.room.room_id.clone())
        });
        match created.await {
            Err(CreateError::Fault(Fault::Commit(CommitError::Contract(why)))) => Err(CreateError::TooLarge(why)),
            outcome => outcome,
        }
    }

    /// What the rules of rooms do not say of a creation.
    async fn check(&self, creation: &Creation) -> Result<(), CreateError> {
        if let Some(alias) = &creation.alias {
            self.check_alias(alias).map_err(|why| CreateError::Refused(Refusal::InvalidParam(why.to_string())))?;
        }
        let many = |most: usize, what: &str| Err(CreateError::TooLarge(format!("at most {most} {what} at once")));
        if creation.invite.len() > MAX_CREATE_INVITES {
            return many(MAX_CREATE_INVITES, "invites");
        }
        if creation.initial_state.len() > MAX_CREATE_INITIAL_STATE {
            return many(MAX_CREATE_INITIAL_STATE, "state events");
        }
        let creators = creation.creation_content.get("additional_creators");
        if matches!(creators, Some(CanonicalJsonValue::Array(list)) if list.len() > MAX_ADDITIONAL_CREATORS) {
            return many(MAX_ADDITIONAL_CREATORS, "additional creators");
        }
        if creation.invite.iter().any(|(user, _)| *user == creation.creator) {
            // As an invite to a room that exists: its member is invited no more.
            return Err(CreateError::Refused(Refusal::Forbidden("the creator of a room is in it already".into())));
        }
        let mut invited: Vec<OwnedUserId> = creation.invite.iter().map(|(user, _)| user.clone()).collect();
        for (kind, state_key, content) in &creation.initial_state {
            match kind {
                StateEventType::RoomMember if is_invite(content) => {
                    let user = OwnedUserId::try_from(state_key.as_str());
                    invited.push(user.map_err(|_| CreateError::BadContent("a user id is expected".into()))?);
                }
                StateEventType::RoomCanonicalAlias if state_key.is_empty() => check_aliases(creation, content)?,
                StateEventType::RoomServerAcl if state_key.is_empty() => {
                    send::must_allow(&self.base.name, content).map_err(CreateError::Refused)?;
                }
                _ => {}
            }
        }
        let view = self.base.view();
        for user in invited {
            if user.server_name() != self.base.name {
                let why = "this server does not federate, so it cannot invite users of other servers";
                return Err(CreateError::Refused(Refusal::Forbidden(why.into())));
            }
            if blocks_invites(&view, &user).await? {
                return Err(CreateError::Refused(Refusal::InviteBlocked));
            }
        }
        Ok(())
    }

    /// Puts the room that is asked for into the batch.
    async fn found(
        &self,
        tx: &Tx,
        no: RoomNo,
        creation: &Creation,
        version: &RoomVersionId,
        rules: &'static RoomVersionRules,
    ) -> Result<Working, CreateError> {
        let mut content = creation.creation_content.clone();
        if creation.preset == Preset::TrustedPrivateChat && rules.authorization.additional_room_creators {
            add_creators(&mut content, creation);
        }
        if is_leaving(tx, &creation.creator).await? {
            return Err(CreateError::Refused(leaving()));
        }
        let member = profiles::member_content(tx, &creation.creator).await?;
        let drafts = drafts(creation, member, rules);
        let birth = Birth { creator: &creation.creator, version, rules, content, drafts, tells: true };
        let working = self.bear(tx, no, birth).await?;
        self.name_room(creation, tx, &working).await?;
        Ok(working)
    }

    /// Puts a new room with its first events into the batch.
    pub(super) async fn bear(&self, tx: &Tx, no: RoomNo, birth: Birth<'_>) -> Result<Working, Refusal> {
        let Birth { creator, version, rules, content, drafts, tells } = birth;
        let create = self.create_event(creator, version, rules, content)?;
        let room = Room { room_id: create.room_id().clone(), version: version.clone() };
        let unknown = || Fault::Bug(format!("room version {version} has rules and no room"));
        let mut working = Working::create(no, room).ok_or_else(unknown)?;
        working.tells = tells;
        working.begin(tx);
        append::found(&working, tx);
        auth::check_state_independent(&create, rules, |_| None)?;
        append::event(
            &mut working,
            tx,
            &self.base.name,
            Accepted { pdu: create, auth: Vec::new(), sent_with: None, push: false },
        )
        .await?;
        for draft in drafts {
            write::write(&self.base, &self.key, &mut working, tx, draft, None).await?;
        }
        append::close(&mut working, tx).await?;
        Ok(working)
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
        // Its creator may have left it with its first events.
        if creation.published && working.head.joined > 0 {
            tx.put(&PUBLISHED, &(working.no,), &());
            tx.topic(topic::directory());
        }
        tx.topic(topic::user(&creation.creator));
        Ok(())
    }

    /// The create event. From version 12 on it makes the room's id; before, the id is drawn.
    fn create_event(
        &self,
        creator: &OwnedUserId,
        version: &RoomVersionId,
        rules: &RoomVersionRules,
        mut content: CanonicalJsonObject,
    ) -> Result<Pdu, Refusal> {
        complete_create_content(&mut content, creator, version, rules);
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
        let draft = EventDraft::state(creator.clone(), StateEventType::RoomCreate, "", content);
        Ok(build::build(draft, place)?)
    }

    fn default_version(&self) -> RoomVersionId {
        self.base.config.rooms.default_version.clone()
    }
}

fn is_invite(content: &CanonicalJsonObject) -> bool {
    content.get("membership").is_some_and(|membership| membership.as_str() == Some("invite"))
}

/// A canonical alias of the initial state can only be the alias that the room is born with.
fn check_aliases(creation: &Creation, content: &CanonicalJsonObject) -> Result<(), CreateError> {
    let named = aliases::named(content).map_err(CreateError::BadContent)?;
    match named.into_iter().find(|alias| creation.alias.as_ref() != Some(alias)) {
        Some(alias) => Err(CreateError::Refused(Refusal::BadAlias(format!("{alias} does not point to this room")))),
        None => Ok(()),
    }
}

impl From<Refusal> for CreateError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fault(fault) => Self::Fault(fault),
            Refusal::TooLarge(why) => Self::TooLarge(why),
            Refusal::InvalidParam(why) => Self::BadContent(why),
            other => Self::InvalidState(other.to_string()),
        }
    }
}
