//! Which user names may be made here. Spec: [user identifiers](https://spec.matrix.org/v1.19/appendices/#user-identifiers).

use ruma::{OwnedUserId, ServerName, UserId};

use depesche_rules::bounds::MAX_USER_ID_BYTES;

/// Why a name cannot be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidName {
    /// It is empty.
    #[error("a user name cannot be empty")]
    Empty,
    /// It has characters that new user names must not have, some of which old ones have.
    #[error("a user name may have only the letters a to z, digits, and the characters - . = _ / +")]
    Character,
    /// The whole user id would exceed 255 bytes.
    #[error("a user name together with the server's name must not exceed 255 bytes")]
    TooLong,
}

/// The user id for a name that somebody wants. Capitals are taken as small letters, as the specification asks.
pub fn new_user_id(name: &str, server: &ServerName) -> Result<OwnedUserId, InvalidName> {
    let localpart = name.to_ascii_lowercase();
    if localpart.is_empty() {
        return Err(InvalidName::Empty);
    }
    if !localpart
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'=' | b'-' | b'/' | b'+'))
    {
        return Err(InvalidName::Character);
    }
    let user = format!("@{localpart}:{server}");
    if user.len() > MAX_USER_ID_BYTES {
        return Err(InvalidName::TooLong);
    }
    OwnedUserId::try_from(user).map_err(|_| InvalidName::Character)
}

/// The local user that somebody names at login, by user id or localpart; `None` if it cannot be one of ours.
pub fn local_user_id(name: &str, server: &ServerName) -> Option<OwnedUserId> {
    if !name.starts_with('@') {
        return new_user_id(name, server).ok();
    }
    let user = <&UserId>::try_from(name).ok().filter(|user| user.server_name() == server)?;
    new_user_id(user.localpart(), server).ok()
}

#[cfg(test)]
mod tests {
    use ruma::server_name;

    use super::*;

    #[test]
    fn new_names_follow_the_grammar() {
        let server = server_name!("example.org");
        let name = |name: &str| new_user_id(name, server).map(|user| user.to_string());
        assert_eq!(name("a-z.0_9=/+").as_deref(), Ok("@a-z.0_9=/+:example.org"));
        assert_eq!(name("Alice").as_deref(), Ok("@alice:example.org"));
        assert_eq!(name(""), Err(InvalidName::Empty));
        for bad in ["a b", "a:b", "@a", "ä", "a!", "a\0", "a*", "A#"] {
            assert_eq!(name(bad), Err(InvalidName::Character), "{bad}");
        }
        // "@", ":" and "example.org" take 13 bytes.
        assert!(name(&"a".repeat(242)).is_ok());
        assert_eq!(name(&"a".repeat(243)), Err(InvalidName::TooLong));
    }

    #[test]
    fn login_takes_user_ids_and_localparts() {
        let server = server_name!("example.org:8448");
        let user = |name: &str| local_user_id(name, server).map(|user| user.to_string());
        assert_eq!(user("alice").as_deref(), Some("@alice:example.org:8448"));
        assert_eq!(user("@Alice:example.org:8448").as_deref(), Some("@alice:example.org:8448"));
        assert_eq!(user("@alice:example.org"), None);
        assert_eq!(user("@alice"), None);
        assert_eq!(user(""), None);
    }
}
