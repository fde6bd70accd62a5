//! The storage contract on RocksDB.
