//! Account data: what clients keep on the server for themselves, global or for a room. Tags are account data as well.
//!
//! Each entry knows the position of its last change, and a log orders a user's entries by it: `/sync` reads what changed
//! since a token without looking at the rest.
//!
//! Spec: [client config](https://spec.matrix.org/v1.19/client-server-api/#client-config),
//! [room tagging](https://spec.matrix.org/v1.19/client-server-api/#room-tagging).

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use depesche_rules::{
    bounds::{MAX_EVENT_TYPE_BYTES, MAX_IGNORED_USERS, MAX_TAG_BYTES, MAX_TAGS_PER_ROOM},
    push,
};
use depesche_store::{MAX_SCAN, MAX_VALUE, Position, Stamp, StampAt};
use ruma::{OwnedUserId, UserId, events::push_rules::PushRulesEventContent, serde::Raw};
use serde::Deserialize;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{
    Base, Fault,
    codec::KeyPart,
    keyspace::{ACCOUNT_DATA, ACCOUNT_DATA_BYTES, ACCOUNT_DATA_COUNT, ACCOUNT_DATA_LOG, RoomNo},
    records::accounts::AccountData as Record,
    topic,
    turns::{Held, Turns},
    tx::{Tx, View},
};

/// The room number of global account data; no room has it.
pub const GLOBAL: RoomNo = 0;
/// The type of push rules. Users who changed none have the default ones, which are not stored.
pub const PUSH_RULES: &str = "m.push_rules";
/// The type of a room's tags.
pub const TAG: &str = "m.tag";
/// The type of the list of users whose events are not shown.
pub const IGNORED_USER_LIST: &str = "m.ignored_user_list";
/// The type of a user's wish to get no invites.
const INVITE_PERMISSION: &str = "m.invite_permission_config";
/// The global types that change what the user has in every room: push rules, then whom they ignore.
pub const BEAR_ON_ROOMS: [&str; 2] = [PUSH_RULES, IGNORED_USER_LIST];
/// Types that only the server writes.
const SERVER_TYPES: [&str; 2] = [PUSH_RULES, "m.fully_read"];
/// The most bytes of an entry: what the store takes as one value. The operator may set less.
const MAX_CONTENT_BYTES: usize = MAX_VALUE - Record::OVERHEAD;

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The room, or [`GLOBAL`].
    pub room: RoomNo,
    /// Its type.
    pub kind: String,
    /// Its content, a JSON object.
    pub content: Box<RawValue>,
}

impl Entry {
    /// The entry as an event, as `/sync` shows it.
    pub fn event<T>(&self) -> Raw<T> {
        let kind = Value::from(self.kind.as_str());
        let event = format!(r#"{{"type":{kind},"content":{}}}"#, self.content);
        Raw::from_json(RawValue::from_string(event).expect("a JSON string and a JSON value make a JSON object"))
    }
}

/// Why an entry is not set or found.
#[derive(Debug, thiserror::Error)]
pub enum AccountDataError {
    /// The user has none of this type.
    #[error("there is no such account data")]
    NotFound,
    /// Only the server writes this type.
    #[error("account data of this type is written by the server")]
    ServerControlled,
    /// The content is not a JSON object.
    #[error("account data must be a JSON object")]
    NotAnObject,
    /// The type or the content is larger than we keep.
    #[error("account data may have at most {MAX_CONTENT_BYTES} bytes, and its type {MAX_EVENT_TYPE_BYTES}")]
    TooLarge,
    /// The user has as many entries, or as many bytes of them, as we keep.
    #[error("there is too much account data")]
    TooMany,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a tag is not set.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The name is longer than 255 bytes.
    #[error("a tag may have at most {MAX_TAG_BYTES} bytes")]
    TooLong,
    /// The room has as many tags as we keep.
    #[error("a room may have at most {MAX_TAGS_PER_ROOM} tags")]
    TooMany,
    /// The tags together do not fit.
    #[error(transparent)]
    AccountData(#[from] AccountDataError),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The account data of this server's users.
pub struct AccountData {
    base: Arc<Base>,
    turns: Turns,
}

impl AccountData {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base, turns: Turns::default() }
    }

    /// A user's turn to change their account data: each new entry rewrites how many there are, each push rule all of
    /// them. Whoever uses [`Self::put`] has it.
    pub async fn turn(&self, user: &UserId) -> Held<'_> {
        self.turns.of(user).await
    }

