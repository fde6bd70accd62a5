//! All rows of a range, however many there are, so many at a time: a scan has a bound, and what is read at once is in
//! memory at once.
//!
//! Each row is told once, in the order of the keys, as the view of its page shows it. What a client turns the pages of is
//! none of this: there the token says where to go on.

use depesche_store::Range;

use super::{Fault, View};
use crate::{
    codec::Key,
    table::{Record, Table},
};

/// The rows of a range, page by page.
pub struct Pages<'t, K, V> {
    table: &'t Table<K, V>,
    /// What has not been read; `None` once all has.
    rest: Option<Range>,
    rows: usize,
}

impl<'t, K: Key, V: Record> Pages<'t, K, V> {
    /// From the start of the range, so many rows at a time.
    pub fn new(table: &'t Table<K, V>, range: Range, rows: usize) -> Self {
        Self { table, rest: Some(range), rows }
    }

    /// The next rows, at least one; `None` behind the last, and behind a fault. Whoever wants all rows of one moment asks
    /// with the same view each time.
    pub async fn next(&mut self, view: &View) -> Result<Option<Vec<(K, V)>>, Fault> {
        let Some(range) = self.rest.take() else { return Ok(None) };
        let rows = view.scan(self.table, range.clone(), self.rows).await?;
        // A page that is not full is the last one.
        let last = rows.last().filter(|_| rows.len() == self.rows);
        self.rest = last.map(|(last, _)| range.behind(&self.table.key(last)));
        Ok((!rows.is_empty()).then_some(rows))
    }
}

#[cfg(test)]
mod tests {
    use ruma::RoomAliasId;

    use super::*;
    use crate::{
        keyspace::{PUBLISHED, ROOM_ALIAS},
        testing::Fixture,
    };

    #[tokio::test]
    async fn each_row_of_the_range_is_told_once_and_in_order() {
        let base = Fixture::new().base;
        let row = |room: u64, no: u32| (room, RoomAliasId::parse(format!("#a{no}:agency.test")).unwrap());
        let tx = base.tx();
        for (room, no) in [(1, 0), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (3, 0)] {
            tx.put(&ROOM_ALIAS, &row(room, no), &());
        }
        base.commit(&tx).await.unwrap();
        let view = base.view();
        let expected: Vec<_> = (0..6).map(|no| (row(2, no), ())).collect();
        for rows in 1..8 {
            let (mut pages, mut told) = (Pages::new(&ROOM_ALIAS, ROOM_ALIAS.under(&(2,)), rows), Vec::new());
            while let Some(page) = pages.next(&view).await.unwrap() {
                assert_eq!(page.len(), rows.min(6 - told.len()), "only the last page is not full");
                told.extend(page);
            }
            assert_eq!(told, expected, "{rows} at a time");
            assert_eq!(pages.next(&view).await.unwrap(), None);
        }
        let mut none = Pages::new(&PUBLISHED, PUBLISHED.under(&()), 1);
        assert_eq!(none.next(&view).await.unwrap(), None, "a page has at least one row");
    }
}
