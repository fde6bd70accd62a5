//! Every limit on what a client or another server may send, in one place.
//!
//! A limit that the specification sets is cited; the others are ours and say what they protect. Limits of this server's
//! own machinery (queue lengths, cache sizes) are configuration and are not here.
//!
//! Spec: [size limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits),
//! [identifier grammar](https://spec.matrix.org/v1.19/appendices/#identifier-grammar).

// Events

/// Bytes of a complete event: federation format, with signatures, as canonical JSON.
/// Spec: "MUST NOT be larger than 65536 bytes".
pub const MAX_PDU_BYTES: usize = 65_536;
/// Bytes of an event's `type`. Spec: size limits.
pub const MAX_EVENT_TYPE_BYTES: usize = 255;
/// Bytes of an event's `state_key`. Spec: size limits.
pub const MAX_STATE_KEY_BYTES: usize = 255;
/// Bytes of an event's `sender` and of every user ID, sigil and domain included. Spec: user identifiers.
pub const MAX_USER_ID_BYTES: usize = 255;
/// Bytes of a room ID. Spec: room IDs.
pub const MAX_ROOM_ID_BYTES: usize = 255;
/// Bytes of an event ID. Spec: event IDs.
pub const MAX_EVENT_ID_BYTES: usize = 255;
/// Bytes of a room alias. Spec: room aliases.
pub const MAX_ROOM_ALIAS_BYTES: usize = 255;
/// Entries of `prev_events`. Spec: PDU format of every room version.
pub const MAX_PREV_EVENTS: usize = 20;
/// Entries of `auth_events`. Spec: PDU format of every room version.
pub const MAX_AUTH_EVENTS: usize = 10;
/// Bytes of a `rel_type`. Spec: common namespaced identifier grammar, "at most 255 characters". An event with a longer
/// one is accepted and relates to nothing.
pub const MAX_RELATION_TYPE_BYTES: usize = 255;
/// The largest integer of canonical JSON, 2^53 - 1; the smallest is its negative. Also the limit of `depth`.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;
/// Containers inside one another in any JSON that is accepted. Ours: the parser and every later reader recurse once for
/// each, so the stack is what it protects. Clients nest some ten levels.
pub const MAX_JSON_DEPTH: usize = 100;
/// Signatures of a third-party invite, and keys of the event that it goes back to. Ours: the auth rules try each signature
/// with each key. An identity server signs with one, and hands out two or three.
pub const MAX_THIRD_PARTY_SIGNATURES: usize = 8;
/// See [`MAX_THIRD_PARTY_SIGNATURES`].
pub const MAX_THIRD_PARTY_KEYS: usize = 8;
/// Members of this server for whom one event's `m.mentions` makes a row that counts a highlight. Ours: an event has room
/// for some 1,500 names of usual length, and is accepted whatever it lists.
pub const MAX_MENTIONED_MEMBERS: usize = 2000;

/// Bytes of a pattern in a push rule, and of a display name that is looked for; what is longer never matches. Ours: each
/// member's patterns are compared with each event.
pub const MAX_PUSH_PATTERN_BYTES: usize = 1024;
/// Steps that one user's own push rules may take to decide about one event, each of some nanoseconds: 64 characters of a
/// pattern compared with one of a text, or 16 bytes of a text searched for a word. Ours: what goes beyond does not match.
/// Five hundred keywords in the longest message that there can be stay below it.
pub const MAX_PUSH_MATCHING: usize = 1 << 21;
/// Bytes of the actions of a push rule, as JSON. Ours: they are stored for each event and pusher that the rule notifies.
pub const MAX_PUSH_ACTIONS_BYTES: usize = 1024;

// Names and texts

