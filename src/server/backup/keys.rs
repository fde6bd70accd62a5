//! `/room_keys/keys`: storing, reading and deleting backed-up keys, of all rooms, of one, of one session.

use std::collections::BTreeMap;

use depesche_rules::bounds::{
    MAX_BACKUP_BYTES, MAX_BACKUP_SESSIONS, MAX_BACKUP_SESSIONS_PER_REQUEST, MAX_KEY_NAME_BYTES, MAX_KEY_OBJECT_BYTES,
    MAX_ROOM_ID_BYTES,
};
use depesche_store::Range;
use ruma::{
    OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::backup::{KeyBackupData, RoomKeyBackup},
    serde::Raw,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{BackupError, Backups, KeysChanged, Selection, SessionId, number};
use crate::{
    Fault,
    keys::{
        bounds::{BACKUP_BYTES_PER_BATCH, BACKUP_KEYS_PER_BATCH},
        stored,
    },
    keyspace::{BACKUP, BACKUP_HEAD, BACKUP_KEY},
    records::keys::{Backup, BackupHead},
    tx::{Pages, Tx, View},
};

/// How many keys are read at a time.
const PAGE: usize = 1000;
/// How many of them, where they go on to a client.
const SHOWN: usize = 100;

/// Keys of a backup, as they are at one moment.
pub struct KeyPages {
    view: View,
    /// `None` where there can be no key.
    pages: Option<Pages<'static, Row, String>>,
}

/// A stored key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoredKey {
    /// The room.
    pub room: OwnedRoomId,
    /// The session in it.
    pub session: String,
    /// The key, a JSON object.
    pub json: String,
}

impl KeyPages {
    /// Some of the keys, behind those before; `None` if there are no more.
    pub async fn next(&mut self) -> Result<Option<Vec<StoredKey>>, Fault> {
        let Some(pages) = &mut self.pages else { return Ok(None) };
        let Some(rows) = pages.next(&self.view).await? else { return Ok(None) };
        let keys = rows.into_iter().map(|((_, _, room, session), json)| StoredKey { room, session, json });
        Ok(Some(keys.collect()))
    }
}

/// What decides between two keys of one session.
#[derive(Deserialize)]
struct Facts<'a> {
    first_message_index: ruma::UInt,
    forwarded_count: ruma::UInt,
    is_verified: bool,
    #[serde(borrow)]
    session_data: &'a RawValue,
}

/// A key to store.
type NewKey<'a> = (SessionId, &'a str);
/// The row of a key.
type Row = (OwnedUserId, u64, OwnedRoomId, String);

impl Backups {
    /// Stores keys in the current version. Of two keys of one session the better one stays.
    pub async fn put_keys(
        &self,
        user: &UserId,
        version: &str,
        rooms: &BTreeMap<OwnedRoomId, RoomKeyBackup>,
    ) -> Result<KeysChanged, BackupError> {
        let version = number(version)?;
        let keys = check(rooms)?;
        let _turn = self.turns.of(user).await;
        let mut batches = batches(&keys);
        // An upload of no keys still answers for its version.
        let mut changed = self.put_batch(user, version, batches.next().unwrap_or_default()).await?;
        for batch in batches {
            changed = self.put_batch(user, version, batch).await?;
        }
        Ok(changed)
    }