    /// Sets an entry on a client's word.
    pub async fn set(
        &self,
        user: &UserId,
        room: RoomNo,
        kind: &str,
        content: &RawValue,
    ) -> Result<(), AccountDataError> {
        if SERVER_TYPES.contains(&kind) {
            return Err(AccountDataError::ServerControlled);
        }
        let _turn = self.turn(user).await;
        self.base.transact(|tx| async move { self.put(&tx, user, room, kind, content).await }).await
    }

    /// An entry.
    pub async fn get(
        &self,
        view: &View,
        user: &UserId,
        room: RoomNo,
        kind: &str,
    ) -> Result<Box<RawValue>, AccountDataError> {
        let key = (user.to_owned(), room, kind.to_owned());
        match view.get(&ACCOUNT_DATA, &key).await? {
            Some(record) => Ok(raw(&key, record)?),
            None if room == GLOBAL && kind == PUSH_RULES => Ok(push_rules(user, None)?),
            None => Err(AccountDataError::NotFound),
        }
    }

    /// All entries of a user, default push rules included: those of a first `/sync`.
    pub async fn all(&self, view: &View, user: &UserId) -> Result<Vec<Entry>, Fault> {
        let rows = view.scan(&ACCOUNT_DATA, ACCOUNT_DATA.under(&(user.to_owned(),)), MAX_SCAN).await?;
        let mut entries = Vec::with_capacity(rows.len() + 1);
        for (key, record) in rows {
            let content = raw(&key, record)?;
            entries.push(Entry { room: key.1, kind: key.2, content });
        }
        if !entries.iter().any(|entry| entry.room == GLOBAL && entry.kind == PUSH_RULES) {
            entries.push(Entry { room: GLOBAL, kind: PUSH_RULES.to_owned(), content: push_rules(user, None)? });
        }
        Ok(entries)
    }

    /// The entries of one room.
    pub async fn of_room(&self, view: &View, user: &UserId, room: RoomNo) -> Result<Vec<Entry>, Fault> {
        let rows = view.scan(&ACCOUNT_DATA, ACCOUNT_DATA.under(&(user.to_owned(), room)), MAX_SCAN).await?;
        let entries = rows.into_iter().map(|(key, record)| {
            let content = raw(&key, record)?;
            Ok(Entry { room, kind: key.2, content })
        });
        entries.collect()
    }

    /// The entries that changed after a position, each once, in the order of their changes.
    pub async fn changed_since(&self, view: &View, user: &UserId, since: Position) -> Result<Vec<Entry>, Fault> {
        let of_user = (user.to_owned(),);
        let first = (user.to_owned(), Position(since.0.saturating_add(1)), GLOBAL, String::new());
        let changed = view.scan(&ACCOUNT_DATA_LOG, ACCOUNT_DATA_LOG.from(&of_user, &first), MAX_SCAN).await?;
        let keys: Vec<_> = changed.into_iter().map(|((user, _, room, kind), ())| (user, room, kind)).collect();
        let records = view.get_many(&ACCOUNT_DATA, &keys).await?;
        let entries = keys.into_iter().zip(records).filter_map(|(key, record)| {
            // An entry of the log without its row cannot be; if it were, there would be nothing to show.
            let content = raw(&key, record?);
            Some(content.map(|content| Entry { room: key.1, kind: key.2, content }))
        });
        entries.collect()
    }

    /// The tags of a room: a JSON object of objects.
    pub async fn tags(&self, view: &View, user: &UserId, room: RoomNo) -> Result<Map<String, Value>, Fault> {
        Ok(tags(view.get(&ACCOUNT_DATA, &(user.to_owned(), room, TAG.to_owned())).await?))
    }

    /// Puts a tag on a room, with whatever a client says of it: clients order their rooms by it, the server does not.
    pub async fn set_tag(
        &self,
        user: &UserId,
        room: RoomNo,
        tag: &str,
        info: &Map<String, Value>,
    ) -> Result<(), TagError> {
        if tag.len() > MAX_TAG_BYTES {
            return Err(TagError::TooLong);
        }
        let info = &Value::Object(info.clone());
        self.change_tags(user, room, |tags| {
            tags.insert(tag.to_owned(), info.clone());
        })
        .await
    }