/// Characters of a display name, of up to four bytes each. Ours, as Synapse: it is copied into a member event of each room.
pub const MAX_DISPLAY_NAME_CHARS: usize = 256;
/// Characters of an avatar URL, which are bytes in any that is one. Ours, as Synapse.
pub const MAX_AVATAR_URL_CHARS: usize = 1000;
/// Bytes of a whole profile as canonical JSON. Spec: profiles, "64 KiB".
pub const MAX_PROFILE_BYTES: usize = 65_536;
/// Bytes of the name of a profile field. Spec: profiles.
pub const MAX_PROFILE_KEY_BYTES: usize = 255;
/// Bytes of the display name of a device. Ours.
pub const MAX_DEVICE_DISPLAY_NAME_BYTES: usize = 256;
/// Bytes of a device ID that a client chooses. Ours; those we make have ten.
pub const MAX_DEVICE_ID_BYTES: usize = 255;
/// Bytes of a client's transaction ID. Ours; it is part of a key.
pub const MAX_TRANSACTION_ID_BYTES: usize = 255;
/// Bytes of the `reason` of a report, and of an operator's note on one. Ours. Those of membership changes and redactions are
/// bounded by the size of their events alone.
pub const MAX_REASON_BYTES: usize = 4096;
/// Bytes of a password. Ours: hashing a megabyte is work for nothing.
pub const MAX_PASSWORD_BYTES: usize = 512;
/// Bytes of an access, refresh or login token that is looked up. Ours; longer ones are unknown without a look.
pub const MAX_TOKEN_BYTES: usize = 255;

// Requests

/// Bytes of a request body where the endpoint has no limit of its own. Ours.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// Bytes of the body of a `GET`, and of a request without an access token. Ours: logins and registrations are far smaller.
pub const MAX_PLAIN_BODY_BYTES: usize = 64 << 10;
/// Bytes of the body of key uploads, key backup and to-device sends, which are legitimately large.
pub const MAX_KEYS_BODY_BYTES: usize = 16 << 20;
/// Tags on one room of one user. Ours.
pub const MAX_TAGS_PER_ROOM: usize = 100;
/// Bytes of a room tag. Spec: tags, "MUST not exceed 255 bytes".
pub const MAX_TAG_BYTES: usize = 255;
/// Bytes of an uploaded filter. Ours.
pub const MAX_FILTER_BYTES: usize = 65_536;
/// Entries of one list in a filter. Ours: each event is compared with each entry.
pub const MAX_FILTER_LIST: usize = 1000;

// Pages

