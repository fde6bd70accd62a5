//! `/_matrix/media/`: uploads, and the older paths of the rest.
//!
//! Downloads here ask for no token. Matrix has given them up, and so does this server unless its operator wants them
//! (`media.legacy`): then nothing is found here, as the specification has it for media that came after the freeze.
//!
//! Spec: [content repository, client behaviour](https://spec.matrix.org/v1.19/client-server-api/#content-repo-client-behaviour).

pub mod config;
pub mod create;
pub mod download;
pub mod preview_url;
pub mod thumbnail;
pub mod upload;

use depesche_config::LegacyMedia;

use crate::{App, error::Error};

/// Refuses what asks for no token, unless the operator allows it.
fn must_be_open(app: &App) -> Result<(), Error> {
    match app.config.media.legacy {
        LegacyMedia::On => Ok(()),
        LegacyMedia::Off => Err(Error::not_found("Without an access token there is nothing here")),
    }
}
