//! Every table, one line each. A number is never reused. One module writes a table, as a rule; each says who does, which a
//! test holds (`writers.rs`).
//!
//! | numbers | whose |
//! |---|---|
//! | `01`..`0F` | the server itself |
//! | `10`..`2F` | accounts, devices, profiles, account data |
//! | `30`..`4F` | rooms |
//! | `50`..`6F` | end-to-end keys, backups, to-device messages |
//! | `70`..`7F` | media |
//! | `80`..`8F` | push |
//! | `90`..`9F` | search |
//! | `F0`.. | volatile: in memory, empty after a restart |

use bytes::Bytes;
use depesche_store::Position;
use ruma::{OwnedDeviceId, OwnedEventId, OwnedRoomAliasId, OwnedRoomId, OwnedServerName, OwnedUserId};

use crate::{
    records::{
        accounts::{
            AccessToken, Account, AccountData, Consent, Deactivation, Device, DeviceList, LoginToken, OpenIdToken,
            Password, RefreshToken, RegistrationToken, Seen, Session, Spread, TokenHash,
        },
        events::{Meta, Place},
        keys::{Backup, BackupHead, FallbackKey, Message, OneTimeId, Stock},
        media::{Blob, BlobHash, File, Thumbnail, Usage},
        push::{Delivery, Notice, Pusher},
        reading::{Mark, Named, Receipt, Tally, Uncounted},
        relations::{List, Listed, Related},
        reports::Report,
        rooms::{Alias, Head, Membership, Room, RootRecord, StateKey, Unread},
        search::{Followed, Indexed, Part, Posting},
        server::{Due, Identity, MigrationState},
    },
    table::Table,
};

/// Numbers a room on this server; never sent anywhere.
pub type RoomNo = u64;
/// Numbers an event within its room; a topological order of the auth graph.
pub type EventNo = u32;
/// Numbers a pair of event type and state key within a room.
pub type KeyNo = u32;
/// Numbers a node of a room's state tree.
pub type NodeNo = u32;

// The server itself
/// Who this database belongs to and how it is written. One row. Written by `identity` and `migrations`.
pub const IDENTITY: Table<(u8,), Identity> = Table::new(0x01, "identity");
/// Dense counters by name (`room`). Written by `rooms` and `reports`.
pub const COUNTER: Table<(String,), u64> = Table::new(0x02, "counter");
/// What users report, numbered from 1. Written by `reports`.
pub const REPORT: Table<(u64,), Report> = Table::new(0x04, "report");
/// The reports that wait. Written by `reports`.
pub const REPORT_OPEN: Table<(u64,), ()> = Table::new(0x05, "report_open");
/// A user's report that waits, by the hash of what it is about. Written by `reports`.
pub const REPORT_OF: Table<(OwnedUserId, [u8; 32]), u64> = Table::new(0x06, "report_of");
/// How many reports of a user wait. Written by `reports`.
pub const REPORT_COUNT: Table<(OwnedUserId,), u32> = Table::new(0x07, "report_count");

/// What ends by itself, by the time of its end (in milliseconds since 1970) and a hash of its key. Written by `expiry`.
pub const DUE: Table<(u64, [u8; 16]), Due> = Table::new(0x03, "due");
/// The migration under way. One row or none. Written by `migrations`.
pub const MIGRATION: Table<(u8,), MigrationState> = Table::new(0x08, "migration");
/// Where this database went on as a copy of an earlier one: by the first position of its own, the last one that it shares
/// with the original. Written by `restored`.
pub const RESTORED: Table<(Position,), u64> = Table::new(0x09, "restored");

