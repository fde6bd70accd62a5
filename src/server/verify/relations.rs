//! The index of relations: every row leads to an event that stands where the row says.

use super::{Check, rows::Rows};
use crate::{
    keyspace::{META, RELATED, RELATION, REPLACEMENT, THREAD},
    records::relations::List,
    tx::Fault,
};

impl Check<'_> {
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
        self.threads().await
    }

    /// Every thread has events, and stands at the place of the last.
    async fn threads(&mut self) -> Result<(), Fault> {
        let mut rows = Rows::new(&THREAD, THREAD.under(&()));
        while let Some(page) = rows.next(self).await? {
            for ((room, place), root) in page {
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
