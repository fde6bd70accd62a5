//! What users show to the servers that carry their calls.

use std::{fmt, sync::Arc, time::Duration};

use depesche_rules::turn;
use ruma::UserId;

use crate::Base;

/// What a TURN server believes.
pub enum Secret {
    /// Whoever can make a password from this.
    Shared(String),
    /// Whoever has this name and password.
    Fixed {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
}

/// Not shown: it is one.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a user shows.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials {
    /// A name.
    pub username: String,
    /// The password to it.
    pub password: String,
    /// To whom.
    pub uris: Vec<String>,
    /// For how long to count on it.
    pub lifetime: Duration,
}

/// The servers that carry calls.
pub struct Turn {
    base: Arc<Base>,
    secret: Option<Secret>,
}

impl Turn {
    /// Those that the operator names, which believe this.
    pub fn new(base: Arc<Base>, secret: Option<Secret>) -> Self {
        Self { base, secret }
    }

    /// What a user shows them from now on; `None` if there are none.
    pub fn credentials(&self, user: &UserId) -> Option<Credentials> {
        let config = &self.base.config.turn;
        let (uris, lifetime) = (config.uris.clone(), config.lifetime);
        if uris.is_empty() {
            return None;
        }
        let (username, password) = match self.secret.as_ref()? {
            Secret::Shared(secret) => {
                let username = turn::username(user, self.base.clock.now_ms() / 1000 + lifetime.as_secs());
                let password = turn::password(secret, &username);
                (username, password)
            }
            Secret::Fixed { username, password } => (username.clone(), password.clone()),
        };
        Some(Credentials { username, password, uris, lifetime })
    }
}
