//! What a copy of the database needs before clients reach it: the original went on after the copy was made, and clients
//! know things of which the copy has never heard.
//!
//! - **Positions**: the engine has raised them. [`Restored`] keeps where, so that a sync token of the lost time is known as
//!   such: its client is told everything anew.
//! - **One-time keys**: some of those that wait in the copy were handed out meanwhile, and none may be handed out twice.
//!   All of them go, and their ids stay as those of claimed keys. Each client learns that it has none left, and uploads
//!   others.
//! - **Fallback keys** may be handed out more than once, and stay: a device that is away can still be reached. They are
//!   marked as used, so that a client which has others meanwhile uploads one.
//! - **Device lists**: those of all users count as changed, so that each client asks for them again.
//! - **To-device messages** that wait stay. Those that a client was given in the lost time go with its next request, whose
//!   token is above them.
//! - **Tokens** that were made in the lost time are unknown. For a month a token that is unknown is taken for one of those,
//!   and its client told to keep its keys while its user logs in again ([`Restored::spares_until_ms`]).
//!
//! All of it can be done again: what was interrupted is begun anew.

use std::{collections::BTreeSet, time::Instant};

use depesche_store::{MAX_SCAN, Position, Stamp, StampAt, reserved::Positions};
use ruma::OwnedUserId;

use crate::{
    base::Base,
    keys,
    keyspace::{KEY_HEAD, RESTORED, STOCK},
    tx::{Fault, Pages, View},
};

/// A batch takes no further device or user once it has so many bytes.
const BYTES: usize = 512 << 10;
/// A batch takes at most so many users: each announces the rooms it is in.
const USERS: usize = 2;
/// Rows read at a time.
const PAGE: usize = 500;
/// For how long after a restore an unknown token is taken for one of the lost time: by then clients have been there.
const SPARED_MS: u64 = 30 * 24 * 3_600_000;
/// How often the log says how far it is, in seconds.
const SAY_EVERY_S: u64 = 5;

/// The stretches of positions that an original handed out and that this database, a copy, knows nothing of.
#[derive(Clone, Debug, Default)]
pub struct Restored(Vec<(Position, Position)>);

impl Restored {
    /// As the database has them.
    pub async fn load(view: &View) -> Result<Self, Fault> {
        // One row a restore: nobody restores so often that it would not be all.
        let rows = view.scan(&RESTORED, RESTORED.under(&()), MAX_SCAN).await?;
        Ok(Self(rows.into_iter().map(|((begins,), shared)| (Position(shared), begins)).collect()))
    }

    /// Until when (in milliseconds since 1970) an unknown token may be one of the lost time; 0 if there was none.
    pub fn spares_until_ms(&self) -> u64 {
        let restored = self.0.iter().map(|(_, begins)| Positions::restored_ms(*begins)).max();
        restored.map_or(0, |restored| restored.saturating_add(SPARED_MS))
    }

    /// Whether a position was handed out by an original after this copy of it was made.
    pub fn lost(&self, position: Position) -> bool {
        self.0.iter().any(|(shared, begins)| *shared < position && position < *begins)
    }
}

/// Makes a copy fit to go on. `shared` is the newest change that the original had when the copy was made.
pub async fn adopt(base: &Base, shared: Position) -> Result<(), Fault> {
    let tx = base.tx();
    let begins = Stamp { at: StampAt::Key, offset: RESTORED.under(&()).from.len() };
    tx.put_stamped(&RESTORED, &(Position(0),), &shared.0, vec![begins]);
    base.commit(&tx).await?;
    let devices = renew_keys(base).await?;
    let users = change_device_lists(base).await?;
    tracing::info!(devices, users, "a restored copy goes on: one-time keys dropped, device lists marked as changed");
    Ok(())
}

/// Drops the one-time keys of all devices. How many devices had some.
async fn renew_keys(base: &Base) -> Result<u64, Fault> {
    let (mut stocks, mut devices, mut said) = (Pages::new(&STOCK, STOCK.under(&()), PAGE), 0_u64, Instant::now());
    while let Some(rows) = stocks.next(&base.view()).await? {
        let mut tx = base.tx();
        for ((user, device), _) in rows {
            keys::spend_all(&tx, &user, &device).await?;
            devices += 1;
            if tx.size() > BYTES {
                base.commit(&tx).await?;
                tx = base.tx();
            }
        }
        base.commit(&tx).await?;
        say(&mut said, "devices", devices);
    }
    Ok(devices)
}

/// Marks the device list of each user who ever had one. How many there are.
async fn change_device_lists(base: &Base) -> Result<u64, Fault> {
    let mut said = Instant::now();
    // From one snapshot: what is marked moves to its end otherwise. A user id takes some thirty bytes.
    let (view, mut users) = (base.view(), BTreeSet::<OwnedUserId>::new());
    let mut heads = Pages::new(&KEY_HEAD, KEY_HEAD.under(&()), PAGE);
    while let Some(rows) = heads.next(&view).await? {
        users.extend(rows.into_iter().map(|((user,), _)| user));
    }
    let users: Vec<_> = users.into_iter().collect();
    for (done, chunk) in users.chunks(USERS).enumerate() {
        let tx = base.tx();
        for user in chunk {
            keys::touch(&tx, user).await?;
        }
        base.commit(&tx).await?;
        say(&mut said, "users", (done * USERS) as u64);
    }
    Ok(users.len() as u64)
}

fn say(said: &mut Instant, what: &str, done: u64) {
    if said.elapsed().as_secs() >= SAY_EVERY_S {
        *said = Instant::now();
        tracing::info!(what, done, "making a restored copy fit to go on");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_a_copy_and_its_restore_is_lost() {
        let restored = Restored(vec![(Position(10), Position(100)), (Position(120), Position(1000))]);
        let lost: Vec<_> = [0, 10, 11, 99, 100, 120, 121, 999, 1000].map(|n| restored.lost(Position(n))).into();
        assert_eq!(lost, [false, false, true, true, false, false, true, true, false]);
    }

    #[test]
    fn tokens_are_spared_for_a_month_after_the_last_restore() {
        assert_eq!(Restored::default().spares_until_ms(), 0);
        let restored = |ms: u64| (Position(10), Positions::start_restored(Some(Position(20)), ms).hand_out());
        let now_ms = 1_800_000_000_000;
        let both = Restored(vec![restored(now_ms), restored(now_ms - 5)]);
        assert_eq!(both.spares_until_ms(), now_ms + SPARED_MS);
    }
}
