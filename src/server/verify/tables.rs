//! Whole tables: that every row can be read, that rows of rooms have a room, and that lists which lead to rooms lead to
//! what is there.

use std::collections::HashMap;

use ruma::OwnedRoomId;

use super::{Check, rows::Rows};
use crate::{
    codec::Key,
    keyspace::{
        ACCESS_TOKEN, ACCOUNT, ACCOUNT_DATA, ACCOUNT_DATA_BYTES, ACCOUNT_DATA_COUNT, ACCOUNT_DATA_LOG, ALIAS,
        ANNOTATION, BACKUP, BACKUP_HEAD, BACKUP_KEY, BADGE_DUE, BLOB, BUILT, CONSENT, COUNTED_THREAD, COUNTER,
        CROSS_SIGNING_KEY, DEACTIVATION, DEVICE, DEVICE_KEYS, DEVICE_LIST, DEVICE_SEEN, DUE, EVENT, EVENT_NO,
        FALLBACK_KEY, FILE, FILE_OF, FILTER, FILTER_NO, FOLLOWED, HEAD, IDENTITY, INDEXED, KEY, KEY_HEAD, KEY_LOG,
        KEY_NO, LOGIN_TOKEN, LOOSE_BLOB, MARK, MEMBER, META, MIGRATION, NAMED, NODE, ONE_TIME_ID, ONE_TIME_KEY,
        OPEN_ROOM, OPENID_TOKEN, OWN_SIGNATURE, PASSWORD, PENDING, POSTING, PRESENCE, PREVIEW_PICTURE, PROFILE,
        PROFILE_SPREAD, PUBLISHED, PUSH_DELIVERY, PUSH_OUTBOX, PUSH_QUEUE, PUSHER, PUSHER_COUNT, PUSHER_OWNER, RECEIPT,
        RECEIPT_LOG, REFRESH_TOKEN, REGISTRATION_TOKEN, RELATED, RELATION, REPLACEMENT, REPORT, REPORT_COUNT,
        REPORT_OF, REPORT_OPEN, RESTORED, ROOM, ROOM_ALIAS, ROOM_NO, ROOT_AT, ROOT_BEFORE, RoomNo, SESSION,
        SIGNED_HEAD, SIGNED_LOG, STOCK, TALLY, THERE, THREAD, THUMBNAIL, TIMELINE, TO_DEVICE, TO_DEVICE_TXN,
        TRANSACTION, TYPED, TYPING, UNCOUNTED, UNREAD, USAGE, USER_SIGNATURE, USER_TERM, USER_TERMS,
    },
    records::media::{BlobHash, FileState, Thumbnail},
    table::{Record, Table},
    tx::Fault,
};

/// For each of these tables, reads every row.
macro_rules! readable {
    ($check:expr, $($table:ident)*) => {
        $(
            let mut rows = Rows::new(&$table, $table.under(&()));
            while rows.next($check).await?.is_some() {}
        )*
    };
}

/// For each of these tables, whose keys begin with a room: that the room is there.
macro_rules! of_rooms {
    ($check:expr, $($table:ident)*) => {
        $($check.strays(&$table, |key| key.0).await?;)*
    };
}

