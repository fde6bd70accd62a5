//! Refusals of `server::accounts` and `server::devices` that several endpoints share.

use std::time::Duration;

use depesche_server::{
    accounts::{
        ChangePasswordError, DeactivateError, LoginError, ModerationError, ProvisionError, RefreshError, RegisterError,
        RegistrationTokenError, UiaError, UnfitPassword,
    },
    devices::{DeviceError, OpenDeviceError, UnfitDevice},
};
use ruma::api::error::ErrorKind;

use super::Error;

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        let message = error.to_string();
        match error {
            LoginError::NotOffered => Self::bad_request(ErrorKind::Unknown, message),
            LoginError::Forbidden => Self::forbidden(message),
            LoginError::LimitExceeded { retry_after_ms } => Self::too_often(Duration::from_millis(retry_after_ms)),
            LoginError::Deactivated => Self::deactivated(),
            LoginError::Locked => Self::locked(),
            LoginError::Device(error) => error.into(),
            LoginError::Fault(fault) => fault.into(),
        }
    }
}

impl From<RefreshError> for Error {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Unknown => Self::unknown_token(false),
            RefreshError::Replaced | RefreshError::Lost => Self::unknown_token(true),
            RefreshError::Locked => Self::locked(),
            RefreshError::Fault(fault) => fault.into(),
        }
    }
}

impl From<OpenDeviceError> for Error {
    fn from(error: OpenDeviceError) -> Self {
        match error {
            OpenDeviceError::Unfit(unfit) => match unfit {
                UnfitDevice::InvalidId | UnfitDevice::DisplayNameTooLong => Self::invalid_param(unfit.to_string()),
                UnfitDevice::CrossSigningKey => Self::forbidden(unfit.to_string()),
                UnfitDevice::TooMany => Self::user_limit(unfit.to_string()),
            },
            OpenDeviceError::Fault(fault) => fault.into(),
        }
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::NotFound => Self::not_found(error.to_string()),
            DeviceError::DisplayNameTooLong => Self::invalid_param(error.to_string()),
            DeviceError::Fault(fault) => fault.into(),
        }
    }
}

impl From<UiaError> for Error {
    fn from(error: UiaError) -> Self {
        match error {
            UiaError::Changed | UiaError::UnknownThirdParty => Self::forbidden(error.to_string()),
            UiaError::LimitExceeded { retry_after_ms } => Self::too_often(Duration::from_millis(retry_after_ms)),
            UiaError::Deactivated => Self::deactivated(),
            UiaError::Locked => Self::locked(),
            UiaError::Fault(fault) => fault.into(),
        }
    }
}

impl From<UnfitPassword> for Error {
    fn from(unfit: UnfitPassword) -> Self {
        let kind = match unfit {
            UnfitPassword::Short { .. } | UnfitPassword::Lacks { .. } => ErrorKind::WeakPassword,
            UnfitPassword::Long => ErrorKind::InvalidParam,
        };
        Self::bad_request(kind, unfit.to_string())
    }
}

impl From<ProvisionError> for Error {
    fn from(error: ProvisionError) -> Self {
        let kind = match error {
            ProvisionError::InvalidUsername(_) => ErrorKind::InvalidUsername,
            ProvisionError::UserInUse => ErrorKind::UserInUse,
            ProvisionError::Exclusive => ErrorKind::Exclusive,
            ProvisionError::UnfitPassword(unfit) => return unfit.into(),
            ProvisionError::DisplayNameTooLong => ErrorKind::InvalidParam,
            ProvisionError::InvalidRegistrationToken => return Self::forbidden(error.to_string()),
            ProvisionError::Fault(fault) => return fault.into(),
        };
        Self::bad_request(kind, error.to_string())
    }
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Closed => Self::forbidden(error.to_string()),
            RegisterError::Provision(error) => error.into(),
            RegisterError::NoPassword => Self::bad_request(ErrorKind::MissingParam, error.to_string()),
            RegisterError::Confirm(error) => error.into(),
            RegisterError::Device(error) => error.into(),
            RegisterError::Fault(fault) => fault.into(),
        }
    }
}

impl From<RegistrationTokenError> for Error {
    fn from(error: RegistrationTokenError) -> Self {
        let message = error.to_string();
        match error {
            RegistrationTokenError::Invalid | RegistrationTokenError::Exists => Self::invalid_param(message),
            RegistrationTokenError::NotFound => Self::not_found(message),
            RegistrationTokenError::RegistrationClosed => Self::forbidden(message),
            RegistrationTokenError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ChangePasswordError> for Error {
    fn from(error: ChangePasswordError) -> Self {
        match error {
            ChangePasswordError::NotOffered => Self::forbidden(error.to_string()),
            ChangePasswordError::NotFound => Self::not_found(error.to_string()),
            ChangePasswordError::Deactivated => Self::bad_request(ErrorKind::UserDeactivated, error.to_string()),
            ChangePasswordError::UnfitPassword(unfit) => unfit.into(),
            ChangePasswordError::Fault(fault) => fault.into(),
        }
    }
}

impl From<ModerationError> for Error {
    fn from(error: ModerationError) -> Self {
        let message = error.to_string();
        match error {
            ModerationError::NotLocal => Self::invalid_param(message),
            ModerationError::NotFound => Self::not_found(message),
            ModerationError::OwnAccount | ModerationError::Administrator => Self::forbidden(message),
            ModerationError::Fault(fault) => fault.into(),
        }
    }
}

impl From<DeactivateError> for Error {
    fn from(error: DeactivateError) -> Self {
        match error {
            DeactivateError::NotOffered => Self::forbidden(error.to_string()),
            DeactivateError::NotFound => Self::not_found(error.to_string()),
            DeactivateError::Fault(fault) => fault.into(),
        }
    }
}
