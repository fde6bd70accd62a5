//! Upgrading a room: a new one of another version takes its place.
//!
//! All of it is one batch of the old room's lane: the new room with its first events, the aliases and the publication
//! that move, and in the old room the tombstone and the levels that end the talk. So there is no half upgraded room, and
//! nothing that would have to be resumed after a crash.
//!
//! Carried over are the states that the specification lists, the canonical alias, the children of a space, and bans. The
//! specification says that memberships should not be, because a server cannot speak for users of others; a ban is said
//! by who upgrades, and a room that is replaced must not open its doors to those whom it had put out.
//!
//! A room is replaced once: who asks again is told by which room, also of two who ask at the same time. To replace it by
//! a room of a third version, its tombstone has to go first, or the new room is upgraded.
//!
//! Spec: [room upgrades](https://spec.matrix.org/v1.19/client-server-api/#room-upgrades).

mod levels;

use std::sync::Arc;

use depesche_rules::{
    bounds::{MAX_ADDITIONAL_CREATORS, MAX_ALIASES_PER_ROOM, MAX_UPGRADE_BANS, MAX_UPGRADE_STATE},
    build::EventDraft,
    pdu::Pdu,
    power_levels::PowerLevels,
    versions,
};
use depesche_store::{CommitError, MAX_SCAN, Mutex};
use futures::future::BoxFuture;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomId, OwnedUserId, RoomVersionId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
    room_version_rules::{AuthorizationRules, RoomVersionRules},
};

use serde::Deserialize;

use super::create::{Birth, object};
use crate::{
    keyspace::{ALIAS, KEY_NO, MEMBER, PUBLISHED, ROOM, ROOM_ALIAS, ROOM_NO, RoomNo},
    profiles,
    records::rooms::Alias,
    rooms::{
        Rooms,
        lane::{Intent, Refusal, Turn, Verdict},
        membership::{is_leaving, leaving},
        view::RoomView,
        working::Working,
    },
    topic,
    tx::{Fault, Pages},
};

/// The states that are carried over as they are: those that the specification lists, but for the power levels, and the
/// canonical alias.
const CARRIED: [StateEventType; 9] = [
    StateEventType::RoomJoinRules,
    StateEventType::RoomHistoryVisibility,
    StateEventType::RoomGuestAccess,
    StateEventType::RoomServerAcl,
    StateEventType::RoomEncryption,
    StateEventType::RoomName,
    StateEventType::RoomTopic,
    StateEventType::RoomAvatar,
    StateEventType::RoomCanonicalAlias,
];

/// What `POST /rooms/{roomId}/upgrade` asks for.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// Who upgrades, and creates the new room.
    pub user: OwnedUserId,
    /// The room to replace.
    pub room: OwnedRoomId,
    /// The version of the new room.
    pub version: RoomVersionId,
    /// Further creators of the new room, where its version has such.
    pub additional_creators: Vec<OwnedUserId>,
}

/// Why a room is not upgraded.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The version is not one of ours.
    #[error("this server does not support room version {0}")]
    UnsupportedVersion(RoomVersionId),
    /// The user may not do it, or the new room would not be allowed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Rooms {
    /// Replaces a room by a new one of another version, and says which.
    pub async fn upgrade(self: &Arc<Self>, mut upgrade: Upgrade) -> Result<OwnedRoomId, UpgradeError> {
        let unsupported = || UpgradeError::UnsupportedVersion(upgrade.version.clone());
        let rules = versions::room_version_rules(&upgrade.version).ok_or_else(unsupported)?;
        let others = rules.authorization.additional_room_creators;
        if others && upgrade.additional_creators.len() > MAX_ADDITIONAL_CREATORS {
            let why = format!("at most {MAX_ADDITIONAL_CREATORS} additional creators at once");
            return Err(Refusal::TooLarge(why).into());
        }
        upgrade.additional_creators.retain(|other| others && *other != upgrade.user);
        let no = self.next_number().await.map_err(Refusal::from)?;
        let (room, made) = (upgrade.room.clone(), Arc::default());
        let replace = Replace { rooms: Arc::clone(self), upgrade, rules, no, made: Arc::clone(&made) };
        self.submit(&room, replace).await.map_err(|refusal| match refusal {
            Refusal::Fault(Fault::Commit(CommitError::Contract(why))) => Refusal::TooLarge(why),
            other => other,
        })?;
        let made = made.lock().take();
        Ok(made.ok_or_else(|| Refusal::from(Fault::Bug("an upgrade made no room".into())))?)
    }
}

