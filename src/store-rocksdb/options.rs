//! What can be set, and what is set for RocksDB.

use depesche_store::Options;
use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, statistics::StatsLevel};

/// The least that is kept in reserve on the disk, in bytes.
const LEAST_RESERVE: u64 = 8 << 20;
/// So many write buffers are kept in reserve: three that wait for their flush, and what a compaction writes before it
/// deletes.
const RESERVED_BUFFERS: u64 = 5;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct RocksOptions {
    /// The cache of uncompressed blocks, indexes and filters, in bytes.
    pub cache_bytes: usize,
    /// The rows kept in memory before they become a file, in bytes; up to three such buffers exist.
    pub write_buffer_bytes: usize,
    /// Whether commits wait for the disk. Off, a power cut loses what was answered: for imports and tests only.
    pub sync: bool,
    /// The threads that read from disk.
    pub read_threads: usize,
    /// RocksDB's own threads for flushes and compactions.
    pub background_threads: u16,
    /// The files kept open; a file takes one descriptor.
    pub open_files: u16,
    /// What all engines have.
    pub common: Options,
}

impl Default for RocksOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 256 << 20,
            write_buffer_bytes: 16 << 20,
            sync: true,
            read_threads: 4,
            background_threads: 2,
            open_files: 512,
            common: Options::default(),
        }
    }
}

impl RocksOptions {
    /// How much of the disk must be free for a write, in bytes: room for what was taken already.
    pub fn reserve_bytes(&self) -> u64 {
        (self.write_buffer_bytes as u64).saturating_mul(RESERVED_BUFFERS).max(LEAST_RESERVE)
    }

    pub(crate) fn for_rocksdb(&self) -> rocksdb::Options {
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(3);
        // Most of what is looked for in a buffer is not there.
        options.set_memtable_prefix_bloom_ratio(0.02);
        options.set_memtable_whole_key_filtering(true);
        options.set_max_background_jobs(self.background_threads.into());
        options.set_max_open_files(self.open_files.into());
        options.set_compression_type(DBCompressionType::Lz4);
        // Most rows end in the last level and are rarely rewritten there.
        options.set_bottommost_compression_type(DBCompressionType::Zstd);
        // Files that became obsolete are deleted by a background thread, not by whoever drops the last iterator.
        options.set_avoid_unnecessary_blocking_io(true);
        options.set_bytes_per_sync(1 << 20);
        options.set_block_based_table_factory(&self.tables());
        options.enable_statistics();
        // Counts alone: nobody asks for the times, and each would be two looks at the clock.
        options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
        options.set_keep_log_file_num(4);
        options.set_max_log_file_size(4 << 20);
        // The defaults that the contract rests on are left alone: one write-ahead log in order, recovered up to the
        // first record that is not whole, which no synced record can lie behind.
        options
    }

    fn tables(&self) -> BlockBasedOptions {
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&Cache::new_lru_cache(self.cache_bytes));
        tables.set_block_size(8 << 10);
        tables.set_bloom_filter(10.0, false);
        // Indexes and filters count against the cache, so that memory stays bounded however large the database is.
        tables.set_cache_index_and_filter_blocks(true);
        tables.set_cache_index_and_filter_blocks_with_high_priority(true);
        tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
        tables
    }
}