// Accounts, devices, profiles, account data
/// An account. Its row is never removed. Written by `accounts`.
pub const ACCOUNT: Table<(OwnedUserId,), Account> = Table::new(0x10, "account");
/// The password of an account. Written by `accounts`.
pub const PASSWORD: Table<(OwnedUserId,), Password> = Table::new(0x11, "password");
/// Whom an access token admits, by its hash. Written by `accounts::sessions`.
pub const ACCESS_TOKEN: Table<(TokenHash,), AccessToken> = Table::new(0x12, "access_token");
/// Whose session a refresh token continues, by its hash. Written by `accounts::sessions`.
pub const REFRESH_TOKEN: Table<(TokenHash,), RefreshToken> = Table::new(0x13, "refresh_token");
/// The tokens of a device. Written by `accounts::sessions`.
pub const SESSION: Table<(OwnedUserId, OwnedDeviceId), Session> = Table::new(0x14, "session");
/// Whom a token of `m.login.token` logs in, by its hash. Written by `accounts::login_tokens`.
pub const LOGIN_TOKEN: Table<(TokenHash,), LoginToken> = Table::new(0x15, "login_token");
/// Tokens that let people register. Written by `accounts::registration_tokens`.
pub const REGISTRATION_TOKEN: Table<(String,), RegistrationToken> = Table::new(0x17, "registration_token");
/// The documents a user agreed to. Written by `accounts::provision`.
pub const CONSENT: Table<(OwnedUserId, String), Consent> = Table::new(0x18, "consent");
/// Deactivations under way. Written by `accounts::deactivate`.
pub const DEACTIVATION: Table<(OwnedUserId,), Deactivation> = Table::new(0x19, "deactivation");
/// A user's devices. Written by `devices`.
pub const DEVICE: Table<(OwnedUserId, OwnedDeviceId), Device> = Table::new(0x1A, "device");
/// When a device was last seen. Written by `devices`.
pub const DEVICE_SEEN: Table<(OwnedUserId, OwnedDeviceId), Seen> = Table::new(0x1B, "device_seen");
/// How many devices a user has; changes with each new one. Written by `devices`.
pub const DEVICE_LIST: Table<(OwnedUserId,), DeviceList> = Table::new(0x22, "device_list");
/// A user's profile: a JSON object, one key a field. Written by `profiles`.
pub const PROFILE: Table<(OwnedUserId,), String> = Table::new(0x1C, "profile");
/// A user's filters (JSON), numbered from 0. Immutable. Written by `filters`.
pub const FILTER: Table<(OwnedUserId, u32), String> = Table::new(0x1D, "filter");
/// The number of a filter, by the SHA-256 of its text. Immutable. Written by `filters`.
pub const FILTER_NO: Table<(OwnedUserId, [u8; 32]), u32> = Table::new(0x1E, "filter_no");
/// Account data: user, room (0 for global), type. Written by `account_data`.
pub const ACCOUNT_DATA: Table<(OwnedUserId, RoomNo, String), AccountData> = Table::new(0x1F, "account_data");
/// The same entries by the position of their last change. Written by `account_data`.
pub const ACCOUNT_DATA_LOG: Table<(OwnedUserId, Position, RoomNo, String), ()> = Table::new(0x20, "account_data_log");
/// How many entries a user has. Written by `account_data`.
pub const ACCOUNT_DATA_COUNT: Table<(OwnedUserId,), u32> = Table::new(0x21, "account_data_count");
/// How many bytes a user's entries have together; no row until one changes. Written by `account_data`.
pub const ACCOUNT_DATA_BYTES: Table<(OwnedUserId,), u64> = Table::new(0x2F, "account_data_bytes");
/// Changed names and avatars on their way into the user's rooms. Written by `profiles` and `workflows::profile`.
pub const PROFILE_SPREAD: Table<(OwnedUserId,), Spread> = Table::new(0x27, "profile_spread");
/// Users by the words of their names, for the user directory. Written by `profiles::terms`.
pub const USER_TERM: Table<(String, OwnedUserId), ()> = Table::new(0x28, "user_term");
/// The words of a user's names, one a line. Written by `profiles::terms`.
pub const USER_TERMS: Table<(OwnedUserId,), String> = Table::new(0x29, "user_terms");
/// How far the lists that older databases do not have are built, by name: the last key, or nothing once all is done.
/// Written by `workflows::build`.
pub const BUILT: Table<(String,), String> = Table::new(0x2A, "built");
/// Whom others see as there: of whom a start finds here, they are told that they went. Written by `presence`.
pub const THERE: Table<(OwnedUserId,), ()> = Table::new(0x2B, "there");
/// A user's pushers: user, app, pushkey. Written by `pushers`.
pub const PUSHER: Table<(OwnedUserId, String, String), Pusher> = Table::new(0x2C, "pusher");
/// Whose pushers share an app and a pushkey: one phone, several people. Written by `pushers`.
pub const PUSHER_OWNER: Table<(String, String, OwnedUserId), ()> = Table::new(0x2D, "pusher_owner");
/// How many pushers a user has; no row if none. Written by `pushers`.
pub const PUSHER_COUNT: Table<(OwnedUserId,), u32> = Table::new(0x2E, "pusher_count");
/// Whom a token of OpenID names, by its hash. Written by `accounts::openid`.
pub const OPENID_TOKEN: Table<(TokenHash,), OpenIdToken> = Table::new(0x23, "openid_token");

