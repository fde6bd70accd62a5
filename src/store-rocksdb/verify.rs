//! Reading every row from the disk.
//!
//! Blocks that are in memory already are not compared with their checksums again, so that damage under them would not be
//! seen. The files are therefore opened once more, beside the database and with next to no cache.

use depesche_store::ReadError;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, Options, ReadOptions};

use crate::Database;

/// The cache for indexes and filters; every other block is read once.
const CACHE: usize = 8 << 20;
/// Bytes read ahead.
const READ_AHEAD: usize = 2 << 20;
/// So many rows are read between two looks whether to stop.
const LOOK: u64 = 10_000;

/// Reads all rows that the database has now, and counts them.
pub(crate) fn count_rows(database: &Database, stop: impl Fn() -> bool) -> Result<u64, ReadError> {
    let beside = open_beside(database)?;
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_verify_checksums(true);
    options.set_readahead_size(READ_AHEAD);
    let mut rows = beside.raw_iterator_opt(options);
    rows.seek_to_first();
    let mut count: u64 = 0;
    while rows.valid() {
        count += 1;
        if count.is_multiple_of(LOOK) && stop() {
            return Err(ReadError::Engine("not all rows were read: it was told to stop".to_owned()));
        }
        rows.next();
    }
    rows.status().map_err(failed)?;
    Ok(count)
}

/// The same files, read-only. All are open when this returns, so that they may be deleted under it from then on.
fn open_beside(database: &Database) -> Result<DB, ReadError> {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(&Cache::new_lru_cache(CACHE));
    tables.set_cache_index_and_filter_blocks(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&tables);
    options.set_max_open_files(-1);
    database.db.disable_file_deletions().map_err(failed)?;
    // By the name of its rows: RocksDB would else open a compacted database without its log.
    let rows = ColumnFamilyDescriptor::new("default", options.clone());
    let beside = DB::open_cf_descriptors_read_only(&options, &database.path, [rows], false);
    database.db.enable_file_deletions().map_err(failed)?;
    beside.map_err(failed)
}

fn failed(error: rocksdb::Error) -> ReadError {
    ReadError::Engine(error.into_string())
}