/// Bytes of events after which a page, or one room's timeline in `/sync`, ends though more were asked for. Ours: some
/// thousand messages have fewer, and an answer is made whole in memory. A page has one event at least.
pub const MAX_PAGE_BYTES: usize = 4 << 20;
/// Bytes of the timelines of all rooms in one answer of `/sync`; from there on each has one event. Ours.
pub const MAX_SYNC_BYTES: usize = 64 << 20;
/// Bytes of the events before, and of those after, one result of `/search`. Ours: so many results have them.
pub const MAX_SEARCH_CONTEXT_BYTES: usize = 256 << 10;
/// Bytes of the states of rooms in one answer of `/search`, after which it ends before a result of another room. Ours:
/// a client that asks for them gets one room's state whole in any case.
pub const MAX_SEARCH_STATE_BYTES: usize = 16 << 20;
/// Bytes of the aggregations that one page of events has; the events behind have none, and clients ask for theirs by
/// `/relations`. Ours: an edit and a thread's latest event may each be as large as an event can be.
pub const MAX_AGGREGATED_BYTES: usize = 4 << 20;
/// Bytes of a redaction that stands, as it is, in the `unsigned` of the event it redacts; of a larger one its content is
/// left out. Ours: its endpoint takes reasons of half as many.
pub const MAX_BECAUSE_BYTES: usize = 8 << 10;
/// Bytes of the content of a room's name, topic, avatar or aliases that stripped state shows of it. Ours: every sync of who
/// is invited repeats it.
pub const MAX_STRIPPED_CONTENT_BYTES: usize = 8 << 10;
/// Events of threads that one look at a room goes through for one that its viewer may see, beyond the newest few of each.
/// Ours: whoever ignores people who say much has many to pass over.
pub const MAX_THREAD_EVENTS_LOOKED_AT: usize = 2000;
/// Invites in one request that count as one more of the requests that join and invite. Ours: each is work for as many.
pub const INVITES_PER_REQUEST: usize = 10;
/// Timeline events of one room in `/sync`, when the client's filter asks for more. Ours.
pub const MAX_SYNC_TIMELINE_LIMIT: u32 = 1000;
/// Timeline events of one room in `/sync`, when the filter does not say. Ours, as Synapse; the specification leaves it
/// open.
pub const DEFAULT_SYNC_TIMELINE_LIMIT: u32 = 10;
/// Entries of any other page (directory, hierarchy, relations). Ours.
pub const MAX_PAGE: u32 = 500;
/// Rooms in one answer of the published room directory when the client does not say. Ours.
pub const DEFAULT_DIRECTORY_LIMIT: u32 = 100;
/// Bytes of a search term for rooms or users. Ours; what is longer finds nothing.
pub const MAX_SEARCH_TERM_BYTES: usize = 256;
/// Bytes of a search term for messages. Ours; a sentence that somebody remembers fits.
pub const MAX_MESSAGE_SEARCH_BYTES: usize = 1024;
/// Results in one answer of `/search` when the filter does not say. Ours, as Synapse.
pub const DEFAULT_SEARCH_RESULTS: u32 = 10;
/// Results in one answer of `/search`. Ours.
pub const MAX_SEARCH_RESULTS: u32 = 100;
/// Events before, and events after, each result of `/search`. Ours; the specification's default is 5.
pub const MAX_SEARCH_CONTEXT: u32 = 50;
/// Users in one answer of the user directory. Ours; the specification's default is 10.
pub const MAX_USERS_FOUND: usize = 100;
/// Events in one answer of `/relations` when the client does not say. Ours; the specification leaves it open.
pub const DEFAULT_RELATIONS_LIMIT: u32 = 20;
/// Thread roots in one answer of `/threads` when the client does not say. Ours; the specification leaves it open.
pub const DEFAULT_THREADS_LIMIT: u32 = 20;
/// How many relationships `/relations` follows from an event with `recurse`. Spec: "at least 3".
pub const RECURSION_DEPTH: u32 = 3;
/// Events that `m.reference` lists of one event's bundled aggregations: the newest. Ours; `/relations` has them all.
pub const MAX_BUNDLED_REFERENCES: usize = 100;
/// Users of an `m.ignored_user_list` that are looked at. Ours: each is asked for with each thread.
pub const MAX_IGNORED_USERS: usize = 1000;
/// Events of a room that the deprecated `/rooms/{roomId}/initialSync`, and `/initialSync` if nothing is asked, show.
/// Ours; the specification names no number.
pub const INITIAL_SYNC_EVENTS: u32 = 20;
/// Events in one answer of the deprecated `/events`, and those of the last one's commit. Ours.
pub const EVENTS_PER_ANSWER: usize = 100;
/// Rooms in one answer of `/mutual_rooms`. Ours.
pub const MAX_MUTUAL_ROOMS: usize = 100;
/// Members named as heroes of a room in `/sync`. Spec: "the first 5 members".
pub const MAX_HEROES: usize = 5;

// Ephemeral

/// Relations that are followed from an event to the thread it is in. Spec: threaded read receipts, "a maximum of 3 hops
/// is recommended".
pub const MAX_THREAD_HOPS: usize = 3;
/// Milliseconds that somebody types without saying so again. Ours, as Synapse; clients say 20 to 30 seconds.
pub const MAX_TYPING_TIMEOUT_MS: u64 = 120_000;
/// Users who are shown typing in one room at a time. Ours.
pub const MAX_TYPING_SHOWN: usize = 100;
/// Receipts of others that one room's part of a first `/sync` has, the newest. Ours.
pub const MAX_RECEIPTS_PER_SYNC: usize = 500;
/// Receipts that one room's part of a later `/sync` has, those that moved last. What is left out is never told: more than
/// move while a client is away. Ours.
pub const MAX_MOVED_RECEIPTS_PER_SYNC: usize = 5000;
/// Bytes of the status message of a presence. Ours.
pub const MAX_STATUS_BYTES: usize = 1024;
/// Rooms in which a user's presence is told. Ours: each change is written once for each.
pub const MAX_PRESENCE_ROOMS: usize = 200;
/// Users whose presence one `/sync` tells, those who changed last. Ours.
pub const MAX_PRESENCE_PER_SYNC: usize = 500;
/// Events after a user's mark that are looked at to count by the user's own push rules. Ours: older ones count by the
/// default rules.
pub const MAX_COUNTED_BY_RULES: usize = 500;

