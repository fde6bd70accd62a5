//! Figures for operators and tests.

use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::{
    DB,
    properties::{self, PropName},
    statistics::Ticker,
};

use crate::Shared;

/// What the engine itself counts.
#[derive(Default)]
pub(crate) struct Figures {
    batches: AtomicU64,
    groups: AtomicU64,
    conflicts: AtomicU64,
    failures: AtomicU64,
    in_place: AtomicU64,
    on_pool: AtomicU64,
}

impl Figures {
    pub(crate) fn group(&self, batches: usize, conflicts: usize) {
        add(&self.groups, 1);
        add(&self.batches, batches);
        add(&self.conflicts, conflicts);
    }

    pub(crate) fn failed(&self) {
        add(&self.failures, 1);
    }

    pub(crate) fn read_in_place(&self) {
        add(&self.in_place, 1);
    }

    pub(crate) fn read_on_pool(&self) {
        add(&self.on_pool, 1);
    }
}

fn add(figure: &AtomicU64, more: usize) {
    figure.fetch_add(more as u64, Ordering::Relaxed);
}

/// Since the start, except sizes. Names with `rocksdb.` are RocksDB's own.
pub(crate) fn all(shared: &Shared) -> Vec<(String, u64)> {
    let Figures { batches, groups, conflicts, failures, in_place, on_pool } = &*shared.figures;
    let own = [
        ("commit.batches", batches),
        ("commit.groups", groups),
        ("commit.conflicts", conflicts),
        ("commit.failed_groups", failures),
        ("read.in_place", in_place),
        ("read.on_pool", on_pool),
    ];
    let own = own.map(|(name, figure)| (name.to_owned(), figure.load(Ordering::Relaxed)));
    let tickers = [
        ("rocksdb.wal.synced", Ticker::WalFileSynced),
        ("rocksdb.wal.bytes", Ticker::WalFileBytes),
        ("rocksdb.block.cache.hit", Ticker::BlockCacheHit),
        ("rocksdb.block.cache.miss", Ticker::BlockCacheMiss),
        ("rocksdb.stall.micros", Ticker::StallMicros),
        ("rocksdb.compact.write.bytes", Ticker::CompactWriteBytes),
    ];
    let options = &shared.database.options;
    let tickers = tickers.map(|(name, ticker)| (name.to_owned(), options.get_ticker_count(ticker)));
    let sizes = [
        ("rocksdb.estimate-num-keys", properties::ESTIMATE_NUM_KEYS),
        ("rocksdb.total-sst-files-size", properties::TOTAL_SST_FILES_SIZE),
        ("rocksdb.estimate-live-data-size", properties::ESTIMATE_LIVE_DATA_SIZE),
        ("rocksdb.cur-size-all-mem-tables", properties::CUR_SIZE_ALL_MEM_TABLES),
        ("rocksdb.block-cache-usage", properties::BLOCK_CACHE_USAGE),
        ("rocksdb.estimate-pending-compaction-bytes", properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        ("rocksdb.num-snapshots", properties::NUM_SNAPSHOTS),
        ("rocksdb.background-errors", properties::BACKGROUND_ERRORS),
    ];
    // A property that RocksDB does not know in some version is left out rather than reported as zero.
    let size =
        |(name, property): (&str, _)| Some((name.to_owned(), shared.database.db.property_int_value(property).ok()??));
    own.into_iter().chain(tickers).chain(sizes.into_iter().filter_map(size)).collect()
}

/// One of RocksDB's figures; 0 if this version of it has none of this name.
pub(crate) fn figure(db: &DB, name: &PropName) -> u64 {
    db.property_int_value(name).ok().flatten().unwrap_or_default()
}
