//! End-to-end keys, to-device messages and key backups.

use std::collections::BTreeMap;

use bytes::Bytes;
use ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use crate::{
    record,
    table::{self, Record},
};

/// What is known of the id of a one-time key, for as long as it matters: longer than the key itself, so that an upload
/// repeated by a client that missed the answer does not bring a key back that somebody has claimed meanwhile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OneTimeId {
    /// Where it was uploaded or, later, claimed.
    pub position: u64,
    /// Whether it was handed out.
    pub claimed: bool,
    /// The SHA-256 of the key object as canonical JSON.
    pub hash: [u8; 32],
}

impl OneTimeId {
    /// Where the position stands in the stored value: the engine stamps it.
    pub const POSITION: usize = 1;
}

/// The position stands at a fixed place, because the engine stamps it.
impl Record for OneTimeId {
    fn encode(&self) -> Bytes {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&self.position.to_be_bytes());
        bytes.push(u8::from(self.claimed));
        bytes.extend_from_slice(&self.hash);
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let bytes: &[u8; 42] = bytes.as_ref().try_into().ok()?;
        let claimed = match bytes[9] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let position = u64::from_be_bytes(bytes[1..9].try_into().ok()?);
        (bytes[0] == 1).then_some(Self { position, claimed, hash: bytes[10..].try_into().ok()? })
    }
}

/// What a device has to be claimed, by algorithm. Every upload and claim of such keys rewrites this row: it is what two
/// of them conflict on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Stock {
    /// One-time keys that wait.
    pub one_time: BTreeMap<String, u32>,
    /// Fallback keys, and whether each was handed out.
    pub fallback: BTreeMap<String, bool>,
}
record!(Stock, 1);

/// A key that is handed out when there is no one-time key left.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FallbackKey {
    /// Its id, with the algorithm.
    pub id: String,
    /// The key object (JSON).
    pub key: String,
}
record!(FallbackKey, 1);

/// A message for one device.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Message {
    /// Who sent it.
    pub sender: OwnedUserId,
    /// The event type.
    pub kind: String,
    /// The content (JSON).
    pub content: String,
}
record!(Message, 1);

/// The versions of a user's key backup.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct BackupHead {
    /// The number of the newest version ever made; numbers are not used again.
    pub last: u64,
    /// The newest version that exists, the only one that takes keys.
    pub current: Option<u64>,
    /// The bytes of the keys of all versions, but for those from before they were counted.
    pub bytes: u64,
}

/// Before version 2 no bytes were counted.
impl Record for BackupHead {
    fn encode(&self) -> Bytes {
        table::encode(self, 2)
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.first() != Some(&1) {
            let (last, current, bytes) = table::decode(bytes, 2)?;
            return Some(Self { last, current, bytes });
        }
        let (last, current) = table::decode(bytes, 1)?;
        Some(Self { last, current, bytes: 0 })
    }
}

/// A version of a user's key backup. Every change of its keys rewrites this row: it is what two of them conflict on.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Backup {
    /// How the keys are encrypted.
    pub algorithm: String,
    /// What the algorithm needs to know (JSON).
    pub auth_data: String,
    /// Counts the changes of the keys.
    pub etag: u64,
    /// How many keys there are.
    pub count: u64,
    /// The bytes of the keys, but for those from before they were counted.
    pub bytes: u64,
}

/// Before version 2 no bytes were counted.
impl Record for Backup {
    fn encode(&self) -> Bytes {
        table::encode(self, 2)
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.first() != Some(&1) {
            let (algorithm, auth_data, etag, count, bytes) = table::decode(bytes, 2)?;
            return Some(Self { algorithm, auth_data, etag, count, bytes });
        }
        let (algorithm, auth_data, etag, count) = table::decode(bytes, 1)?;
        Some(Self { algorithm, auth_data, etag, count, bytes: 0 })
    }
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;
    use crate::records::testing::check;

    #[test]
    fn one_time_id() {
        let id = OneTimeId { position: 0x0102_0304_0506_0708, claimed: true, hash: [0xAB; 32] };
        check(&id, &format!("01010203040506070801{}", "ab".repeat(32)));
    }

    #[test]
    fn stock() {
        let one_time = BTreeMap::from([("signed_curve25519".to_owned(), 300)]);
        let fallback = BTreeMap::from([("a".to_owned(), true)]);
        check(&Stock { one_time, fallback }, "0101117369676e65645f63757276653235353139ac0201016101");
    }

    #[test]
    fn fallback_key() {
        check(&FallbackKey { id: "a:b".to_owned(), key: "{}".to_owned() }, "0103613a62027b7d");
    }

    #[test]
    fn message() {
        let message = Message { sender: user_id!("@a:b").to_owned(), kind: "t".to_owned(), content: "{}".to_owned() };
        check(&message, "010440613a620174027b7d");
    }

    #[test]
    fn backup() {
        let head = BackupHead { last: 3, current: Some(2), bytes: 300 };
        check(&head, "02030102ac02");
        let older = BackupHead::decode(&Bytes::from_static(&[1, 3, 1, 2]));
        assert_eq!(older, Some(BackupHead { bytes: 0, ..head }));
        let (algorithm, auth_data) = ("a".to_owned(), "{}".to_owned());
        let backup = Backup { algorithm, auth_data, etag: 7, count: 200, bytes: 300 };
        check(&backup, "020161027b7d07c801ac02");
        let older = Backup::decode(&Bytes::from_static(b"\x01\x01a\x02{}\x07\xc8\x01"));
        assert_eq!(older, Some(Backup { bytes: 0, ..backup }));
    }
}
