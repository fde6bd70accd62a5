//! Reading for a check: in pages, and past what cannot be read.

use bytes::Bytes;
use depesche_store::Range;

use super::Check;
use crate::{
    codec::Key,
    table::{Record, Table},
    tx::Fault,
};

/// Rows read at a time.
pub const PAGE: usize = 1000;

/// The rows of a range, page by page.
pub struct Rows<'t, K, V> {
    table: &'t Table<K, V>,
    range: Range,
    ended: bool,
}

impl<'t, K: Key, V: Record> Rows<'t, K, V> {
    /// From the start of the range.
    pub fn new(table: &'t Table<K, V>, range: Range) -> Self {
        Self { table, range, ended: false }
    }

    /// The next rows that can be read, at least one; `None` at the end. Others are noted as problems.
    pub async fn next(&mut self, check: &mut Check<'_>) -> Result<Option<Vec<(K, V)>>, Fault> {
        while !self.ended {
            let rows = match check.view.scan(self.table, self.range.clone(), PAGE).await {
                Ok(rows) => {
                    self.ended = rows.len() < PAGE;
                    if let Some((last, _)) = rows.last() {
                        self.range = self.range.behind(&self.table.key(last));
                    }
                    rows
                }
                Err(Fault::Corrupt { table, key }) => {
                    check.unreadable(table, &key);
                    let before = Range::new(self.range.from.clone(), key.clone());
                    self.range = self.range.behind(&key);
                    check.view.scan(self.table, before, PAGE).await?
                }
                Err(fault) => return Err(fault),
            };
            check.report.checked.rows += rows.len() as u64;
            (check.progress)(check.report.checked);
            tokio::task::yield_now().await;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
        Ok(None)
    }
}

impl Check<'_> {
    /// The values of keys, in the order asked; what cannot be read is noted as a problem.
    pub async fn get_all<K: Key, V: Record>(
        &mut self,
        table: &Table<K, V>,
        keys: &[K],
    ) -> Result<Vec<Option<V>>, Fault> {
        match self.view.get_many(table, keys).await {
            Err(Fault::Corrupt { .. }) => {}
            found => return found,
        }
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(match self.view.get(table, key).await {
                Err(Fault::Corrupt { table, key }) => {
                    self.unreadable(table, &key);
                    None
                }
                value => value?,
            });
        }
        Ok(found)
    }

    /// As [`Self::get_all`], for as many keys as the caller names.
    pub async fn get_each<K: Key, V: Record, const N: usize>(
        &mut self,
        table: &Table<K, V>,
        keys: &[K; N],
    ) -> Result<[Option<V>; N], Fault> {
        let found = self.get_all(table, keys).await?;
        found.try_into().map_err(|_| Fault::Bug("a read answered more or less than was asked".into()))
    }

    fn unreadable(&mut self, table: &'static str, key: &Bytes) {
        self.problem(|| format!("a row of table {table} cannot be read (key {key:02x?})"));
    }
}
