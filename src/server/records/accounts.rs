//! Accounts, their devices and sessions, and what users keep on the server.

use std::net::IpAddr;

use bytes::Bytes;
use depesche_store::{Position, Stamp, StampAt};
use ruma::{OwnedDeviceId, OwnedUserId};
use serde::{Deserialize, Serialize};

use crate::{
    record,
    table::{self, Record},
};

/// The SHA-256 of a token. Tokens themselves are never stored.
pub type TokenHash = [u8; 32];

/// An account of this server. Its row stays for ever, so that nobody else can take the name.
#[expect(clippy::struct_excessive_bools, reason = "each is set and read on its own, in any combination")]
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Account {
    /// When it was made.
    pub created_ms: u64,
    /// How it was made.
    pub origin: Origin,
    /// Whether it may use the admin API.
    pub admin: bool,
    /// Whether it is in use.
    pub standing: Standing,
    /// Its user asked for erasure: those who join later see its events redacted.
    pub erased: bool,
    /// May do nothing but log out, until unlocked.
    pub locked: bool,
    /// May read and leave, but not write, until unsuspended.
    pub suspended: bool,
}
record!(Account, 1);

/// How an account was made.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Origin {
    /// Its user registered it without anybody's leave.
    Registration,
    /// Its user registered it with a registration token.
    RegistrationToken,
    /// An operator made it.
    Operator,
}

/// Whether an account is in use.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Standing {
    /// It is.
    Active,
    /// It is being deactivated: nobody can log in any more, but it may still be in rooms.
    Deactivating,
    /// It is not, and never will be again.
    Deactivated,
}

/// The password of an account.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct Password {
    /// Salted and hashed, as a string in PHC format: it names the algorithm and its parameters.
    pub hash: String,
    /// When it was set.
    pub set_ms: u64,
}
record!(Password, 1);

/// A device of a user.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Device {
    /// What its user calls it.
    pub display_name: Option<String>,
    /// When it first logged in.
    pub created_ms: u64,
}
record!(Device, 1);

/// The devices of a user as a whole. Whoever removes all of them relies on this row, so that a login in the same moment
/// cannot slip through.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceList {
    /// How many there are.
    pub count: u32,
    /// How many there ever were.
    pub added: u32,
}
record!(DeviceList, 1);

/// When a device was last seen. A row of its own, because it changes often and its loss does no harm.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Seen {
    /// When, within a minute.
    pub at_ms: u64,
    /// From where.
    pub ip: Option<IpAddr>,
}
record!(Seen, 1);

/// The tokens of a device: at most one pair in use, and one that a refresh made and the client has not used yet.
#[derive(Clone, Eq, PartialEq, Serialize)]
pub struct Session {
    /// In use.
    pub current: Pair,
    /// Made by a refresh from `current`. Its first use makes it `current`.
    pub next: Option<Pair>,
    /// The access token before `current`: valid until it expires or `next` comes into use, for requests that are still
    /// under way.
    pub previous: Option<TokenHash>,
    /// Refresh tokens that others have replaced, the oldest first: who shows one is told that the session goes on.
    pub replaced: Vec<TokenHash>,
    /// Pairs of earlier refreshes from the same token, the oldest first: whichever is used first becomes `current`. Without
    /// a refresh token once another was: then the access token is valid until it expires or `next` comes into use.
    pub displaced: Vec<Pair>,
}

/// Before version 2 no replaced refresh tokens were kept, before version 3 no displaced pairs.
impl Record for Session {
    fn encode(&self) -> Bytes {
        table::encode(self, 3)
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let (current, next, previous, replaced, displaced) = match bytes.first() {
            Some(1) => {
                let (current, next, previous) = table::decode(bytes, 1)?;
                (current, next, previous, Vec::new(), Vec::new())
            }
            Some(2) => {
                let (current, next, previous, replaced) = table::decode(bytes, 2)?;
                (current, next, previous, replaced, Vec::new())
            }
            _ => table::decode(bytes, 3)?,
        };
        Some(Self { current, next, previous, replaced, displaced })
    }
}

