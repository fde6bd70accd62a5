//! What a TURN server asks of users: a name that says until when it is good, and a password that only those can make who
//! share the server's secret.
//!
//! The name is `<unix time of its end>:<user id>`, the password the HMAC-SHA1 of the name in Base64, as coturn and others
//! have it: [A REST API for access to TURN services](https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00).
//!
//! Spec: [`GET /voip/turnServer`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3voipturnserver).

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use ruma::UserId;
use sha1::Sha1;

/// The name of a user that is good until a time, in seconds since the Unix epoch.
pub fn username(user: &UserId, until_s: u64) -> String {
    format!("{until_s}:{user}")
}

/// The password to a name.
pub fn password(shared_secret: &str, username: &str) -> String {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(shared_secret.as_bytes()).expect("HMAC takes keys of any length, RFC 2104");
    mac.update(username.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use ruma::user_id;

    use super::*;

    #[test]
    fn a_name_says_until_when_and_whose() {
        assert_eq!(username(user_id!("@user:example.com"), 1_443_779_631), "1443779631:@user:example.com");
    }

    #[test]
    fn passwords_are_those_of_the_test_vectors() {
        // RFC 2202, test cases 2 and 6.
        assert_eq!(password("Jefe", "what do ya want for nothing?"), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
    }
}
