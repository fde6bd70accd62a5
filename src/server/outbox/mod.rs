//! Work that batches leave in rows for senders, and the senders: what was committed goes out in time, over crashes too.

pub mod push;
