//! `[store]`: the embedded database.

use crate::section::{preset, section};

section! {
    /// The embedded database (RocksDB), in data_dir.
    [store]
    pub struct Store {
        /// Memory for what was read lately, in megabytes. The most useful figure to raise on a busy server.
        cache_mb: usize = preset(256).within(8..=1_048_576),
        /// Memory for events that were read or sent lately, in megabytes, ready to be shown; 0 keeps none.
        event_cache_mb: u64 = preset(8).within(0..=1_048_576),
        /// Memory for what was written lately, in megabytes; up to three times as much while it is written out.
        write_buffer_mb: usize = preset(16).within(1..=65_536),
        /// How many reads may wait for the disk at a time.
        read_threads: usize = preset(4).within(1..=256),
        /// How many past commits are remembered for those who follow them. One who falls further behind compares rows
        /// instead.
        keep_changes: u64 = preset(100_000).within(1000..=10_000_000),
    }
}
