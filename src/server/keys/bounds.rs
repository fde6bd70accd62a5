//! What a client may send, in numbers. Where the specification names none, the numbers are ours.

/// The longest key id, device id, algorithm, session id or event type in bytes: they stand in keys of the database.
pub const MAX_NAME_BYTES: usize = 255;
/// The most bytes of one stored JSON object: device keys, a one-time key, a cross-signing key, the `auth_data` of a
/// backup, a backed-up key. What is stored beside it (names, numbers) still fits into a row.
pub const MAX_OBJECT_BYTES: usize = depesche_store::MAX_VALUE - 2048;
/// The most one-time keys a device may have waiting, all algorithms together. Clients keep 50 to 100.
pub const MAX_ONE_TIME_KEYS: usize = 1000;
/// How many ids of claimed one-time keys are remembered for a device: more than any client uploads at once.
pub const MAX_CLAIMED_IDS: usize = 500;
/// The most fallback keys of a device, one an algorithm.
pub const MAX_FALLBACK_KEYS: usize = 16;
/// The most devices in one claim.
pub const MAX_CLAIMS: usize = 5000;
/// How many claims share a batch.
pub const CLAIMS_PER_BATCH: usize = 100;
/// The most users in one query.
pub const MAX_QUERIED_USERS: usize = 5000;
/// The most devices of one user that a query returns.
pub const MAX_DEVICES: usize = 5000;
/// The most objects in one upload of signatures.
pub const MAX_SIGNED_OBJECTS: usize = 1000;
/// The most rooms whose members are woken by a change of keys; the members of others learn of it at their next sync.
pub const MAX_WOKEN_ROOMS: usize = 4096;
/// Up to how many changes are compared with the users of a sync one by one, before it is cheaper to ask for each user.
pub const MAX_CHANGES_SCANNED: usize = 2000;

/// The most devices one to-device request reaches: each wakes a topic.
pub const MAX_RECIPIENTS: usize = 5000;
/// The most bytes one to-device request may write.
pub const MAX_TO_DEVICE_BATCH_BYTES: usize = depesche_store::MAX_BATCH - (64 << 10);
/// The most to-device messages one answer carries.
/// Spec: [server behaviour](https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-4).
pub const MAX_TO_DEVICE_ANSWER: usize = 100;
/// The most to-device messages that wait for one device.
pub const MAX_QUEUE: usize = 20_000;
/// For how long a repeated to-device request is recognised.
pub const TRANSACTION_MEMORY_MS: u64 = 24 * 60 * 60 * 1000;

/// The most keys in one version of a backup.
pub const MAX_BACKUP_KEYS: u64 = 1_000_000;
/// How many backed-up keys share a batch.
pub const BACKUP_KEYS_PER_BATCH: usize = 200;
/// How many bytes of backed-up keys share a batch.
pub const BACKUP_BYTES_PER_BATCH: usize = 1 << 20;
