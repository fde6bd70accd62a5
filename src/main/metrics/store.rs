//! What the database says of itself, by the names of Prometheus: each with its unit, counters end in `_total`.

use Kind::{Counter, Gauge};

/// How a figure moves.
#[derive(Clone, Copy)]
enum Kind {
    /// Only up, from 0 at the start of the program.
    Counter,
    /// Up and down.
    Gauge,
}

/// The engine's own name of each figure, the name in `/metrics` and what it says.
const FIGURES: [(&str, Kind, &str, &str); 20] = [
    ("commit.batches", Counter, "depesche_store_commit_batches_total", "Batches committed"),
    ("commit.groups", Counter, "depesche_store_commit_groups_total", "Groups of batches that shared one synced write"),
    ("commit.conflicts", Counter, "depesche_store_commit_conflicts_total", "Batches refused for a conflict"),
    ("commit.failed_groups", Counter, "depesche_store_commit_failed_groups_total", "Groups that could not be written"),
    ("read.in_place", Counter, "depesche_store_reads_in_place_total", "Reads that memory answered"),
    ("read.on_pool", Counter, "depesche_store_reads_on_pool_total", "Reads that went to the disk"),
    ("rocksdb.wal.synced", Counter, "depesche_store_wal_syncs_total", "Times the log was synced"),
    ("rocksdb.wal.bytes", Counter, "depesche_store_wal_written_bytes_total", "Bytes written to the log"),
    ("rocksdb.block.cache.hit", Counter, "depesche_store_block_cache_hits_total", "Blocks found in the cache"),
    ("rocksdb.block.cache.miss", Counter, "depesche_store_block_cache_misses_total", "Blocks not found in the cache"),
    ("rocksdb.stall.micros", Counter, "depesche_store_stall_microseconds_total", "Time for which writes were held up"),
    (
        "rocksdb.compact.write.bytes",
        Counter,
        "depesche_store_compaction_written_bytes_total",
        "Bytes that compactions wrote",
    ),
    ("rocksdb.background-errors", Counter, "depesche_store_background_errors_total", "Errors beside the requests"),
    ("rocksdb.estimate-num-keys", Gauge, "depesche_store_rows", "Rows, roughly"),
    ("rocksdb.total-sst-files-size", Gauge, "depesche_store_files_bytes", "The size of the files of rows"),
    ("rocksdb.estimate-live-data-size", Gauge, "depesche_store_live_data_bytes", "What of it is not outdated, roughly"),
    ("rocksdb.cur-size-all-mem-tables", Gauge, "depesche_store_memtables_bytes", "Memory of what was written lately"),
    ("rocksdb.block-cache-usage", Gauge, "depesche_store_block_cache_bytes", "Memory of the cache"),
    (
        "rocksdb.estimate-pending-compaction-bytes",
        Gauge,
        "depesche_store_pending_compaction_bytes",
        "Bytes that compactions have to rewrite, roughly",
    ),
    ("rocksdb.num-snapshots", Gauge, "depesche_store_snapshots", "Snapshots that are held"),
];

/// Says once what each is.
pub fn describe() {
    for (_, kind, name, says) in FIGURES {
        match kind {
            Counter => metrics::describe_counter!(name, says),
            Gauge => metrics::describe_gauge!(name, says),
        }
    }
}

/// Takes what the engine says now.
pub fn set(figures: &[(String, u64)]) {
    for (engines, kind, name, _) in FIGURES {
        let Some((_, value)) = figures.iter().find(|(figure, _)| figure == engines) else { continue };
        match kind {
            Counter => metrics::counter!(name).absolute(*value),
            #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
            Gauge => metrics::gauge!(name).set(*value as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use depesche_store::Engine;
    use depesche_store_rocksdb::{RocksDb, RocksOptions};
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::{Counter, FIGURES, Gauge, describe, set};

    #[test]
    fn every_figure_of_the_engine_has_its_name_and_type() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = RocksDb::open(&folder.path().join("db"), &RocksOptions::default()).expect("opened");
        let figures = engine.statistics();
        for (figure, _) in &figures {
            assert!(FIGURES.iter().any(|(name, ..)| name == figure), "{figure} is not in /metrics");
        }
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            set(&figures);
        });
        let page = recorder.handle().render();
        for (figure, kind, name, _) in FIGURES {
            let (kind, ends) = match kind {
                Counter => ("counter", true),
                Gauge => ("gauge", false),
            };
            assert!(figures.iter().any(|(known, _)| known == figure), "the engine has no {figure}");
            assert!(page.contains(&format!("# TYPE {name} {kind}\n{name} ")), "{name}:\n{page}");
            assert_eq!(name.ends_with("_total"), ends, "{name}");
        }
    }
}
