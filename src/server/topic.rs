//! What can change: the topics that batches announce and long polls watch.

use depesche_store::Topic;
use ruma::{DeviceId, UserId};
use sha2::{Digest, Sha256};

/// Something new in a room: an event.
pub fn room(room_no: u64) -> Topic {
    Topic(kind(1) | (room_no & LOW))
}

/// The room of a topic of [`room`]; `None` for any other topic.
pub fn room_of(topic: Topic) -> Option<u64> {
    (topic.0 & !LOW == kind(1)).then_some(topic.0 & LOW)
}

/// Something new for a user on all their devices, that may bear on all their rooms: a membership, push rules, whom they
/// ignore, keys and signatures.
pub fn user(user: &UserId) -> Topic {
    Topic(kind(2) | hash(&[user.as_bytes()]))
}

/// Something new for one device: a to-device message, a change in its key counts.
pub fn device(user: &UserId, device: &DeviceId) -> Topic {
    Topic(kind(3) | hash(&[user.as_bytes(), device.as_bytes()]))
}

/// A member of the room changed device keys or cross-signing keys.
pub fn keys_in_room(room_no: u64) -> Topic {
    Topic(kind(4) | (room_no & LOW))
}

/// Any user of this server, or of others that it knows, changed device keys or cross-signing keys.
pub fn keys() -> Topic {
    Topic(kind(7))
}

/// An announced file has come.
pub fn file(id: &str) -> Topic {
    Topic(kind(0x70) | hash(&[id.as_bytes()]))
}

/// The published room directory: a room came or went.
pub fn directory() -> Topic {
    Topic(kind(0x20))
}

/// Something for the push worker: an event that may notify, a count that was read down.
pub fn push() -> Topic {
    Topic(kind(15))
}

/// Something passing in a room: a receipt that all may see, somebody typing, a member's presence.
pub fn passing(room_no: u64) -> Topic {
    Topic(kind(5) | (room_no & LOW))
}

/// The room of a topic of [`passing`]; `None` for any other topic.
pub fn passing_of(topic: Topic) -> Option<u64> {
    (topic.0 & !LOW == kind(5)).then_some(topic.0 & LOW)
}

/// Whether it is a topic of [`passing`].
pub fn is_passing(topic: Topic) -> bool {
    passing_of(topic).is_some()
}

/// A receipt that the user alone may see.
pub fn private_receipt(user: &UserId) -> Topic {
    Topic(kind(6) | hash(&[user.as_bytes()]))
}

/// Account data of a user that changes nothing of how the server sees their rooms: tags, the fully read marker, what
/// clients keep. What does is announced as [`user`].
pub fn account_data(user: &UserId) -> Topic {
    Topic(kind(8) | hash(&[user.as_bytes()]))
}

const LOW: u64 = (1 << 56) - 1;

fn kind(kind: u64) -> u64 {
    kind << 56
}

/// 56 bits of a hash: two names that share them wake each other needlessly, and nothing else.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (first, _) = digest.split_first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first) & LOW
}