    async fn put_batch(&self, user: &UserId, version: u64, keys: &[NewKey<'_>]) -> Result<KeysChanged, BackupError> {
        let rows: &Vec<Row> = &keys
            .iter()
            .map(|((room, session), _)| (user.to_owned(), version, room.clone(), session.clone()))
            .collect();
        self.base
            .transact(|tx| async move {
                let (mut head, mut backup) = current(&tx, user, version).await?;
                let existing = tx.view().get_many(&BACKUP_KEY, rows).await?;
                let (etag, others) = (backup.etag, head.bytes.saturating_sub(backup.bytes));
                for ((row, (_, text)), old) in rows.iter().zip(keys).zip(existing) {
                    if old.as_ref().is_none_or(|old| is_better(text, old)) {
                        tx.put(&BACKUP_KEY, row, &(*text).to_owned());
                        backup.etag = etag + 1;
                        backup.count += u64::from(old.is_none());
                        let replaced = old.map_or(0, |old| old.len() as u64);
                        backup.bytes = (backup.bytes + text.len() as u64).saturating_sub(replaced);
                    }
                }
                if backup.etag == etag {
                    return Ok(KeysChanged::from(&backup));
                }
                head.bytes = others + backup.bytes;
                if backup.count > MAX_BACKUP_SESSIONS || head.bytes > MAX_BACKUP_BYTES {
                    return Err(BackupError::Full);
                }
                tx.put(&BACKUP, &(user.to_owned(), version), &backup);
                tx.put(&BACKUP_HEAD, &(user.to_owned(),), &head);
                Ok(KeysChanged::from(&backup))
            })
            .await
    }

    /// The keys of a version, by room and session, in pages: a backup is larger than what is held in memory for one
    /// answer.
    pub async fn keys(&self, user: &UserId, version: &str, selection: Selection<'_>) -> Result<KeyPages, BackupError> {
        let version = number(version)?;
        let view = self.base.view();
        view.get(&BACKUP, &(user.to_owned(), version)).await?.ok_or(BackupError::NoBackup)?;
        let pages = range(user, version, selection).map(|range| Pages::new(&BACKUP_KEY, range, SHOWN));
        Ok(KeyPages { view, pages })
    }

    /// The key of a session.
    pub async fn key(
        &self,
        user: &UserId,
        version: &str,
        room: &RoomId,
        session: &str,
    ) -> Result<Raw<KeyBackupData>, BackupError> {
        let version = number(version)?;
        let view = self.base.view();
        view.get(&BACKUP, &(user.to_owned(), version)).await?.ok_or(BackupError::NoBackup)?;
        if !fits(room, session) {
            return Err(BackupError::NoKey);
        }
        let row = (user.to_owned(), version, room.to_owned(), session.to_owned());
        let text = view.get(&BACKUP_KEY, &row).await?.ok_or(BackupError::NoKey)?;
        Ok(stored(text)?)
    }

    /// Deletes keys of a version, be it the current one or not.
    pub async fn delete_keys(
        &self,
        user: &UserId,
        version: &str,
        selection: Selection<'_>,
    ) -> Result<KeysChanged, BackupError> {
        let version = number(version)?;
        let _turn = self.turns.of(user).await;
        let row = &(user.to_owned(), version);
        self.base
            .transact(|tx| async move {
                let mut backup = tx.read(&BACKUP, row).await?.ok_or(BackupError::NoBackup)?;
                let Some(range) = range(user, version, selection) else { return Ok(KeysChanged::from(&backup)) };
                let (found, bytes) = count_keys(tx.view(), range.clone()).await?;
                if found > 0 {
                    tx.delete_range(range);
                    let bytes = bytes.min(backup.bytes);
                    backup.count = backup.count.saturating_sub(found);
                    backup.bytes -= bytes;
                    backup.etag += 1;
                    tx.put(&BACKUP, row, &backup);
                    let of_user = (user.to_owned(),);
                    let mut head = tx.read(&BACKUP_HEAD, &of_user).await?.unwrap_or_default();
                    head.bytes = head.bytes.saturating_sub(bytes);
                    tx.put(&BACKUP_HEAD, &of_user, &head);
                }
                Ok(KeysChanged::from(&backup))
            })
            .await
    }
}

/// The version, if it is the one that takes keys; with the requirement that it stays so.
async fn current(tx: &Tx, user: &UserId, version: u64) -> Result<(BackupHead, Backup), BackupError> {
    let head = tx.read(&BACKUP_HEAD, &(user.to_owned(),)).await?.ok_or(BackupError::NoBackup)?;
    let backup = tx.read(&BACKUP, &(user.to_owned(), version)).await?.ok_or(BackupError::NoBackup)?;
    let current = head.current.ok_or(BackupError::NoBackup)?;
    if current == version {
        Ok((head, backup))
    } else {
        Err(BackupError::WrongVersion { current: current.to_string() })
    }
}

fn check(rooms: &BTreeMap<OwnedRoomId, RoomKeyBackup>) -> Result<Vec<NewKey<'_>>, BackupError> {
    if rooms.values().map(|backup| backup.sessions.len()).sum::<usize>() > MAX_BACKUP_SESSIONS_PER_REQUEST {
        return Err(BackupError::TooLarge("the request"));
    }
    let mut keys = Vec::new();
    for (room, backup) in rooms {
        for (session, key) in &backup.sessions {
            let text = key.json().get();
            if !fits(room, session) || text.len() > MAX_KEY_OBJECT_BYTES {
                return Err(BackupError::TooLarge("a key"));
            }
            if !Facts::read(text).is_some_and(|facts| facts.session_data.get().starts_with('{')) {
                return Err(BackupError::Malformed(format!("the key of session {session} in {room} is malformed")));
            }
            keys.push(((room.clone(), session.clone()), text));
        }
    }
    Ok(keys)
}

/// Whether the names can stand in a row's key.
fn fits(room: &RoomId, session: &str) -> bool {
    room.as_str().len() <= MAX_ROOM_ID_BYTES && session.len() <= MAX_KEY_NAME_BYTES
}

/// Parts that each fit into a batch.
fn batches<'a, 'k>(keys: &'a [NewKey<'k>]) -> impl Iterator<Item = &'a [NewKey<'k>]> {
    let mut rest = keys;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(BACKUP_KEYS_PER_BATCH).take_while(|(_, text)| {
            bytes += text.len();
            bytes <= BACKUP_BYTES_PER_BATCH
        });
        let (batch, behind) = rest.split_at(fitting.count());
        rest = behind;
        (!batch.is_empty()).then_some(batch)
    })
}

/// The rows of a selection; `None` if there can be none.
fn range(user: &UserId, version: u64, selection: Selection<'_>) -> Option<Range> {
    match selection {
        Selection::All => Some(BACKUP_KEY.under(&(user.to_owned(), version))),
        Selection::Room(room) => fits(room, "").then(|| BACKUP_KEY.under(&(user.to_owned(), version, room.to_owned()))),
        Selection::Session(room, session) => fits(room, session).then(|| {
            let key = BACKUP_KEY.key(&(user.to_owned(), version, room.to_owned(), session.to_owned()));
            // Nothing begins with a whole key but the key.
            Range::prefix(key)
        }),
    }
}

/// How many keys there are, and how many bytes they have.
async fn count_keys(view: &View, range: Range) -> Result<(u64, u64), Fault> {
    let (mut pages, mut found, mut bytes) = (Pages::new(&BACKUP_KEY, range, PAGE), 0, 0);
    while let Some(rows) = pages.next(view).await? {
        found += rows.len() as u64;
        bytes += rows.iter().map(|(_, text)| text.len() as u64).sum::<u64>();
    }
    Ok((found, bytes))
}

impl<'a> Facts<'a> {
    fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Whether a new key replaces the stored one: verified before not, then the lower index, then the fewer hands it went
/// through.
fn is_better(new: &str, old: &str) -> bool {
    let rank = |text| {
        let facts = Facts::read(text)?;
        Some((!facts.is_verified, facts.first_message_index, facts.forwarded_count))
    };
    match (rank(new), rank(old)) {
        (Some(new), Some(old)) => new < old,
        (new, _) => new.is_some(),
    }
}
