//! The index of relations: every row leads to an event that stands where the row says, every event that is about another
//! has its row, and as many are counted as there are.

use depesche_rules::{
    pdu::Pdu,
    relations::{REFERENCE, Relation, THREAD as IN_THREAD},
};
use depesche_store::Range;
use ruma::OwnedEventId;

use super::{Check, rows::Rows};
use crate::{
    codec::Key,
    keyspace::{EVENT_NO, EventNo, META, RELATED, RELATION, REPLACEMENT, RoomNo, THREAD},
    records::{
        events::Place,
        relations::{List, Related},
    },
    table::{Record, Table},
    tx::Fault,
};

impl Check<'_> {
    /// Events that are about others, none of them redacted, are in the list of their parent.
    pub(super) async fn check_listed(&mut self, room: RoomNo, events: &[(EventNo, Pdu, Place)]) -> Result<(), Fault> {
        let parent = |pdu: &Pdu| Relation::of(pdu).map(|relation| relation.parent);
        let about = events.iter().filter_map(|(no, pdu, place)| Some((*no, parent(pdu)?, *place)));
        let (numbers, keys): (Vec<_>, Vec<_>) =
            about.map(|(no, parent, place)| (no, (room, parent, List::Direct, place))).unzip();
        for (no, listed) in numbers.into_iter().zip(self.get_all(&RELATION, &keys).await?) {
            let right = listed.is_some_and(|listed| listed.no == no);
            self.holds(right, || format!("room {room}: event {no} is about another and not in its list"));
        }
        Ok(())
    }

    /// The numbers of those of these events that are in the rooms named with them. About others nothing is counted any
    /// more, and what earlier versions had counted stays as it is.
    async fn are_here(&mut self, events: Vec<(RoomNo, OwnedEventId)>) -> Result<Vec<Option<EventNo>>, Fault> {
        let (rooms, keys): (Vec<_>, Vec<_>) = events.into_iter().map(|(room, event)| (room, (event,))).unzip();
        let found = self.get_all(&EVENT_NO, &keys).await?;
        Ok(rooms.into_iter().zip(found).map(|(room, found)| Some(found.filter(|(of, _)| *of == room)?.1)).collect())
    }

    /// As many events are counted as there are in the lists.
    async fn counts(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&RELATED, RELATED.under(&()));
        while let Some(page) = rows.next(self).await? {
            let here =
                self.are_here(page.iter().map(|((room, parent, _), _)| (*room, parent.clone())).collect()).await?;
            for (((room, parent, user), counted), here) in page.into_iter().zip(here) {
                let Some(no) = here.filter(|_| user.is_empty()) else { continue };
                let [meta] = self.get_each(&META, &[(room, no)]).await?;
                self.holds(meta.is_none_or(|meta| meta.facts.has_children), || {
                    format!("room {room}: others are about event {no}, and its facts do not say so")
                });
                let of = |kind: &str| RELATION.under(&(room, parent.clone(), List::Of(kind.to_owned())));
                let related = Related {
                    replacing: self.rows_in(&REPLACEMENT, REPLACEMENT.under(&(room, parent.clone()))).await?,
                    referring: self.rows_in(&RELATION, of(REFERENCE)).await?,
                    in_thread: self.rows_in(&RELATION, of(IN_THREAD)).await?,
                };
                self.holds(related == counted, || {
                    format!("room {room}: {counted:?} are counted about an event, and {related:?} listed")
                });
            }
        }
        Ok(())
    }

    async fn rows_in<K: Key, V: Record>(&mut self, table: &Table<K, V>, range: Range) -> Result<u32, Fault> {
        let (mut rows, mut count) = (Rows::new(table, range), 0);
        while let Some(page) = rows.next(self).await? {
            count += u32::try_from(page.len()).unwrap_or(u32::MAX);
        }
        Ok(count)
    }

    /// Lists of events about events, and lists of threads.
    pub(super) async fn relations(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&RELATION, RELATION.under(&()));
        while let Some(page) = rows.next(self).await? {
            let keys: Vec<_> = page.iter().map(|((room, ..), child)| (*room, child.no)).collect();
            for (((room, _, list, place), child), meta) in page.into_iter().zip(self.get_all(&META, &keys).await?) {
                // The lists of those further away keep what was redacted: readers pass over it.
                let right = meta.is_some_and(|meta| {
                    meta.place == place && (list == List::Indirect || meta.facts.redacted_by.is_none())
                });
                self.holds(right, || format!("room {room}: event {} is in a list at a place not its own", child.no));
            }
        }
        let mut rows = Rows::new(&REPLACEMENT, REPLACEMENT.under(&()));
        while let Some(page) = rows.next(self).await? {
            let keys: Vec<_> = page.iter().map(|((room, ..), no)| (*room, *no)).collect();
            for (((room, ..), no), meta) in page.into_iter().zip(self.get_all(&META, &keys).await?) {
                let right = meta.is_some_and(|meta| meta.facts.redacted_by.is_none());
                self.holds(right, || format!("room {room}: event {no} replaces another and is gone"));
            }
        }
        self.counts().await?;
        self.threads().await
    }

    /// Every thread has events, and stands at the place of the last.
    async fn threads(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&THREAD, THREAD.under(&()));
        while let Some(page) = rows.next(self).await? {
            let here = self.are_here(page.iter().map(|((room, _), root)| (*room, root.clone())).collect()).await?;
            for (((room, place), root), _) in page.into_iter().zip(here).filter(|(_, here)| here.is_some()) {
                let list = List::Of(depesche_rules::relations::THREAD.to_owned());
                let last = self.view.scan_back(&RELATION, RELATION.under(&(room, root.clone(), list)), 1).await?;
                let [related] = self.get_each(&RELATED, &[(room, root, String::new())]).await?;
                let right = last.first().is_some_and(|((_, _, _, last), _)| *last == place)
                    && related.is_some_and(|related| related.in_thread > 0);
                self.holds(right, || format!("room {room}: a thread is listed at a place where it has no event"));
            }
        }
        Ok(())
    }
}
