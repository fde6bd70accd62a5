//! The contract of `depesche-store`, whole, on RocksDB with buffers so small that tests reach the disk.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use depesche_store::{
    Engine, Options,
    conformance::{Database, MemoryDatabase, differential, follows_the_model},
    conformance_tests,
};
use depesche_store_rocksdb::{RocksDb, RocksOptions};
use tempfile::TempDir;

struct OnDisk {
    engine: Arc<RocksDb>,
    options: Options,
    path: PathBuf,
    /// Removed at the end; none for a copy, which the case removes.
    directory: Option<TempDir>,
}

impl OnDisk {
    fn open(path: PathBuf, directory: Option<TempDir>, options: Options) -> Self {
        let engine = Arc::new(RocksDb::open(&path, &small(options.clone())).expect("the database opens"));
        Self { engine, options, path, directory }
    }
}

/// As small as RocksDB goes: 64 kB of memtable, hardly any cache.
fn small(common: Options) -> RocksOptions {
    RocksOptions {
        cache_bytes: 64 << 10,
        write_buffer_bytes: 64 << 10,
        read_threads: 2,
        common,
        ..RocksOptions::default()
    }
}

impl Database for OnDisk {
    fn create(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::open(directory.path().join("database"), Some(directory), options)
    }

    fn engine(&self) -> Arc<dyn Engine> {
        Arc::clone(&self.engine) as _
    }

    fn reopen(self) -> Self {
        let Self { engine, options, path, directory } = self;
        drop(Arc::into_inner(engine).expect("the case gave its engine back"));
        Self::open(path, directory, options)
    }

    fn restore(options: Options, copy: &Path) -> Self {
        let database = Self::open(copy.to_owned(), None, options);
        database.engine.accept_copy().expect("the mark can be removed");
        database
    }
}

conformance_tests!(OnDisk);

#[test]
fn the_same_as_in_memory() {
    differential::<MemoryDatabase, OnDisk>(48);
}

#[test]
fn batches_do_what_they_do_to_a_map() {
    follows_the_model::<OnDisk>(48);
}
