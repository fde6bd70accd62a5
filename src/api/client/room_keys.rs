//! `/_matrix/client/v3/room_keys/`: the server-side backup of room keys.
//! <https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups>

pub mod keys;
pub mod version;

use depesche_server::backup::BackupError;
use http::StatusCode;
use ruma::api::error::{ErrorKind, WrongRoomKeysVersionErrorData};

use crate::error::Error;

impl From<BackupError> for Error {
    fn from(error: BackupError) -> Self {
        let message = error.to_string();
        match error {
            BackupError::NoBackup | BackupError::NoKey => Self::not_found(message),
            BackupError::WrongVersion { current } => {
                let data = WrongRoomKeysVersionErrorData { current_version: current };
                Self::new(StatusCode::FORBIDDEN, ErrorKind::WrongRoomKeysVersion(data), message)
            }
            BackupError::Malformed(_) => Self::bad_request(ErrorKind::BadJson, message),
            BackupError::Mismatch(_) => Self::invalid_param(message),
            BackupError::TooLarge(_) => Self::too_large(message),
            BackupError::Full => Self::user_limit(message),
            BackupError::Fault(fault) => fault.into(),
        }
    }
}