// Encryption

/// To-device messages in one answer of `/sync`. Spec: "should limit the number", 100 is its example.
pub const MAX_TO_DEVICE_PER_SYNC: usize = 100;
/// Recipients (devices) of one `sendToDevice` request. Ours: they share a batch, and each is woken.
pub const MAX_TO_DEVICE_RECIPIENTS: usize = 5000;
/// Bytes of one to-device message as it is stored: with sender, type and a few bytes of ours. Ours, as an event.
pub const MAX_TO_DEVICE_BYTES: usize = 65_536;
/// Bytes that a request may write to devices, all together, to count as one against the limits of to-device messages. Ours:
/// keys of a room for twenty devices have less.
pub const TO_DEVICE_BYTES_OF_ONE_REQUEST: usize = 65_536;
/// One-time keys kept for one device, all algorithms together. Ours; clients aim at 50 to 100.
pub const MAX_ONE_TIME_KEYS: usize = 1000;
/// Fallback keys of one device, one an algorithm. Ours.
pub const MAX_FALLBACK_KEYS: usize = 16;
/// Bytes of the id of a key (algorithm included), of an algorithm, of a megolm session id. Ours; they stand in keys of
/// the database.
pub const MAX_KEY_NAME_BYTES: usize = 255;
/// Bytes of the device keys of one device, of one cross-signing key, of one backed-up key, of the `auth_data` of a backup.
/// Ours: each is a row, with its names beside it.
pub const MAX_KEY_OBJECT_BYTES: usize = 60_000;
/// Bytes of one one-time or fallback key. Ours; they have some hundreds.
pub const MAX_ONE_TIME_KEY_BYTES: usize = 16_384;
/// Users in one `/keys/query`. Ours; clients ask for some hundreds at a time.
pub const MAX_QUERIED_USERS: usize = 5000;
/// Devices in one `/keys/claim`. Ours; clients ask for some hundreds at a time.
pub const MAX_CLAIMS: usize = 5000;
/// Objects in one `/keys/signatures/upload`. Ours.
pub const MAX_SIGNED_OBJECTS: usize = 1000;
/// Sessions in one version of a key backup. Ours.
pub const MAX_BACKUP_SESSIONS: u64 = 1_000_000;
/// Bytes of the keys in all versions of a user's backup. Ours: a session has some 600, so these are nearly a million; they
/// lie on the disk, and whoever asks for all of a version gets them in one answer.
pub const MAX_BACKUP_BYTES: u64 = 512 << 20;
/// Versions of a key backup that a user may keep. Ours: a client makes one when its user begins anew.
pub const MAX_BACKUP_VERSIONS: usize = 100;
/// Sessions in one key backup request. Ours.
pub const MAX_BACKUP_SESSIONS_PER_REQUEST: usize = 10_000;

// Push

/// Bytes of a pushkey. Spec: "Max length, 512 bytes".
pub const MAX_PUSHKEY_BYTES: usize = 512;
/// Characters of the id of an app that has a pusher. Spec: "Max length, 64 chars".
pub const MAX_APP_ID_CHARS: usize = 64;
/// Bytes of each of a pusher's names, of its profile tag and its language. Ours.
pub const MAX_PUSHER_TEXT_BYTES: usize = 512;
/// Bytes of a pusher's `data`, the URL included. Ours; it goes out with each notification.
pub const MAX_PUSHER_DATA_BYTES: usize = 8192;

// Rooms

