//! Limits of the machinery here: how much shares a batch, how much is kept. What a client may send is limited in
//! [`depesche_rules::bounds`].

/// How many ids of claimed one-time keys are remembered for a device: more than any client uploads at once.
pub const MAX_CLAIMED_IDS: usize = 500;
/// How many claims share a batch.
pub const CLAIMS_PER_BATCH: usize = 100;
/// The most rooms whose members are woken by a change of keys; the members of others learn of it at their next sync.
pub const MAX_WOKEN_ROOMS: usize = 4096;

/// The most bytes one to-device request may write.
pub const MAX_TO_DEVICE_BATCH_BYTES: usize = depesche_store::MAX_BATCH - (64 << 10);
/// The most to-device messages that wait for one device.
pub const MAX_QUEUE: usize = 20_000;
/// The most bytes they have: an encrypted one has one or two thousand.
pub const MAX_QUEUE_BYTES: usize = 64 << 20;
/// For how long a repeated to-device request is recognised.
pub const TRANSACTION_MEMORY_MS: u64 = 24 * 60 * 60 * 1000;

/// How many backed-up keys share a batch.
pub const BACKUP_KEYS_PER_BATCH: usize = 200;
/// How many bytes of backed-up keys share a batch.
pub const BACKUP_BYTES_PER_BATCH: usize = 1 << 20;