// Rooms
/// A room's number. Written by `rooms::append`.
pub const ROOM_NO: Table<(OwnedRoomId,), RoomNo> = Table::new(0x30, "room_no");
/// What never changes of a room. Written by `rooms::append`.
pub const ROOM: Table<(RoomNo,), Room> = Table::new(0x31, "room");
/// What each append changes of a room; its batches require it. Written by `rooms::append`.
pub const HEAD: Table<(RoomNo,), Head> = Table::new(0x32, "head");
/// An event as its room signs it (JSON). Immutable. Written by `rooms::append`.
pub const EVENT: Table<(RoomNo, EventNo), Bytes> = Table::new(0x33, "event");
/// What the server knows of an event. Written by `rooms::append`.
pub const META: Table<(RoomNo, EventNo), Meta> = Table::new(0x34, "meta");
/// Where an event is. Written by `rooms::append`.
pub const EVENT_NO: Table<(OwnedEventId,), (RoomNo, EventNo)> = Table::new(0x35, "event_no");
/// The number of a pair of type and state key. Immutable. Written by `rooms::append`.
pub const KEY_NO: Table<(RoomNo, String, String), KeyNo> = Table::new(0x36, "key_no");
/// The pair behind a number. Immutable. Written by `rooms::append`.
pub const KEY: Table<(RoomNo, KeyNo), StateKey> = Table::new(0x37, "key");
/// Nodes of the state tree. Immutable. Written by `rooms::append`.
pub const NODE: Table<(RoomNo, NodeNo), Bytes> = Table::new(0x38, "node");
/// The state before an event. Written by `rooms::append`.
pub const ROOT_BEFORE: Table<(RoomNo, EventNo), RootRecord> = Table::new(0x39, "root_before");
/// The state after a commit that changed it; the newest row at or below a position counts. Written by `rooms::append`.
pub const ROOT_AT: Table<(RoomNo, Position), RootRecord> = Table::new(0x3A, "root_at");
/// The order of a room's events as clients page through it: anchor, place in the batch, place before the anchor.
/// Written by `rooms::append`.
pub const TIMELINE: Table<(RoomNo, Position, u16, i32), EventNo> = Table::new(0x3B, "timeline");
/// The rooms a user has or had to do with. Written by `rooms::append`, forgotten by `rooms::members`.
pub const MEMBER: Table<(OwnedUserId, RoomNo), Membership> = Table::new(0x3C, "member");
/// What a device's transaction id made: user, device, room and kind of request, transaction id. Written by
/// `rooms::lane`, forgotten by `devices`.
pub const TRANSACTION: Table<(OwnedUserId, OwnedDeviceId, String, String), OwnedEventId> =
    Table::new(0x3D, "transaction");
