//! Aliases: names of rooms that this server gives.
//!
//! Spec: [room aliases](https://spec.matrix.org/v1.19/client-server-api/#room-aliases).

use std::collections::BTreeSet;

use depesche_rules::{
    bounds::{MAX_ALIASES_PER_ROOM, MAX_ROOM_ALIAS_BYTES},
    build::EventDraft,
};
use futures::future::BoxFuture;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedRoomAliasId, OwnedUserId, RoomAliasId, RoomId, UserId,
    events::{StateEventType, TimelineEventType, room::member::MembershipState},
};

use super::{
    Rooms,
    history::ReadRefusal,
    lane::{Intent, Refusal, Turn, Verdict},
    show::Viewer,
    view::RoomView,
};
use crate::{
    keyspace::{ALIAS, ROOM_ALIAS, RoomNo},
    records::rooms::Alias,
    tx::{Fault, Tx},
};

/// Why an alias is not made or deleted.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AliasError {
    /// It exists.
    #[error("this alias is taken")]
    Taken,
    /// It does not exist.
    #[error("there is no such alias")]
    NotFound,
    /// The room does not exist, or the user has nothing to do with it.
    #[error("{0}")]
    Forbidden(String),
    /// It would not be one of this server's.
    #[error("{0}")]
    Invalid(String),
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Rooms {
    /// The room an alias points to.
    pub async fn resolve_alias(&self, alias: &RoomAliasId) -> Result<Option<Alias>, Fault> {
        self.base.view().get(&ALIAS, &(alias.to_owned(),)).await
    }

    /// Makes an alias of a room that the user is joined to.
    pub async fn create_alias(&self, user: &UserId, alias: &RoomAliasId, room: &RoomId) -> Result<(), AliasError> {
        self.check_alias(alias)?;
        let (alias, creator, room) = (&alias.to_owned(), user, room);
        let view = self.find(room).await?;
        let joined = match &view {
            Some(view) => view.is_joined(user).await?,
            None => false,
        };
        let Some(no) = view.filter(|_| joined).map(|view| view.no) else {
            return Err(AliasError::Forbidden("you are not joined to this room".into()));
        };
        let known = self.base.view().scan(&ROOM_ALIAS, ROOM_ALIAS.under(&(no,)), MAX_ALIASES_PER_ROOM).await?;
        if known.len() >= MAX_ALIASES_PER_ROOM {
            return Err(AliasError::Forbidden("the room has as many aliases as it may have".into()));
        }
        self.base
            .transact(|tx| async move {
                if tx.read(&ALIAS, &(alias.clone(),)).await?.is_some() {
                    return Err(AliasError::Taken);
                }
                let target = Alias { room_id: room.to_owned(), creator: creator.to_owned() };
                tx.put(&ALIAS, &(alias.clone(),), &target);
                tx.put(&ROOM_ALIAS, &(no, alias.clone()), &());
                Ok(())
            })
            .await
    }

    /// Deletes an alias: who made it may, and who may set the room's main alias. The room's own list of aliases, in its
    /// state, is brought up to date if the user may do that.
    pub async fn delete_alias(&self, user: &UserId, alias: &RoomAliasId) -> Result<(), AliasError> {
        let alias = &alias.to_owned();
        let Some(target) = self.resolve_alias(alias).await? else { return Err(AliasError::NotFound) };
        let view = self.find(&target.room_id).await?;
        if target.creator != user && !self.may_name(user, view.as_ref()).await? {
            return Err(AliasError::Forbidden("you may not delete this alias".into()));
        }
        if let Some(view) = &view
            && self.is_named(view, alias).await?
        {
            let unname = Unname { user: user.to_owned(), alias: alias.clone(), target: target.clone() };
            match self.submit(view.room_id(), unname).await {
                Ok(_) => return Ok(()),
                Err(Refusal::Fault(fault)) => return Err(fault.into()),
                // The list in the state is a courtesy of those who may set it; the alias goes all the same.
                Err(_) => {}
            }
        }
        let (target, no) = (&target, view.as_ref().map(|view| view.no));
        let deleted = self.base.transact(|tx| async move { delete(&tx, no, alias, target).await }).await?;
        if deleted { Ok(()) } else { Err(AliasError::NotFound) }
    }

    /// The aliases of a room, for those who are in it, and for everyone where it is world-readable.
    pub async fn aliases_of(&self, viewer: &Viewer<'_>) -> Result<Vec<OwnedRoomAliasId>, ReadRefusal> {
        if viewer.own().is_none_or(|own| own.state != MembershipState::Join) {
            viewer.open_root().await?;
        }
        let no = viewer.room().no;
        let rows = viewer.room().view.scan(&ROOM_ALIAS, ROOM_ALIAS.under(&(no,)), MAX_ALIASES_PER_ROOM).await?;
        Ok(rows.into_iter().map(|((_, alias), ())| alias).collect())
    }

    /// Whether every alias that a new `m.room.canonical_alias` adds points to the room. Of who may not set it nothing is
    /// asked: the room says no, and nobody learns here which rooms and aliases there are.
    pub async fn check_canonical_alias(
        &self,
        user: &UserId,
        room: &RoomId,
        content: &CanonicalJsonObject,
    ) -> Result<(), Refusal> {
        let Some(view) = self.find(room).await? else { return Ok(()) };
        if !self.may_name(user, Some(&view)).await? {
            return Ok(());
        }
        let current = canonical_alias(&view).await?.unwrap_or_default();
        let known: BTreeSet<_> = named(&current).unwrap_or_default().into_iter().collect();
        let wanted: BTreeSet<_> = named(content).map_err(Refusal::InvalidParam)?.into_iter().collect();
        let new: Vec<_> = wanted.difference(&known).map(|alias| (alias.clone(),)).collect();
        if new.len() > MAX_ALIASES_PER_ROOM {
            return Err(Refusal::BadAlias(format!("at most {MAX_ALIASES_PER_ROOM} aliases point to one room")));
        }
        let targets = view.view.get_many(&ALIAS, &new).await?;
        for ((alias,), target) in new.iter().zip(targets) {
            if target.is_none_or(|target| target.room_id != room) {
                return Err(Refusal::BadAlias(format!("{alias} does not point to this room")));
            }
        }
        Ok(())
    }

    /// Whether this server may make an alias, by whichever request.
    pub(crate) fn check_alias(&self, alias: &RoomAliasId) -> Result<(), AliasError> {
        let invalid = |why: &str| Err(AliasError::Invalid(why.to_owned()));
        if alias.server_name() != self.base.name {
            return invalid("this server makes only aliases of its own name");
        }
        if alias.alias().is_empty() || alias.as_str().len() > MAX_ROOM_ALIAS_BYTES {
            return invalid("an alias has between one and 255 bytes");
        }
        if alias.alias().chars().any(|c| c.is_whitespace() || c.is_control() || c == ':') {
            return invalid("an alias has no spaces and no colon in its local part");
        }
        Ok(())
    }

    /// Whether a user's level is enough to set the room's main alias.
    pub(crate) async fn may_name(&self, user: &UserId, view: Option<&RoomView>) -> Result<bool, Fault> {
        let Some(view) = view else { return Ok(false) };
        if !view.is_joined(user).await? {
            return Ok(false);
        }
        let levels = view.power_levels().await?;
        Ok(levels.is_some_and(|levels| levels.can_send(user, &TimelineEventType::RoomCanonicalAlias, true)))
    }

    /// Whether the room's state names an alias.
    async fn is_named(&self, view: &RoomView, alias: &RoomAliasId) -> Result<bool, Fault> {
        let content = canonical_alias(view).await?.unwrap_or_default();
        Ok(named(&content).unwrap_or_default().iter().any(|named| named == alias))
    }
}