/// Users invited by one `createRoom`. Ours: they are events of one batch.
pub const MAX_CREATE_INVITES: usize = 500;
/// Events in `initial_state` of one `createRoom`. Ours: as the invites.
pub const MAX_CREATE_INITIAL_STATE: usize = 500;
/// Additional creators that one `createRoom` or upgrade names. Ours: they stand in one event, and each is compared with
/// the invited or the banned.
pub const MAX_ADDITIONAL_CREATORS: usize = 500;
/// Bans that an upgrade carries into the new room. Ours: they are events of one batch.
pub const MAX_UPGRADE_BANS: usize = 500;
/// Other state events that it carries: a space's children above all. Ours: as the bans.
pub const MAX_UPGRADE_STATE: usize = 500;
/// Rooms of a restricted room's `allow` that are looked at, from the first on. Ours: each is read when someone joins.
pub const MAX_ALLOWED_ROOMS: usize = 200;
/// Rooms in one answer of `/hierarchy` when the client does not say. Ours; the specification leaves it open.
pub const DEFAULT_HIERARCHY_LIMIT: u32 = 50;
/// Spaces within spaces that `/hierarchy` follows. Ours, as the specification demands a bound.
pub const MAX_HIERARCHY_DEPTH: u32 = 20;
/// Rooms that one walk through a space looks at, those twice that it meets again from nearer by. Ours: each page walks
/// from the start.
pub const MAX_HIERARCHY_ROOMS: usize = 2000;
/// Children that it looks at, those of all its spaces together. Ours: each is an event that is read, and a page that is
/// asked for by a token may lie behind all of them.
pub const MAX_HIERARCHY_CHILDREN: usize = 20_000;
/// Children of one space that are looked at. Ours.
pub const MAX_SPACE_CHILDREN: usize = 1000;
/// Rooms in the published room directory. Ours: what is searched of each is kept in memory.
pub const MAX_PUBLISHED_ROOMS: usize = 20_000;
/// Aliases that point at one room on this server. Ours.
pub const MAX_ALIASES_PER_ROOM: usize = 1000;

// Media

/// Bytes of the `Content-Type` of an upload. Ours; real ones have less than a hundred.
pub const MAX_CONTENT_TYPE_BYTES: usize = 255;
/// Bytes of the name of an uploaded file. Ours: file systems have 255, and an accent may take six when it is encoded.
pub const MAX_FILENAME_BYTES: usize = 1024;
/// Uploads of one user that arrive at the same time. Ours; browsers send six requests at once.
pub const MAX_UPLOADS_AT_ONCE: usize = 16;
/// Pixels on one side of a thumbnail, at most. Ours; who asks for more gets this, or the picture itself.
pub const MAX_THUMBNAIL_DIMENSION: u32 = 4096;
/// Requests for thumbnails that wait because these have to be made. Ours: each holds a connection.
pub const MAX_THUMBNAILS_ASKED: usize = 1024;
/// Those of one user. Ours; a client asks for all pictures it shows at once.
pub const MAX_THUMBNAILS_ASKED_BY_ONE: usize = 128;
/// Thumbnails in the making, their pictures open, most of them in turn for a process. Ours.
pub const MAX_THUMBNAILS_MADE: usize = 64;
/// Those of one user. Ours: others are made in between.
pub const MAX_THUMBNAILS_MADE_FOR_ONE: usize = 8;
/// Bytes of a file that a thumbnail is made of. Ours: it is held in memory for that.
pub const MAX_THUMBNAIL_SOURCE_BYTES: u64 = 64 << 20;
/// Thumbnails of one file that are kept. Ours: clients choose the ratio.
pub const MAX_THUMBNAILS_PER_FILE: usize = 64;
/// Bytes of an address of which somebody wants a preview, and of the picture's. Ours: longer ones are no links.
pub const MAX_PREVIEW_URL_BYTES: usize = 4096;
/// Properties of a page that are looked at. Ours: the protocol knows some twenty for a page.
pub const MAX_PREVIEW_PROPERTIES: usize = 32;
/// Bytes of the name of a property. Ours.
pub const MAX_PREVIEW_NAME_BYTES: usize = 50;
/// Bytes of the value of a property; of what is longer the beginning is told. Ours.
pub const MAX_PREVIEW_TEXT_BYTES: usize = 1000;
/// Redirects on the way to a page. Ours: browsers follow twenty, and pages need two.
pub const MAX_PREVIEW_REDIRECTS: usize = 5;
/// Previews that wait for others to be made. Ours: each waits for a server of somebody's choice.
pub const MAX_PREVIEWS_WAITING: usize = 256;
/// Those of one user. Ours; a client asks for all links it shows at once.
pub const MAX_PREVIEWS_WAITING_FOR_ONE: usize = 32;