/// The room an alias points to, and who made it. Written by `rooms::aliases`, `workflows::create` and
/// `workflows::upgrade`.
pub const ALIAS: Table<(OwnedRoomAliasId,), Alias> = Table::new(0x3E, "alias");
/// The aliases of a room. Written by `rooms::aliases`, `workflows::create` and `workflows::upgrade`.
pub const ROOM_ALIAS: Table<(RoomNo, OwnedRoomAliasId), ()> = Table::new(0x3F, "room_alias");
/// What a member had read on joining, as an ordinal of the room. Written by `rooms::append`.
pub const UNREAD: Table<(OwnedUserId, RoomNo), Unread> = Table::new(0x40, "unread");
/// Events that name a member, by the room's ordinal. Written by `rooms::count`.
pub const NAMED: Table<(OwnedUserId, RoomNo, u32), Named> = Table::new(0x41, "named");

/// Rooms in the published room directory. Written by `workflows::create`, `workflows::upgrade` and `directory`, and by
/// `rooms::append` when the last member goes.
pub const PUBLISHED: Table<(RoomNo,), ()> = Table::new(0x42, "published");
/// What a user said of an event with an annotation: the event's id, a hash of sender, type and key. Written by
/// `rooms::annotations`.
pub const ANNOTATION: Table<(RoomNo, String, [u8; 32]), EventNo> = Table::new(0x43, "annotation");
/// Rooms that everyone may join or read: their members may be found by everyone. Written by `rooms::append`.
pub const OPEN_ROOM: Table<(RoomNo,), ()> = Table::new(0x4E, "open_room");
/// Where somebody types: of the rooms that a start finds here, it is told that nobody does. Written by `typing`.
pub const TYPED: Table<(RoomNo,), ()> = Table::new(0x4D, "typed");
/// The events about an event (by the parent's id), in the order of the timeline, in several lists. Written by
/// `rooms::relations`.
pub const RELATION: Table<(RoomNo, OwnedEventId, List, Place), Listed> = Table::new(0x44, "relation");
/// What may replace an event: the parent's id, the sender, the time of the replacement, its id. Written by
/// `rooms::relations`.
pub const REPLACEMENT: Table<(RoomNo, OwnedEventId, OwnedUserId, u64, OwnedEventId), EventNo> =
    Table::new(0x45, "replacement");
/// How many events of which kind are about an event, and (with a user's id) how many of them a user sent. Written by
/// `rooms::relations`.
pub const RELATED: Table<(RoomNo, OwnedEventId, String), Related> = Table::new(0x46, "related");
/// The roots of a room's threads by the place of each thread's latest event. Written by `rooms::relations`.
pub const THREAD: Table<(RoomNo, Place), OwnedEventId> = Table::new(0x47, "thread");

/// How far a user's receipts of a type (`rooms::receipts::Kind`) go in a thread: its root, `main`, or empty without one.
/// Written by `rooms::receipts`.
pub const RECEIPT: Table<(RoomNo, OwnedUserId, u8, String), Receipt> = Table::new(0x48, "receipt");
/// Receipts by the position of their last move: who may see them (a room, or the user alone), position, room, user,
/// thread. Written by `rooms::receipts`.
pub const RECEIPT_LOG: Table<(String, Position, RoomNo, OwnedUserId, String), ()> = Table::new(0x49, "receipt_log");
/// What a thread (empty: the main timeline) has counted with the event of this ordinal. Immutable. Written by
/// `rooms::count`.
pub const TALLY: Table<(RoomNo, String, u32), Tally> = Table::new(0x4A, "tally");
/// The threads of a room by the ordinal of their newest event that notifies anyone. Written by `rooms::count`.
pub const COUNTED_THREAD: Table<(RoomNo, u32), String> = Table::new(0x4B, "counted_thread");
/// What an event of this ordinal had counted, since it was redacted. Written by `rooms::count`.
pub const UNCOUNTED: Table<(RoomNo, u32), Uncounted> = Table::new(0x4F, "uncounted");
/// How far a member has read: user, room, by what (`rooms::unread::By`), thread. Rows of receipts are written by
/// `rooms::receipts`, those of own events by `rooms::count`.
pub const MARK: Table<(OwnedUserId, RoomNo, u8, String), Mark> = Table::new(0x4C, "mark");