    /// Takes a tag off a room.
    pub async fn remove_tag(&self, user: &UserId, room: RoomNo, tag: &str) -> Result<(), TagError> {
        self.change_tags(user, room, |tags| {
            tags.remove(tag);
        })
        .await
    }

    async fn change_tags(
        &self,
        user: &UserId,
        room: RoomNo,
        change: impl Fn(&mut Map<String, Value>),
    ) -> Result<(), TagError> {
        let (key, change) = (&(user.to_owned(), room, TAG.to_owned()), &change);
        let _turn = self.turn(user).await;
        self.base
            .transact(|tx| async move {
                let before = tags(tx.read(&ACCOUNT_DATA, key).await?);
                let mut after = before.clone();
                change(&mut after);
                if after == before {
                    return Ok(());
                }
                if after.len() > MAX_TAGS_PER_ROOM {
                    return Err(TagError::TooMany);
                }
                let content = to_raw(&Map::from_iter([("tags".to_owned(), Value::Object(after))]))?;
                Ok(self.put(&tx, user, room, TAG, &content).await?)
            })
            .await
    }

    /// Puts an entry into a batch, whatever its type: for the parts of the server that own a type.
    pub async fn put(
        &self,
        tx: &Tx,
        user: &UserId,
        room: RoomNo,
        kind: &str,
        content: &RawValue,
    ) -> Result<(), AccountDataError> {
        if !content.get().starts_with('{') {
            return Err(AccountDataError::NotAnObject);
        }
        let most = MAX_CONTENT_BYTES.min(self.base.config.limits.account_data_kb * 1024);
        if content.get().len() > most || kind.len() > MAX_EVENT_TYPE_BYTES {
            return Err(AccountDataError::TooLarge);
        }
        let key = (user.to_owned(), room, kind.to_owned());
        let old = tx.read(&ACCOUNT_DATA, &key).await?;
        let before = old.as_ref().map_or(0, |old| old.content.len());
        self.weigh(tx, user, before as u64, content.get().len() as u64).await?;
        match old {
            Some(old) => tx.delete(&ACCOUNT_DATA_LOG, &(key.0.clone(), old.position, room, kind.to_owned())),
            None => self.count_one_more(tx, user).await?,
        }
        let record = Record { position: Position::default(), content: content.get().to_owned() };
        tx.put_stamped_value(&ACCOUNT_DATA, &key, &record, vec![Record::POSITION]);
        let logged = (key.0, Position::default(), room, key.2);
        tx.put_stamped(&ACCOUNT_DATA_LOG, &logged, &(), vec![position_in_log(user)]);
        // What the user's rooms count, and whose events are shown there, is kept; nothing else that is kept depends on
        // account data. Clients move a marker with each message that is read: their rooms are not gone through for that.
        let bears_on_rooms = room == GLOBAL && BEAR_ON_ROOMS.contains(&kind);
        tx.topic(if bears_on_rooms { topic::user(user) } else { topic::account_data(user) });
        Ok(())
    }

    async fn count_one_more(&self, tx: &Tx, user: &UserId) -> Result<(), AccountDataError> {
        let of_user = (user.to_owned(),);
        let count = tx.read(&ACCOUNT_DATA_COUNT, &of_user).await?.unwrap_or_default();
        // One scan reads them all, whatever the operator allows.
        let most = self.base.config.limits.account_data_per_user.min(MAX_SCAN);
        if usize::try_from(count).is_ok_and(|count| count >= most) {
            return Err(AccountDataError::TooMany);
        }
        tx.put(&ACCOUNT_DATA_COUNT, &of_user, &(count + 1));
        Ok(())
    }

    /// Counts an entry that had `before` bytes and gets `after`. What gets smaller always may.
    async fn weigh(&self, tx: &Tx, user: &UserId, before: u64, after: u64) -> Result<(), AccountDataError> {
        if before == after {
            return Ok(());
        }
        let of_user = (user.to_owned(),);
        let all = match tx.read(&ACCOUNT_DATA_BYTES, &of_user).await? {
            Some(bytes) => bytes,
            // Of a user whom nobody has counted yet.
            None => bytes_of(tx.view(), user).await?,
        };
        let all = all.saturating_sub(before).saturating_add(after);
        let most = self.base.config.limits.account_data_mb_per_user << 20;
        if after > before && all > most {
            return Err(AccountDataError::TooMany);
        }
        tx.put(&ACCOUNT_DATA_BYTES, &of_user, &all);
        Ok(())
    }
}