/// The upgrade as an intent of the old room.
struct Replace {
    rooms: Arc<Rooms>,
    upgrade: Upgrade,
    rules: &'static RoomVersionRules,
    /// The number of the new room.
    no: RoomNo,
    /// The new room: of the batch that was built last, which is the one that is committed.
    made: Arc<Mutex<Option<OwnedRoomId>>>,
}

impl Intent for Replace {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(self.replace(turn))
    }
}

impl Replace {
    async fn replace(&self, turn: &mut Turn<'_>) -> Result<Verdict, Refusal> {
        let user = &self.upgrade.user;
        turn.must_be_joined(user).await?;
        let levels = turn.working.power_levels(turn.tx).await?;
        let levels = levels.ok_or_else(|| Fault::Bug("a room has no create event".into()))?;
        if !levels.can_send(user, &TimelineEventType::RoomTombstone, true) {
            return Err(Refusal::Forbidden("replacing this room takes the right to end it".into()));
        }
        if let Some(tombstone) = turn.working.state(turn.tx, "m.room.tombstone", "").await?
            && let Some((successor, version)) = successor(turn, &tombstone).await?
        {
            if version != self.upgrade.version {
                let why = format!("this room has been replaced already, by {successor} of version {version}");
                return Err(Refusal::Forbidden(why));
            }
            *self.made.lock() = Some(successor);
            return Ok(Verdict::Already(tombstone.event_id().clone()));
        }
        let birth = Birth {
            creator: user,
            version: &self.upgrade.version,
            rules: self.rules,
            content: self.create_content(turn).await?,
            drafts: self.drafts(turn, &levels).await?,
            // Whoever is told of the upgrade is told by the old room.
            tells: false,
        };
        let new = self.rooms.bear(turn.tx, self.no, birth).await?;
        self.move_names(turn, &new).await?;
        let ending = self.ending(turn, &levels, &new).await?;
        *self.made.lock() = Some(new.room.room_id.clone());
        Ok(Verdict::Append(ending))
    }

    /// The content of the new create event.
    async fn create_content(&self, turn: &mut Turn<'_>) -> Result<CanonicalJsonObject, Refusal> {
        let old = turn.content(&StateEventType::RoomCreate, "").await?.unwrap_or_default();
        let mut predecessor = object([("room_id", turn.working.room.room_id.to_string().into())]);
        // Deprecated, and from version 12 on a server may leave it out; it should be there where it is known.
        let last = turn.working.head.extremities.clone();
        let last = turn.working.ids(turn.tx, &last).await?.pop();
        predecessor.extend(last.map(|last| ("event_id".to_owned(), last.to_string().into())));
        let mut content = object([("predecessor", predecessor.into())]);
        content.extend(old.into_iter().filter(|(field, _)| ["type", "m.federate"].contains(&field.as_str())));
        if !self.upgrade.additional_creators.is_empty() {
            let others = self.upgrade.additional_creators.iter().map(|other| other.to_string().into());
            content.insert("additional_creators".to_owned(), CanonicalJsonValue::Array(others.collect()));
        }
        Ok(content)
    }