// End-to-end keys, backups, to-device messages (0x50..0x6F)
/// The identity keys of a device (canonical JSON). Written by `keys::upload`, removed by
/// `keys::forget`.
pub const DEVICE_KEYS: Table<(OwnedUserId, OwnedDeviceId), String> = Table::new(0x50, "device_keys");
/// One-time keys that wait (canonical JSON): user, device, algorithm, where they were uploaded, id with the algorithm.
/// Written by `keys::one_time`, removed by `keys::forget`.
pub const ONE_TIME_KEY: Table<(OwnedUserId, OwnedDeviceId, String, Position, String), String> =
    Table::new(0x51, "one_time_key");
/// What became of a one-time key, by its id with the algorithm. Written by `keys::one_time`, removed by `keys::forget`.
pub const ONE_TIME_ID: Table<(OwnedUserId, OwnedDeviceId, String), OneTimeId> = Table::new(0x52, "one_time_id");
/// The fallback key of an algorithm. Written by `keys::one_time`, removed by `keys::forget`.
pub const FALLBACK_KEY: Table<(OwnedUserId, OwnedDeviceId, String), FallbackKey> = Table::new(0x53, "fallback_key");
/// How many keys a device has to be claimed. Written by `keys::one_time`, removed by `keys::forget`.
pub const STOCK: Table<(OwnedUserId, OwnedDeviceId), Stock> = Table::new(0x54, "stock");
/// A user's cross-signing keys by usage (canonical JSON). Written by `keys::cross_signing`.
pub const CROSS_SIGNING_KEY: Table<(OwnedUserId, String), String> = Table::new(0x55, "cross_signing_key");
/// Signatures of users on their own keys, seen by all: user, signed device or public key, id of the signing key.
/// Written by `keys::signatures`; removed, with what they sign, by `keys::upload`, `keys::cross_signing` and `keys::forget`.
pub const OWN_SIGNATURE: Table<(OwnedUserId, String, String), String> = Table::new(0x56, "own_signature");
/// Signatures of users on others' master keys, seen by the signer alone: signer, signed user, signed public key, id of
/// the signing key. Written by `keys::signatures`.
pub const USER_SIGNATURE: Table<(OwnedUserId, OwnedUserId, String, String), String> =
    Table::new(0x57, "user_signature");
/// Where a user's keys last changed. Written by `keys::changes`.
pub const KEY_HEAD: Table<(OwnedUserId,), u64> = Table::new(0x58, "key_head");
/// The same by position: one row a user. Written by `keys::changes`.
pub const KEY_LOG: Table<(Position, OwnedUserId), ()> = Table::new(0x59, "key_log");
/// Where a signer last signed another user: signer, signed user. Written by `keys::changes`.
pub const SIGNED_HEAD: Table<(OwnedUserId, OwnedUserId), u64> = Table::new(0x5A, "signed_head");
/// The same by position: signer, position, signed user. Written by `keys::changes`.
pub const SIGNED_LOG: Table<(OwnedUserId, Position, OwnedUserId), ()> = Table::new(0x5B, "signed_log");
/// To-device messages until their device has acknowledged them. Written by `to_device`.
pub const TO_DEVICE: Table<(OwnedUserId, OwnedDeviceId, Position), Message> = Table::new(0x60, "to_device");
/// The to-device requests a device made of late, by hash of type and transaction id, with their time. Written by
/// `to_device`.
pub const TO_DEVICE_TXN: Table<(OwnedUserId, OwnedDeviceId, [u8; 32]), u64> = Table::new(0x61, "to_device_txn");
/// A user's backup versions as a whole. Written by `backup`.
pub const BACKUP_HEAD: Table<(OwnedUserId,), BackupHead> = Table::new(0x64, "backup_head");
/// A version of a user's key backup. Written by `backup`.
pub const BACKUP: Table<(OwnedUserId, u64), Backup> = Table::new(0x65, "backup");
/// A backed-up key (JSON): user, version, room, session. Written by `backup`.
pub const BACKUP_KEY: Table<(OwnedUserId, u64, OwnedRoomId, String), String> = Table::new(0x66, "backup_key");