/// How many bytes a user's entries have together.
async fn bytes_of(view: &View, user: &UserId) -> Result<u64, Fault> {
    let rows = view.scan(&ACCOUNT_DATA, ACCOUNT_DATA.under(&(user.to_owned(),)), MAX_SCAN).await?;
    Ok(rows.iter().map(|(_, record)| record.content.len() as u64).sum())
}

/// Whom a user ignores: the users of `m.ignored_user_list`, at most [`MAX_IGNORED_USERS`]. What is no list of users is an
/// empty one.
pub async fn ignored_users(view: &View, user: &UserId) -> Result<BTreeSet<OwnedUserId>, Fault> {
    let record = view.get(&ACCOUNT_DATA, &(user.to_owned(), GLOBAL, IGNORED_USER_LIST.to_owned())).await?;
    Ok(users_of(record, user))
}

/// As [`ignored_users`], from the stored list.
pub fn users_of(record: Option<Record>, user: &UserId) -> BTreeSet<OwnedUserId> {
    #[derive(Deserialize)]
    struct Content {
        ignored_users: Map<String, Value>,
    }

    let content = record.and_then(|record| serde_json::from_str::<Content>(&record.content).ok());
    let names = content.into_iter().flat_map(|content| content.ignored_users.into_iter().map(|(name, _)| name));
    // Who ignores themselves would miss what they say.
    let users = names.filter_map(|name| OwnedUserId::try_from(name).ok()).filter(|ignored| ignored != user);
    users.take(MAX_IGNORED_USERS).collect()
}

/// Whether a user takes no invites, by `m.invite_permission_config`. A value that is not understood takes them.
///
/// Spec: [invite permission](https://spec.matrix.org/v1.19/client-server-api/#invite-permission).
pub async fn blocks_invites(view: &View, user: &UserId) -> Result<bool, Fault> {
    let record = view.get(&ACCOUNT_DATA, &(user.to_owned(), GLOBAL, INVITE_PERMISSION.to_owned())).await?;
    let content = record.and_then(|record| serde_json::from_str::<Map<String, Value>>(&record.content).ok());
    Ok(content.is_some_and(|content| content.get("default_action").is_some_and(|action| action == "block")))
}

/// Puts the end of a user's account data into the batch.
pub(crate) fn forget(tx: &Tx, user: &UserId) {
    let of_user = (user.to_owned(),);
    tx.delete_range(ACCOUNT_DATA.under(&of_user));
    tx.delete_range(ACCOUNT_DATA_LOG.under(&of_user));
    tx.delete(&ACCOUNT_DATA_COUNT, &of_user);
    tx.delete(&ACCOUNT_DATA_BYTES, &of_user);
}

/// Where the position stands in a key of the log: behind the table's number and the user.
fn position_in_log(user: &UserId) -> Stamp {
    let mut before = vec![ACCOUNT_DATA_LOG.number];
    user.to_owned().write(&mut before);
    Stamp { at: StampAt::Key, offset: before.len() }
}

fn tags(record: Option<Record>) -> Map<String, Value> {
    // A client may have written something else under this type: it then has no tags.
    let content = record.and_then(|record| serde_json::from_str::<Map<String, Value>>(&record.content).ok());
    match content.and_then(|mut content| content.remove("tags")) {
        Some(Value::Object(tags)) => tags,
        _ => Map::new(),
    }
}

fn raw(key: &(ruma::OwnedUserId, RoomNo, String), record: Record) -> Result<Box<RawValue>, Fault> {
    if key.1 == GLOBAL && key.2 == PUSH_RULES {
        return push_rules(&key.0, Some(&record.content));
    }
    let corrupt = |_| Fault::Corrupt { table: ACCOUNT_DATA.name, key: ACCOUNT_DATA.key(key) };
    RawValue::from_string(record.content).map_err(corrupt)
}

/// The server's default rules may have changed since the user's were stored.
fn push_rules(user: &UserId, stored: Option<&str>) -> Result<Box<RawValue>, Fault> {
    to_raw(&PushRulesEventContent { global: push::effective(stored, user) })
}

fn to_raw(value: &impl serde::Serialize) -> Result<Box<RawValue>, Fault> {
    to_raw_value(value).map_err(|error| Fault::Bug(format!("our own account data is no JSON: {error}")))
}