impl Check<'_> {
    /// All tables, once the rooms have been gone through one by one.
    pub(super) async fn tables(&mut self) -> Result<(), Fault> {
        of_rooms!(self, HEAD EVENT META KEY_NO KEY NODE ROOT_BEFORE ROOT_AT TIMELINE ROOM_ALIAS PUBLISHED ANNOTATION);
        of_rooms!(self, OPEN_ROOM);
        of_rooms!(self, RELATION REPLACEMENT RELATED THREAD);
        of_rooms!(self, RECEIPT TALLY COUNTED_THREAD UNCOUNTED);
        of_rooms!(self, POSTING INDEXED);
        self.room_ids().await?;
        self.event_ids().await?;
        self.members().await?;
        self.marks().await?;
        self.names().await?;
        self.transactions().await?;
        self.relations().await?;
        readable!(self, NODE ROOT_AT ROOM_ALIAS PUBLISHED ANNOTATION RELATED RECEIPT RECEIPT_LOG TALLY COUNTED_THREAD);
        readable!(self, DUE MIGRATION RESTORED);
        readable!(self, IDENTITY COUNTER ACCOUNT PASSWORD ACCESS_TOKEN REFRESH_TOKEN SESSION LOGIN_TOKEN);
        readable!(self, REGISTRATION_TOKEN CONSENT DEACTIVATION DEVICE DEVICE_SEEN DEVICE_LIST);
        readable!(self, PROFILE_SPREAD USER_TERM USER_TERMS BUILT OPEN_ROOM);
        readable!(self, REPORT REPORT_OPEN REPORT_OF REPORT_COUNT OPENID_TOKEN);
        readable!(self, PROFILE FILTER FILTER_NO ACCOUNT_DATA ACCOUNT_DATA_LOG ACCOUNT_DATA_COUNT);
        readable!(self, ACCOUNT_DATA_BYTES);
        readable!(self, DEVICE_KEYS ONE_TIME_KEY ONE_TIME_ID FALLBACK_KEY STOCK CROSS_SIGNING_KEY OWN_SIGNATURE);
        readable!(self, USER_SIGNATURE KEY_HEAD KEY_LOG SIGNED_HEAD SIGNED_LOG);
        readable!(self, PUSHER PUSHER_OWNER PUSHER_COUNT PUSH_OUTBOX PUSH_QUEUE PUSH_DELIVERY BADGE_DUE);
        readable!(self, TO_DEVICE TO_DEVICE_TXN BACKUP_HEAD BACKUP BACKUP_KEY);
        readable!(self, POSTING INDEXED FOLLOWED);
        readable!(self, TYPED TYPING THERE PRESENCE);
        readable!(self, BLOB FILE_OF USAGE PENDING LOOSE_BLOB PREVIEW_PICTURE);
        self.files().await
    }

    /// Files and thumbnails consist of bytes that are counted. Whether the bytes themselves are there is not looked at.
    async fn files(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&FILE, FILE.under(&()));
        while let Some(page) = rows.next(self).await? {
            let blobs = page.into_iter().filter_map(|(_, file)| match file.state {
                FileState::Stored(content) => Some(content.blob),
                FileState::Pending { .. } => None,
            });
            self.counted(blobs.collect(), FILE.name).await?;
        }
        let mut rows = Rows::new(&THUMBNAIL, THUMBNAIL.under(&()));
        while let Some(page) = rows.next(self).await? {
            let blobs = page.into_iter().flat_map(|((source, ..), thumbnail)| match thumbnail {
                Thumbnail::Made { blob, .. } => vec![source, blob],
                Thumbnail::Original(_) => vec![source],
            });
            self.counted(blobs.collect(), THUMBNAIL.name).await?;
        }
        Ok(())
    }

    async fn counted(&mut self, blobs: Vec<BlobHash>, table: &str) -> Result<(), Fault> {
        let keys: Vec<_> = blobs.into_iter().map(|blob| (blob,)).collect();
        for ((hash,), blob) in keys.iter().zip(self.get_all(&BLOB, &keys).await?) {
            let right = blob.is_some_and(|blob| blob.uses > 0);
            self.holds(right, || {
                format!("table {table}: consists of bytes that are not counted (SHA-256 {hash:02x?})")
            });
        }
        Ok(())
    }

    /// Rows of rooms that do not exist. Looks at one row a room.
    async fn strays<K: Key, V: Record>(
        &mut self,
        table: &Table<K, V>,
        room: impl Fn(&K) -> RoomNo,
    ) -> Result<(), Fault> {
        let mut range = table.under(&());
        loop {
            let first = match self.view.scan(table, range.clone(), 1).await {
                Ok(rows) => rows.first().map(|(key, _)| room(key)),
                // Noted where the table is read.
                Err(Fault::Corrupt { key, .. }) => table.parse(&key).map(|key| room(&key)),
                Err(fault) => return Err(fault),
            };
            let Some(no) = first else { return Ok(()) };
            let [found] = self.get_each(&ROOM, &[(no,)]).await?;
            self.holds(found.is_some(), || format!("table {} has rows of room {no}, which does not exist", table.name));
            let Some(next) = no.checked_add(1) else { return Ok(()) };
            range.from = [&[table.number], next.to_be_bytes().as_slice()].concat().into();
        }
    }

    /// Every room id leads to a room of that id.
    async fn room_ids(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&ROOM_NO, ROOM_NO.under(&()));
        while let Some(page) = rows.next(self).await? {
            let keys: Vec<_> = page.iter().map(|(_, no)| (*no,)).collect();
            for (((id,), no), room) in page.iter().zip(self.get_all(&ROOM, &keys).await?) {
                let right = room.is_some_and(|room| room.room_id == *id);
                self.holds(right, || format!("the id of a room leads to room {no}, which has another"));
            }
        }
        Ok(())
    }

    /// As many event ids as events: with what was checked of each event, one for each.
    async fn event_ids(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&EVENT_NO, EVENT_NO.under(&()));
        while let Some(page) = rows.next(self).await? {
            for (_, (room, _)) in page {
                *self.events.entry(room).or_default() -= 1;
            }
        }
        let counts = std::mem::take(&mut self.events);
        self.balanced(counts, "events than ids of events");
        Ok(())
    }

    /// As many rows of members as members in the states of the rooms: with what was checked of each, one for each.
    async fn members(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&MEMBER, MEMBER.under(&()));
        while let Some(page) = rows.next(self).await? {
            for ((_, room), _) in page {
                *self.members.entry(room).or_default() -= 1;
            }
        }
        let counts = std::mem::take(&mut self.members);
        self.balanced(counts, "members than rows of members");
        Ok(())
    }

    fn balanced(&mut self, counts: HashMap<RoomNo, i64>, what: &str) {
        let mut uneven: Vec<_> = counts.into_iter().filter(|(_, more)| *more != 0).collect();
        uneven.sort_unstable();
        for (no, more) in uneven {
            self.problem(|| format!("room {no}: has {more} more {what}"));
        }
    }

    /// Nobody has read, nothing names, and nothing took back what the room has not counted yet.
    async fn marks(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&UNREAD, UNREAD.under(&()));
        while let Some(page) = rows.next(self).await? {
            let marks = page.into_iter().map(|((_, room), unread)| (room, unread.ordinal));
            self.within(marks.collect(), UNREAD.name).await?;
        }
        let mut rows = Rows::new(&NAMED, NAMED.under(&()));
        while let Some(page) = rows.next(self).await? {
            self.within(page.into_iter().map(|((_, room, ordinal), _)| (room, ordinal)).collect(), NAMED.name).await?;
        }
        let mut rows = Rows::new(&UNCOUNTED, UNCOUNTED.under(&()));
        while let Some(page) = rows.next(self).await? {
            self.within(page.into_iter().map(|(key, _)| key).collect(), UNCOUNTED.name).await?;
        }
        let mut rows = Rows::new(&MARK, MARK.under(&()));
        while let Some(page) = rows.next(self).await? {
            self.within(page.into_iter().map(|((_, room, ..), mark)| (room, mark.ordinal)).collect(), MARK.name)
                .await?;
        }
        Ok(())
    }

    async fn within(&mut self, marks: Vec<(RoomNo, u32)>, table: &str) -> Result<(), Fault> {
        let keys: Vec<_> = marks.iter().map(|(room, _)| (*room,)).collect();
        for ((room, ordinal), head) in marks.into_iter().zip(self.get_all(&HEAD, &keys).await?) {
            let right = head.is_some_and(|head| ordinal <= head.ordinal);
            self.holds(right, || format!("table {table}: ordinal {ordinal} is not one of room {room}"));
        }
        Ok(())
    }

    /// Aliases stand in both lists, and lead to rooms.
    async fn names(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&ALIAS, ALIAS.under(&()));
        while let Some(page) = rows.next(self).await? {
            for ((alias,), target) in page {
                let [room] = self.get_each::<(OwnedRoomId,), _, 1>(&ROOM_NO, &[(target.room_id,)]).await?;
                let listed = match room {
                    Some(room) => self.get_each(&ROOM_ALIAS, &[(room, alias.clone())]).await? == [Some(())],
                    None => false,
                };
                self.holds(listed, || format!("the alias {alias} is not in the list of its room"));
            }
        }
        let mut rows = Rows::new(&ROOM_ALIAS, ROOM_ALIAS.under(&()));
        while let Some(page) = rows.next(self).await? {
            for ((room, alias), ()) in page {
                let [known] = self.get_each(&ALIAS, &[(alias.clone(),)]).await?;
                self.holds(known.is_some(), || format!("room {room}: its alias {alias} does not exist"));
            }
        }
        Ok(())
    }

    /// What a client's request made is there.
    async fn transactions(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&TRANSACTION, TRANSACTION.under(&()));
        while let Some(page) = rows.next(self).await? {
            let ids: Vec<_> = page.into_iter().map(|(_, event)| (event,)).collect();
            for ((event,), at) in ids.iter().zip(self.get_all(&EVENT_NO, &ids).await?) {
                self.holds(at.is_some(), || format!("a request was answered with {event}, which does not exist"));
            }
        }
        Ok(())
    }
}
