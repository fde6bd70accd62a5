//! Refusals of `server::media`.

use std::time::Duration;

use depesche_server::{
    media::{
        BrokenBody, FindError, ReadError, RemoveError, ThumbnailError, UploadError, blobs::BlobError,
        thumbnails::Unmade,
    },
    previews::{PreviewError, web::Unfetched},
};
use http::StatusCode;
use ruma::api::error::ErrorKind;

use crate::error::Error;

/// When to try again after the store of media took no bytes.
const STORE_PAUSE: Duration = Duration::from_secs(10);
/// When to try again after too many uploads at once.
const UPLOAD_PAUSE: Duration = Duration::from_secs(2);
/// When to try again after too many thumbnails waited to be made.
const THUMBNAIL_PAUSE: Duration = Duration::from_secs(2);
/// When to try again after too many previews waited to be made.
const PREVIEW_PAUSE: Duration = Duration::from_secs(2);

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        match error {
            UploadError::TooLarge(_) => Self::too_large(message),
            UploadError::QuotaExceeded => Self::user_limit(message),
            UploadError::NotYours => Self::forbidden(message),
            UploadError::NameTooLong(_) => Self::invalid_param(message),
            UploadError::Body(BrokenBody::Ended) => Self::bad_request(ErrorKind::Unknown, message),
            UploadError::Body(BrokenBody::TooSlow) => {
                Self::new(StatusCode::REQUEST_TIMEOUT, ErrorKind::Unknown, message)
            }
            UploadError::TooManyAtOnce => Self::too_often(UPLOAD_PAUSE),
            UploadError::TooManyPending { retry_after_ms } => Self::too_often(Duration::from_millis(retry_after_ms)),
            UploadError::NotFound => Self::not_found(message),
            UploadError::AlreadyThere => Self::new(StatusCode::CONFLICT, ErrorKind::CannotOverwriteMedia, message),
            UploadError::Blobs(error) => Self::unavailable(STORE_PAUSE, error),
            UploadError::Fault(fault) => fault.into(),
        }
    }
}

impl From<FindError> for Error {
    fn from(error: FindError) -> Self {
        match error {
            FindError::NotFound => Self::not_found(error.to_string()),
            FindError::NotYetUploaded => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, ErrorKind::NotYetUploaded, error.to_string())
            }
            FindError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Lost => Self::not_found(error.to_string()),
            ReadError::Failed(error) => Self::internal(error),
        }
    }
}

impl From<ThumbnailError> for Error {
    fn from(error: ThumbnailError) -> Self {
        let message = error.to_string();
        match error {
            ThumbnailError::Busy => Self::too_often(THUMBNAIL_PAUSE),
            ThumbnailError::Dimensions => Self::invalid_param(message),
            ThumbnailError::Unmade(Unmade::Unfit) => Self::bad_request(ErrorKind::Unknown, message),
            ThumbnailError::Unmade(Unmade::TooLarge) => Self::too_large(message),
            ThumbnailError::Unmade(unmade @ Unmade::Failed(_)) => Self::internal(unmade),
            ThumbnailError::Blobs(BlobError::Missing) => ReadError::Lost.into(),
            ThumbnailError::Blobs(error @ BlobError::Full(_)) => Self::unavailable(STORE_PAUSE, error),
            ThumbnailError::Blobs(error @ BlobError::Failed(_)) => Self::internal(error),
            ThumbnailError::Fault(fault) => fault.into(),
        }
    }
}

impl From<PreviewError> for Error {
    fn from(error: PreviewError) -> Self {
        let message = error.to_string();
        let bad_gateway = |kind, message: String| Self::new(StatusCode::BAD_GATEWAY, kind, message);
        match error {
            PreviewError::Off => Self::new(StatusCode::NOT_FOUND, ErrorKind::Unrecognized, message),
            PreviewError::NoAddress => Self::invalid_param(message),
            PreviewError::Busy => Self::too_often(PREVIEW_PAUSE),
            PreviewError::Unfetched(Unfetched::NotAllowed(_)) => Self::forbidden(message),
            PreviewError::Unfetched(Unfetched::TooLarge) => bad_gateway(ErrorKind::TooLarge, message),
            // What others say when they fail is for the log.
            PreviewError::Unfetched(failed @ Unfetched::Failed(_)) => {
                bad_gateway(ErrorKind::Unknown, "Nothing could be fetched from there".to_owned()).caused_by(failed)
            }
            PreviewError::Fault(fault) => fault.into(),
        }
    }
}

impl From<RemoveError> for Error {
    fn from(error: RemoveError) -> Self {
        match error {
            RemoveError::NotFound => Self::not_found(error.to_string()),
            RemoveError::Fault(fault) => fault.into(),
        }
    }
}