/// An access token and the refresh token given with it.
#[derive(Clone, Copy, Deserialize, Eq, PartialEq, Serialize)]
pub struct Pair {
    /// The access token.
    pub access: TokenHash,
    /// Absent for clients that cannot refresh; their access token does not expire.
    pub refresh: Option<TokenHash>,
}

/// Whom an access token admits.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct AccessToken {
    /// The user.
    pub user: OwnedUserId,
    /// The device.
    pub device: OwnedDeviceId,
    /// From when on it is refused.
    pub expires_ms: Option<u64>,
    /// Made by a refresh and not used yet: its first use revokes the refresh token it was made from.
    pub fresh: bool,
}
record!(AccessToken, 1);

/// Whose session a refresh token continues.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct RefreshToken {
    /// The user.
    pub user: OwnedUserId,
    /// The device.
    pub device: OwnedDeviceId,
}
record!(RefreshToken, 1);

/// Whom a token of `m.login.token` logs in, once.
#[derive(Clone, Eq, PartialEq, Serialize)]
pub struct LoginToken {
    /// The user.
    pub user: OwnedUserId,
    /// From when on it is refused.
    pub expires_ms: u64,
    /// When it was given.
    pub issued_ms: u64,
}

/// Before version 2 it was not said when a token was given: such a one counts as older than every password.
impl Record for LoginToken {
    fn encode(&self) -> Bytes {
        table::encode(self, 2)
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        if bytes.first() != Some(&1) {
            let (user, expires_ms, issued_ms) = table::decode(bytes, 2)?;
            return Some(Self { user, expires_ms, issued_ms });
        }
        let (user, expires_ms) = table::decode(bytes, 1)?;
        Some(Self { user, expires_ms, issued_ms: 0 })
    }
}

/// Whom a token of OpenID names to other services.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
pub struct OpenIdToken {
    /// The user.
    pub user: OwnedUserId,
    /// From when on it is refused.
    pub expires_ms: u64,
}
record!(OpenIdToken, 1);

/// A token that lets people register.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RegistrationToken {
    /// How many accounts it is good for; `None` for any number.
    pub uses_allowed: Option<u32>,
    /// How many it has made.
    pub completed: u32,
    /// When it was made.
    pub created_ms: u64,
    /// From when on it is refused.
    pub expires_ms: Option<u64>,
}
record!(RegistrationToken, 1);

/// A document that a user agreed to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Consent {
    /// The version that was shown.
    pub version: String,
    /// When.
    pub agreed_ms: u64,
}
record!(Consent, 1);

/// A deactivation under way: the journal row that lets it go on after a restart.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Deactivation {
    /// Whether the user asked for erasure.
    pub erase: bool,
    /// When it began.
    pub began_ms: u64,
}
record!(Deactivation, 1);

/// An entry of account data, global or of a room.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountData {
    /// Where it was last written. The engine stamps it.
    pub position: Position,
    /// A JSON object.
    pub content: String,
}

impl AccountData {
    /// Where the position stands in the stored value.
    pub const POSITION: Stamp = Stamp { at: StampAt::Value, offset: 1 };
    /// The bytes a stored value has beside the content.
    pub const OVERHEAD: usize = 9;
}

/// The position stands at a fixed place, because the engine stamps it.
impl Record for AccountData {
    fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(Self::OVERHEAD + self.content.len());
        bytes.push(1);
        bytes.extend_from_slice(&self.position.0.to_be_bytes());
        bytes.extend_from_slice(self.content.as_bytes());
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let rest = bytes.strip_prefix(&[1])?;
        let (position, content) = rest.split_first_chunk()?;
        let content = std::str::from_utf8(content).ok()?.to_owned();
        Some(Self { position: Position(u64::from_be_bytes(*position)), content })
    }
}

/// A changed display name or avatar on its way into the user's rooms: the journal row that lets it go on after a
/// restart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Spread {
    /// Where the profile was changed. The engine stamps it: a later change is another row.
    pub changed: Position,
    /// The rooms below this number have it.
    pub next: u64,
}

