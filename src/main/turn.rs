//! The secrets of the servers that carry calls, from their files.

use depesche_config::Config;
use depesche_server::turn::Secret;

use crate::{failure::Failure, secret};

/// What they believe, as the configuration has it; none if there are none.
pub fn secret(config: &Config) -> Result<Option<Secret>, Failure> {
    let turn = &config.turn;
    if let Some(path) = &turn.shared_secret_file {
        return Ok(Some(Secret::Shared(secret::of("turn.shared_secret_file", path)?)));
    }
    let (Some(username), Some(path)) = (turn.username.clone(), &turn.password_file) else { return Ok(None) };
    Ok(Some(Secret::Fixed { username, password: secret::of("turn.password_file", path)? }))
}