// Media (0x70..0x7F)
/// What an `mxc://` address stands for: server, media id. Written by `media::upload` and `media::preview`, removed by
/// `media::remove`.
pub const FILE: Table<(OwnedServerName, String), File> = Table::new(0x70, "file");
/// Bytes that are kept. Written by `media::keep`.
pub const BLOB: Table<(BlobHash,), Blob> = Table::new(0x71, "blob");
/// Thumbnails of a blob: width, height, whether cropped, whether it may move. Written by `media::thumbnails`.
pub const THUMBNAIL: Table<(BlobHash, u32, u32, u8, u8), Thumbnail> = Table::new(0x72, "thumbnail");
/// A user's files by time. Written by `media::upload`, removed by `media::remove`.
pub const FILE_OF: Table<(OwnedUserId, u64, String), ()> = Table::new(0x73, "file_of");
/// What a user has uploaded in all. Written by `media::upload` and `media::remove`.
pub const USAGE: Table<(OwnedUserId,), Usage> = Table::new(0x74, "usage");
/// A user's announced uploads by their end. Written by `media::upload`, removed by `media::remove` too.
pub const PENDING: Table<(OwnedUserId, u64, String), ()> = Table::new(0x75, "pending");
/// Bytes that have no row yet, or not any more, with the time: what a crash left is deleted. Written by `media::keep`.
pub const LOOSE_BLOB: Table<(BlobHash,), u64> = Table::new(0x76, "loose_blob");
/// The pictures of previews by their end: when, and the media id. Written by `media::preview`.
pub const PREVIEW_PICTURE: Table<(u64, String), ()> = Table::new(0x77, "preview_picture");

// Push (0x80..0x8F)
/// Events that nobody has looked at yet for whom they notify, in the order of their commits: position, place in the
/// batch. Written by `rooms::append`, taken by `outbox::push`.
pub const PUSH_OUTBOX: Table<(Position, u16), (RoomNo, EventNo)> = Table::new(0x80, "push_outbox");
/// What waits for a pusher: user, app, pushkey, and the event's place as above. Written by `outbox::push`, forgotten by
/// `pushers`.
pub const PUSH_QUEUE: Table<(OwnedUserId, String, String, Position, u16), Notice> = Table::new(0x81, "push_queue");
/// How a pusher's gateway did of late. Written by `outbox::push`, forgotten by `pushers`.
pub const PUSH_DELIVERY: Table<(OwnedUserId, String, String), Delivery> = Table::new(0x82, "push_delivery");
/// Users whose pushers the worker is to look at: their unread count may have changed by reading, or they set a pusher.
/// Written by `pushers`, taken by `outbox::push`.
pub const BADGE_DUE: Table<(OwnedUserId,), ()> = Table::new(0x83, "badge_due");

// Search (0x90..0x9F)
/// The events of a room that have a word: where they have it, the word, the first of the events that one batch found.
/// Written by `search::index`.
pub const POSTING: Table<(RoomNo, Part, String, EventNo), Posting> = Table::new(0x90, "posting");
/// Which events of a room are indexed; no row of an encrypted one. Written by `search::index`.
pub const INDEXED: Table<(RoomNo,), Indexed> = Table::new(0x91, "indexed");
/// How far the index has come. One row or none. Written by `search::index`.
pub const FOLLOWED: Table<(u8,), Followed> = Table::new(0x92, "followed");

// Volatile
/// Who types in a room. The row without a user has the position of the room's last change. Written by `typing`.
pub const TYPING: Table<(RoomNo, String), u64> = Table::new(0xF0, "typing");
/// Whose presence last changed where, by room and position. Written by `presence`.
pub const PRESENCE: Table<(RoomNo, Position, OwnedUserId), ()> = Table::new(0xF1, "presence");