impl Spread {
    /// Where the position stands in the stored value.
    pub const CHANGED: Stamp = Stamp { at: StampAt::Value, offset: 1 };
}

/// The position stands at a fixed place, because the engine stamps it.
impl Record for Spread {
    fn encode(&self) -> Bytes {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&self.changed.0.to_be_bytes());
        bytes.extend_from_slice(&self.next.to_be_bytes());
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let bytes: &[u8; 17] = bytes.as_ref().try_into().ok()?;
        let (changed, next) = (bytes[1..9].try_into().ok()?, bytes[9..].try_into().ok()?);
        (bytes[0] == 1).then(|| Self { changed: Position(u64::from_be_bytes(changed)), next: u64::from_be_bytes(next) })
    }
}

#[cfg(test)]
mod tests {
    use ruma::{device_id, user_id};

    use super::*;
    use crate::records::testing::check;

    #[test]
    fn accounts() {
        let account = Account {
            created_ms: 1,
            origin: Origin::Operator,
            admin: true,
            standing: Standing::Deactivating,
            erased: false,
            locked: true,
            suspended: false,
        };
        check(&account, "0101020101000100");
        check(&Password { hash: "h".into(), set_ms: 2 }, "01016802");
        check(&Consent { version: "1".into(), agreed_ms: 3 }, "01013103");
        check(&Deactivation { erase: true, began_ms: 4 }, "010104");
        let token = RegistrationToken { uses_allowed: Some(5), completed: 6, created_ms: 7, expires_ms: None };
        check(&token, "010105060700");
    }

    #[test]
    fn devices_and_sessions() {
        check(&Device { display_name: Some("d".into()), created_ms: 1 }, "0101016401");
        check(&DeviceList { count: 1, added: 2 }, "010102");
        check(&Seen { at_ms: 1, ip: Some([127, 0, 0, 1].into()) }, "010101007f000001");
        let pair = Pair { access: [1; 32], refresh: None };
        let other = Pair { access: [3; 32], refresh: Some([4; 32]) };
        let session =
            Session { current: pair, next: None, previous: None, replaced: vec![[2; 32]], displaced: vec![other] };
        let [one, two, three, four] = ["01", "02", "03", "04"].map(|byte| byte.repeat(32));
        check(&session, &format!("03{one}00000001{two}01{three}01{four}"));
        let older = Bytes::from([&[2][..], &[1; 32], &[0, 0, 0, 1], &[2; 32]].concat());
        let session = Session { displaced: Vec::new(), ..session };
        assert!(Session::decode(&older).is_some_and(|read| read == session));
        let oldest = Bytes::from([&[1][..], &[1; 32], &[0, 0, 0]].concat());
        let session = Session { replaced: Vec::new(), ..session };
        assert!(Session::decode(&oldest).is_some_and(|read| read == session));
        let user = user_id!("@a:b").to_owned();
        let device = device_id!("D").to_owned();
        let access = AccessToken { user: user.clone(), device: device.clone(), expires_ms: Some(1), fresh: true };
        check(&access, "010440613a620144010101");
        check(&RefreshToken { user: user.clone(), device }, "010440613a620144");
        check(&LoginToken { user: user.clone(), expires_ms: 1, issued_ms: 2 }, "020440613a620102");
        let older = LoginToken::decode(&Bytes::from_static(b"\x01\x04@a:b\x01")).map(|token| token.issued_ms);
        assert_eq!(older, Some(0));
        check(&OpenIdToken { user, expires_ms: 1 }, "010440613a6201");
    }

    #[test]
    fn spreads() {
        check(&Spread { changed: Position(258), next: 3 }, "0100000000000001020000000000000003");
    }

    #[test]
    fn account_data() {
        let data = AccountData { position: Position(258), content: "{}".into() };
        let bytes = data.encode();
        assert_eq!(&bytes[..], b"\x01\0\0\0\0\0\0\x01\x02{}");
        assert_eq!(AccountData::decode(&bytes), Some(data));
        assert_eq!(AccountData::decode(&Bytes::from_static(b"\x02\0\0\0\0\0\0\x01\x02{}")), None);
    }
}
