//! `/_matrix/client/v3/users/{userId}/`: what is done about others.

pub mod report;

use std::time::Duration;

use depesche_server::reports::ReportError;
use http::StatusCode;
use ruma::api::error::ErrorKind;

use crate::error::Error;

/// When to try again who has too many reports that wait: an administrator has to look at them first.
const PAUSE: Duration = Duration::from_hours(1);

/// The outcome of a report that does not tell whether what is reported exists.
pub(super) fn concealed(outcome: Result<(), ReportError>) -> Result<(), Error> {
    match outcome {
        Ok(()) | Err(ReportError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl From<ReportError> for Error {
    fn from(error: ReportError) -> Self {
        let message = error.to_string();
        match error {
            ReportError::NotFound | ReportError::NoReport => Self::not_found(message),
            ReportError::TooLong => Self::too_large(message),
            ReportError::TooMany => Self::too_often(PAUSE),
            // Only administrators close reports.
            ReportError::Closed => Self::new(StatusCode::CONFLICT, ErrorKind::Unknown, message),
            ReportError::Fault(fault) => fault.into(),
        }
    }
}