    /// The events behind it. The levels come last: before them the creator may do everything, whatever level they had.
    async fn drafts(&self, turn: &mut Turn<'_>, old: &PowerLevels) -> Result<Vec<EventDraft>, Refusal> {
        let user = &self.upgrade.user;
        let state = |kind, key: &str, content| EventDraft::state(user.clone(), kind, key, content);
        if is_leaving(turn.tx, user).await? {
            return Err(leaving());
        }
        let mut member = profiles::member_content(turn.tx, user).await?;
        member.insert("membership".to_owned(), "join".to_owned().into());
        let mut drafts = vec![state(StateEventType::RoomMember, user.as_str(), member)];
        for kind in CARRIED {
            if let Some(content) = turn.content(&kind, "").await? {
                let is_door = kind == StateEventType::RoomJoinRules;
                let content = if is_door { join_rules(content, &self.rules.authorization) } else { content };
                drafts.push(state(kind, "", content));
            }
        }
        // Read past the batch: no order is promised between the upgrade and a ban of the same moment.
        let room = RoomView::open(turn.tx.view(), turn.working.no).await?;
        for child in children(&room).await? {
            if let Some(content) = turn.content(&StateEventType::SpaceChild, &child).await?
                && !content.is_empty()
            {
                drafts.push(state(StateEventType::SpaceChild, &child, content));
            }
        }
        for banned in banned(&room).await? {
            let creates = banned == *user || self.upgrade.additional_creators.contains(&banned);
            let ban = turn.content(&StateEventType::RoomMember, banned.as_str()).await?;
            if let Some(ban) = ban.filter(|_| !creates) {
                let mut content = object([("membership", "ban".to_owned().into())]);
                content.extend(ban.into_iter().filter(|(field, _)| field == "reason"));
                drafts.push(state(StateEventType::RoomMember, banned.as_str(), content));
            }
        }
        if let Some(levels) = turn.content(&StateEventType::RoomPowerLevels, "").await? {
            let levels = levels::carried(levels, old, user, &self.upgrade.additional_creators, self.rules);
            drafts.push(state(StateEventType::RoomPowerLevels, "", levels));
        }
        Ok(drafts)
    }

    /// Moves the aliases and the place in the directory.
    async fn move_names(&self, turn: &Turn<'_>, new: &Working) -> Result<(), Fault> {
        let (tx, old) = (turn.tx, turn.working.no);
        let range = ROOM_ALIAS.under(&(old,));
        for ((_, alias), ()) in tx.view().scan(&ROOM_ALIAS, range, MAX_ALIASES_PER_ROOM.min(MAX_SCAN)).await? {
            let Some(target) = tx.read(&ALIAS, &(alias.clone(),)).await? else { continue };
            if target.room_id == turn.working.room.room_id {
                tx.put(&ALIAS, &(alias.clone(),), &Alias { room_id: new.room.room_id.clone(), ..target });
                tx.delete(&ROOM_ALIAS, &(old, alias.clone()));
                tx.put(&ROOM_ALIAS, &(new.no, alias), &());
            }
        }
        if tx.read(&PUBLISHED, &(old,)).await?.is_some() {
            tx.delete(&PUBLISHED, &(old,));
            tx.put(&PUBLISHED, &(new.no,), &());
            tx.topic(topic::directory());
        }
        Ok(())
    }

    /// The last events of the old room. Those that the user may not send are left out: only the tombstone is a must.
    async fn ending(
        &self,
        turn: &mut Turn<'_>,
        levels: &PowerLevels,
        new: &Working,
    ) -> Result<Vec<EventDraft>, Refusal> {
        let user = &self.upgrade.user;
        let may = |kind: TimelineEventType| levels.can_send(user, &kind, true);
        let state = |kind, content| EventDraft::state(user.clone(), kind, "", content);
        let tombstone = object([
            ("body", "This room has been replaced".to_owned().into()),
            ("replacement_room", new.room.room_id.to_string().into()),
        ]);
        let mut events = vec![state(StateEventType::RoomTombstone, tombstone)];
        let alias = turn.content(&StateEventType::RoomCanonicalAlias, "").await?;
        if alias.is_some_and(|alias| !alias.is_empty()) && may(TimelineEventType::RoomCanonicalAlias) {
            events.push(state(StateEventType::RoomCanonicalAlias, CanonicalJsonObject::new()));
        }
        if may(TimelineEventType::RoomPowerLevels)
            && let Some(old) = turn.content(&StateEventType::RoomPowerLevels, "").await?
            && let Some(silent) = levels::silenced(old, &levels.user(user))
        {
            events.push(state(StateEventType::RoomPowerLevels, silent));
        }
        Ok(events)
    }
}

