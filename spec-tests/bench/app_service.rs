//! The application service that Synapse knows while it is filled: it registers accounts that have no password.
//!
//! Spec: [registration](https://spec.matrix.org/v1.19/application-service-api/#registration); for the accounts, what
//! stands there about server admin style permissions.

use serde_json::{Value, json};

/// What shows that the service asks.
pub const TOKEN: &str = "token-of-the-bench";

/// The registration. Synapse reads YAML, which JSON is.
pub fn registration() -> Value {
    json!({
        "id": "bench",
        // It is told of nothing.
        "url": null,
        "as_token": TOKEN,
        "hs_token": "token-of-synapse",
        "sender_localpart": "bench",
        "rate_limited": false,
        // Not its own: they are users like others, for push rules too, and also when it is gone.
        "namespaces": { "users": [{ "exclusive": false, "regex": "@.*" }] }
    })
}

/// Asks for an account and a device of it.
pub fn register(name: &str) -> Value {
    json!({ "type": "m.login.application_service", "username": name, "inhibit_login": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Synapse refuses to start without: texts, a `url` that may only be absent by saying so, and for each
    /// namespace both of its fields.
    #[test]
    fn the_registration_has_what_synapse_asks_for() {
        let read: Value = serde_json::from_str(&registration().to_string()).expect("JSON");
        for field in ["id", "as_token", "hs_token", "sender_localpart"] {
            assert!(read[field].is_string(), "{field}");
        }
        assert_eq!(read.get("url"), Some(&Value::Null));
        assert_ne!(read["as_token"], read["hs_token"]);
        let users = read["namespaces"]["users"].as_array().expect("a list");
        assert!(!users.is_empty());
        for namespace in users {
            assert!(namespace["regex"].is_string(), "{namespace}");
            assert_eq!(namespace["exclusive"], false, "the users would stay the service's");
        }
    }

    #[test]
    fn accounts_come_with_a_token_and_without_a_password() {
        let body = register("join7");
        assert_eq!(body["type"], "m.login.application_service");
        assert_eq!((&body["username"], &body["inhibit_login"]), (&json!("join7"), &json!(false)));
        assert!(body.get("password").is_none());
    }
}
