//! The refusals of rooms as status and errcode.

use std::time::Duration;

use depesche_server::{
    rooms::{aliases::AliasError, history::ReadRefusal, lane::Refusal, members::ForgetError},
    sync::SyncError,
    workflows::create::CreateError,
};
use http::StatusCode;
use ruma::api::error::ErrorKind;

use crate::error::Error;

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            Refusal::Forbidden(_) => Self::forbidden(words),
            Refusal::BadState(_) => Self::new(StatusCode::FORBIDDEN, ErrorKind::BadState, words),
            Refusal::BadContent(_) => Self::bad_json(words),
            Refusal::InvalidParam(_) => Self::invalid_param(words),
            Refusal::TooLarge(_) => Self::too_large(words),
            Refusal::UnknownRoom | Refusal::NotFound(_) => Self::not_found(words),
            Refusal::SaidAlready(_) => Self::bad_request(ErrorKind::DuplicateAnnotation, words),
            // The specification has no code of its own for this.
            Refusal::NoThreadRoot(_) => Self::bad_request(ErrorKind::Unknown, words),
            Refusal::BadAlias(_) => Self::bad_request(ErrorKind::BadAlias, words),
            Refusal::UnableToGrant(_) => Self::bad_request(ErrorKind::UnableToGrantJoin, words),
            Refusal::InviteBlocked => Self::new(StatusCode::FORBIDDEN, ErrorKind::InviteBlocked, words),
            Refusal::Busy => Self::contended(Duration::from_secs(1), words),
            Refusal::Fault(fault) => fault.into(),
        }
    }
}

impl From<ReadRefusal> for Error {
    fn from(refusal: ReadRefusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            ReadRefusal::Forbidden => Self::forbidden(words),
            ReadRefusal::NotFound => Self::not_found(words),
            ReadRefusal::BadToken(_) => Self::invalid_param(words),
            ReadRefusal::Fault(fault) => fault.into(),
        }
    }
}

impl From<CreateError> for Error {
    fn from(error: CreateError) -> Self {
        let words = error.to_string();
        match error {
            CreateError::UnsupportedVersion(_) => Self::bad_request(ErrorKind::UnsupportedRoomVersion, words),
            CreateError::AliasTaken(_) => Self::bad_request(ErrorKind::RoomInUse, words),
            CreateError::InvalidState(_) => Self::bad_request(ErrorKind::InvalidRoomState, words),
            CreateError::BadContent(_) => Self::bad_json(words),
            CreateError::TooLarge(_) => Self::too_large(words),
            CreateError::Refused(refusal) => refusal.into(),
            CreateError::Fault(fault) => fault.into(),
        }
    }
}

impl From<AliasError> for Error {
    fn from(error: AliasError) -> Self {
        let words = error.to_string();
        match error {
            // The specification gives 409 the unspecific code.
            AliasError::Taken => Self::new(StatusCode::CONFLICT, ErrorKind::Unknown, words),
            AliasError::NotFound => Self::not_found(words),
            AliasError::Forbidden(_) => Self::forbidden(words),
            AliasError::Invalid(_) => Self::invalid_param(words),
            AliasError::Fault(fault) => fault.into(),
        }
    }
}

impl From<SyncError> for Error {
    fn from(error: SyncError) -> Self {
        let words = error.to_string();
        match error {
            SyncError::BadToken(_) => Self::invalid_param(words),
            SyncError::BadFilter(_) => Self::bad_json(words),
            SyncError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ForgetError> for Error {
    fn from(error: ForgetError) -> Self {
        let words = error.to_string();
        match error {
            ForgetError::StillIn => Self::bad_request(ErrorKind::Unknown, words),
            ForgetError::Fault(fault) => fault.into(),
        }
    }
}
