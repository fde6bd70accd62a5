//! Whose keys changed, and who must hear of it.
//!
//! `KEY_HEAD` has one row a user, with the position of the last change; `KEY_LOG` has the same rows by position, so that
//! a sync costs what changed since its token. What other users may see of a change is the same for all of them but one
//! thing: a signature on another user's key, which its signer alone sees (`SIGNED_HEAD`, `SIGNED_LOG`).
//!
//! Spec: [tracking the device list for a
//! user](https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user).

use std::collections::BTreeSet;

use depesche_store::{MAX_SCAN, Position, Range, Stamp, StampAt};
use ruma::{DeviceId, OwnedUserId, UserId, events::room::member::MembershipState};

use super::{Keys, bounds::MAX_WOKEN_ROOMS};
use crate::{
    Fault,
    keyspace::{DEVICE_KEYS, KEY_HEAD, KEY_LOG, MEMBER, SIGNED_HEAD, SIGNED_LOG},
    topic,
    tx::{Tx, View},
};

/// Entries of the log that are read at a time.
const PAGE: usize = 1000;
/// The commit position at the start of a value.
const HEAD_POSITION: Stamp = Stamp { at: StampAt::Value, offset: 0 };

/// Says, in the batch that changes them, that a user's devices or cross-signing keys are no longer what they were. Needs
/// to be called once a batch; more often does no harm.
///
/// Later: the same batch leaves an outbox row for each server that shares a room with the user.
pub async fn touch(tx: &Tx, user: &UserId) -> Result<(), Fault> {
    let head = tx.read(&KEY_HEAD, &(user.to_owned(),)).await?;
    if head == Some(0) {
        // This batch's own row, not stamped yet.
        return Ok(());
    }
    if let Some(head) = head {
        tx.delete(&KEY_LOG, &(Position(head), user.to_owned()));
    }
    tx.put_stamped_value(&KEY_HEAD, &(user.to_owned(),), &0, vec![HEAD_POSITION]);
    let order = Stamp { at: StampAt::Key, offset: KEY_LOG.under(&()).from.len() };
    tx.put_stamped(&KEY_LOG, &(Position(0), user.to_owned()), &(), vec![order]);
    tx.topic(topic::keys());
    tx.topic(topic::user(user));
    // From the snapshot: who joins a room meanwhile is announced to its members by the join itself.
    let rooms = tx.view().scan(&MEMBER, MEMBER.under(&(user.to_owned(),)), MAX_SCAN).await?;
    let joined = rooms.iter().filter(|(_, member)| member.state == MembershipState::Join);
    for ((_, room), _) in joined.take(MAX_WOKEN_ROOMS) {
        tx.topic(topic::keys_in_room(*room));
    }
    Ok(())
}

/// Says that a device has another name: that is part of what others see of its keys.
pub async fn touch_renamed(tx: &Tx, user: &UserId, device: &DeviceId) -> Result<(), Fault> {
    // From the snapshot: keys that are uploaded meanwhile are a change of their own.
    let keys = tx.view().get(&DEVICE_KEYS, &(user.to_owned(), device.to_owned())).await?;
    if keys.is_some() { touch(tx, user).await } else { Ok(()) }
}

/// Says that a signer sees another user's keys differently now. Once a batch for each pair.
pub(super) async fn touch_signed(tx: &Tx, signer: &UserId, target: &UserId) -> Result<(), Fault> {
    let pair = (signer.to_owned(), target.to_owned());
    if let Some(head) = tx.read(&SIGNED_HEAD, &pair).await? {
        tx.delete(&SIGNED_LOG, &(pair.0.clone(), Position(head), pair.1.clone()));
    }
    tx.put_stamped_value(&SIGNED_HEAD, &pair, &0, vec![HEAD_POSITION]);
    let order = Stamp { at: StampAt::Key, offset: SIGNED_LOG.under(&(pair.0.clone(),)).from.len() };
    tx.put_stamped(&SIGNED_LOG, &(pair.0, Position(0), pair.1), &(), vec![order]);
    tx.topic(topic::user(signer));
    Ok(())
}

impl Keys {
    /// The users of this server whose keys changed above a position, in the order of their last change, if they are no
    /// more than `most`: reads one more than that.
    pub async fn changed_since(
        &self,
        view: &View,
        since: Position,
        most: usize,
    ) -> Result<Option<Vec<OwnedUserId>>, Fault> {
        let mut range = Range::new(KEY_LOG.under(&(after(since),)).from, KEY_LOG.under(&()).to);
        let mut users = Vec::new();
        loop {
            let limit = (most + 1 - users.len()).min(PAGE);
            let rows = view.scan(&KEY_LOG, range.clone(), limit).await?;
            let is_last = rows.len() < limit;
            if let Some((last, ())) = rows.last() {
                range.from = [&KEY_LOG.key(last), &[0][..]].concat().into();
            }
            users.extend(rows.into_iter().map(|((_, user), ())| user));
            if users.len() > most {
                return Ok(None);
            }
            if is_last {
                return Ok(Some(users));
            }
        }
    }

    /// Of these users, and of `viewer`: those whose keys are no longer what `viewer` could see at a position. Of those
    /// who share a room with `viewer` this is `device_lists.changed` of `/sync` and `changed` of `/keys/changes`, but
    /// for users who began to share a room since.
    ///
    /// Costs the users; who knows a shorter way to find them takes it before.
    pub async fn changed_among(
        &self,
        view: &View,
        viewer: &UserId,
        since: Position,
        sharing: &BTreeSet<OwnedUserId>,
    ) -> Result<BTreeSet<OwnedUserId>, Fault> {
        let mut changed = self.signed_since(view, viewer, since).await?;
        let asked: Vec<_> = sharing.iter().cloned().chain([viewer.to_owned()]).map(|user| (user,)).collect();
        let heads = view.get_many(&KEY_HEAD, &asked).await?;
        let newer = asked.into_iter().zip(heads).filter(|(_, head)| head.is_some_and(|head| head > since.0));
        changed.extend(newer.map(|((user,), _)| user));
        Ok(changed)
    }

    /// The users whom `signer` signed above a position.
    async fn signed_since(
        &self,
        view: &View,
        signer: &UserId,
        since: Position,
    ) -> Result<BTreeSet<OwnedUserId>, Fault> {
        let from = SIGNED_LOG.under(&(signer.to_owned(), after(since))).from;
        let range = Range::new(from, SIGNED_LOG.under(&(signer.to_owned(),)).to);
        let rows = view.scan(&SIGNED_LOG, range, MAX_SCAN).await?;
        Ok(rows.into_iter().map(|((_, _, signed), ())| signed).collect())
    }
}

/// The first position above another.
fn after(position: Position) -> Position {
    Position(position.0.saturating_add(1))
}