/// Deletes an alias. Says no where it is gone, or given to another room, since the right to delete it was looked at.
async fn delete(tx: &Tx, room: Option<RoomNo>, alias: &OwnedRoomAliasId, target: &Alias) -> Result<bool, Fault> {
    if tx.read(&ALIAS, &(alias.clone(),)).await?.as_ref() != Some(target) {
        return Ok(false);
    }
    tx.delete(&ALIAS, &(alias.clone(),));
    if let Some(room) = room {
        tx.delete(&ROOM_ALIAS, &(room, alias.clone()));
    }
    Ok(true)
}

/// Deletes an alias, and takes it out of the room's state in the same batch: out of whatever stands there at its turn,
/// for others may be taken out beside it.
struct Unname {
    user: OwnedUserId,
    alias: OwnedRoomAliasId,
    /// What it points to.
    target: Alias,
}

impl Intent for Unname {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            turn.must_be_joined(&self.user).await?;
            let kind = StateEventType::RoomCanonicalAlias;
            // Asked before anything is written: a refusal behind that begins the batch anew.
            turn.must_reach(&self.user, &TimelineEventType::RoomCanonicalAlias).await?;
            let Some(current) = turn.working.state(turn.tx, &kind.to_string(), "").await? else {
                return Err(Refusal::NotFound("the room has no main alias".into()));
            };
            let before: CanonicalJsonObject = current.content_as().unwrap_or_default();
            let (mut content, gone) = (before.clone(), CanonicalJsonValue::String(self.alias.to_string()));
            content.retain(|field, value| field != "alias" || *value != gone);
            if let Some(CanonicalJsonValue::Array(others)) = content.get_mut("alt_aliases") {
                others.retain(|other| *other != gone);
            }
            if content == before {
                return Err(Refusal::NotFound("the room does not name this alias".into()));
            }
            if !delete(turn.tx, Some(turn.working.no), &self.alias, &self.target).await? {
                return Err(Refusal::NotFound("there is no such alias".into()));
            }
            Ok(Verdict::Append(vec![EventDraft::state(self.user.clone(), kind, "", content)]))
        })
    }
}

/// The content of the room's canonical alias event, if it has one that was not redacted away.
async fn canonical_alias(view: &RoomView) -> Result<Option<CanonicalJsonObject>, Fault> {
    let event = view.state_event(view.root(), "m.room.canonical_alias", "").await?;
    let event = event.map(|event| view.readable(event)).transpose()?;
    Ok(event.and_then(|event| event.content_as().ok()))
}

/// The aliases that a canonical alias event names.
pub(crate) fn named(content: &CanonicalJsonObject) -> Result<Vec<OwnedRoomAliasId>, String> {
    let mut texts: Vec<&CanonicalJsonValue> = content.get("alias").into_iter().collect();
    match content.get("alt_aliases") {
        Some(CanonicalJsonValue::Array(others)) => texts.extend(others),
        Some(_) => return Err("`alt_aliases` is a list of aliases".into()),
        None => {}
    }
    let aliases = texts.into_iter().filter(|alias| **alias != CanonicalJsonValue::Null).map(|alias| match alias {
        // Clients clear the main alias with an empty string.
        CanonicalJsonValue::String(text) if text.is_empty() => Ok(None),
        CanonicalJsonValue::String(text) => match OwnedRoomAliasId::try_from(text.as_str()) {
            Ok(alias) => Ok(Some(alias)),
            Err(_) => Err(format!("{text} is not an alias")),
        },
        _ => Err("an alias is a string".to_owned()),
    });
    aliases.filter_map(Result::transpose).collect()
}
