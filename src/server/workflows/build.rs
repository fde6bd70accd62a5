//! Lists that databases of earlier versions do not have: the words of users' names, the rooms that are open to everyone.
//!
//! Built when the server starts, page by page, each batch with a note of how far it came. Whatever changes afterwards
//! keeps the lists itself.

use ruma::OwnedUserId;

use crate::{
    Fault, Server,
    keyspace::{ACCOUNT, BUILT, ROOM},
    profiles::terms,
    records::accounts::Standing,
    rooms::{
        append,
        summary::{HISTORY_VISIBILITY, JOIN_RULES, is_open},
        view::RoomView,
    },
    tx::Tx,
};

/// Rows in one batch.
const PAGE: usize = 200;
/// The names of the lists.
const USERS: &str = "user_terms";
const ROOMS: &str = "open_rooms";
/// Stands for the end of the work; no key is empty.
const DONE: &str = "";

impl Server {
    /// Builds what is missing.
    pub(crate) async fn build_lists(&self) -> Result<(), Fault> {
        while self.base.transact(|tx| async move { self.build_users(&tx).await }).await? {}
        while self.base.transact(|tx| async move { self.build_rooms(&tx).await }).await? {}
        Ok(())
    }

    /// The next users. Says whether there may be more.
    async fn build_users(&self, tx: &Tx) -> Result<bool, Fault> {
        let key = (USERS.to_owned(),);
        let range = match tx.read(&BUILT, &key).await?.as_deref() {
            Some(DONE) => return Ok(false),
            Some(last) => {
                let last = OwnedUserId::try_from(last).map_err(|_| Fault::Bug("a note of no user".into()))?;
                ACCOUNT.behind(&(), &(last,))
            }
            None => ACCOUNT.under(&()),
        };
        let rows = tx.view().scan(&ACCOUNT, range, PAGE).await?;
        let last = rows.last().filter(|_| rows.len() == PAGE).map(|((user,), _)| user.to_string());
        for ((user,), account) in rows {
            if account.standing == Standing::Active {
                let profile = self.profiles.find(tx.view(), &user).await?;
                terms::index(tx, &user, profile.displayname()).await?;
            }
        }
        tx.put(&BUILT, &key, &last.clone().unwrap_or_default());
        Ok(last.is_some())
    }

    /// The next rooms. Says whether there may be more.
    async fn build_rooms(&self, tx: &Tx) -> Result<bool, Fault> {
        let key = (ROOMS.to_owned(),);
        let range = match tx.read(&BUILT, &key).await?.as_deref() {
            Some(DONE) => return Ok(false),
            Some(last) => {
                let last: u64 = last.parse().map_err(|_| Fault::Bug("a note of no room".into()))?;
                ROOM.behind(&(), &(last,))
            }
            None => ROOM.under(&()),
        };
        let rows = tx.view().scan(&ROOM, range, PAGE).await?;
        let last = rows.last().filter(|_| rows.len() == PAGE).map(|((room,), _)| room.to_string());
        for ((room,), _) in rows {
            let room = RoomView::open(tx.view(), room).await?;
            let rules = room.state_event(room.root(), JOIN_RULES, "").await?;
            let visibility = room.state_event(room.root(), HISTORY_VISIBILITY, "").await?;
            let rules = rules.map(|event| room.readable(event)).transpose()?;
            let visibility = visibility.map(|event| room.readable(event)).transpose()?;
            append::put_open(tx, room.no, is_open(rules.as_ref(), visibility.as_ref()));
        }
        tx.put(&BUILT, &key, &last.clone().unwrap_or_default());
        Ok(last.is_some())
    }
}