impl Turn<'_> {
    /// The content of a state of the room, without what a redaction took.
    async fn content(&mut self, kind: &StateEventType, state_key: &str) -> Result<Option<CanonicalJsonObject>, Fault> {
        let event = self.working.state(self.tx, &kind.to_string(), state_key).await?;
        Ok(event.and_then(|event| event.content_as().ok()))
    }
}

/// Join rules as the new room's version knows them. By a rule that it does not know nobody could enter, not even who is
/// invited.
fn join_rules(mut rules: CanonicalJsonObject, version: &AuthorizationRules) -> CanonicalJsonObject {
    let is_known = match rules.get("join_rule").and_then(CanonicalJsonValue::as_str) {
        Some("public" | "invite") => true,
        Some("knock") => version.knocking,
        Some("restricted") => version.restricted_join_rule,
        Some("knock_restricted") if !version.knock_restricted_join_rule && version.restricted_join_rule => {
            rules.insert("join_rule".to_owned(), "restricted".to_owned().into());
            true
        }
        Some("knock_restricted") => version.knock_restricted_join_rule,
        _ => false,
    };
    if is_known { rules } else { object([("join_rule", "invite".to_owned().into())]) }
}

/// The room that replaced this one, with its version, if both rooms say so: a tombstone alone is only a claim.
async fn successor(turn: &Turn<'_>, tombstone: &Pdu) -> Result<Option<(OwnedRoomId, RoomVersionId)>, Fault> {
    #[derive(Deserialize)]
    struct Content {
        replacement_room: OwnedRoomId,
    }
    let Ok(Content { replacement_room: id }) = tombstone.content_as() else { return Ok(None) };
    // Peeked: the number of a room never changes, nor what it was born with.
    let Some(no) = turn.tx.peek(&ROOM_NO, &(id.clone(),)).await? else { return Ok(None) };
    let Some(room) = turn.tx.peek(&ROOM, &(no,)).await? else { return Ok(None) };
    let replaces = match turn.tx.view().get(&ROOM, &(no,)).await? {
        Some(_) => RoomView::open(turn.tx.view(), no).await?.predecessor().await?,
        // Of this very batch, so by another upgrade of this room.
        None => Some(turn.working.room.room_id.clone()),
    };
    Ok((replaces.as_ref() == Some(&turn.working.room.room_id)).then_some((id, room.version)))
}

/// The state keys of a space's children.
async fn children(room: &RoomView) -> Result<Vec<String>, Fault> {
    let kind = StateEventType::SpaceChild.to_string();
    let rows = room.view.scan(&KEY_NO, KEY_NO.under(&(room.no, kind)), MAX_UPGRADE_STATE).await?;
    Ok(rows.into_iter().map(|((_, _, child), _)| child).collect())
}

/// Who is banned, as far as one batch takes them.
async fn banned(room: &RoomView) -> Result<Vec<OwnedUserId>, Fault> {
    let members = KEY_NO.under(&(room.no, StateEventType::RoomMember.to_string()));
    let (mut pages, mut banned) = (Pages::new(&KEY_NO, members, MAX_SCAN), Vec::new());
    while let Some(rows) = pages.next(&room.view).await? {
        let users = rows.into_iter().filter_map(|((_, _, user), _)| OwnedUserId::try_from(user).ok());
        let keys: Vec<_> = users.map(|user| (user, room.no)).collect();
        let members = room.view.get_many(&MEMBER, &keys).await?;
        let rows = keys.into_iter().zip(members);
        let is_banned = rows.filter(|(_, row)| row.as_ref().is_some_and(|row| row.state == MembershipState::Ban));
        banned.extend(is_banned.map(|((user, _), _)| user));
        if banned.len() > MAX_UPGRADE_BANS {
            tracing::warn!(room = %room.room_id(), "an upgraded room has more bans than are carried over");
            banned.truncate(MAX_UPGRADE_BANS);
            break;
        }
    }
    Ok(banned)
}
