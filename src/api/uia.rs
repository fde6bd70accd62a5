//! User-interactive authentication: the answer 401 that asks for a stage, and the proof when all are passed.
//!
//! See <https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api>.

use std::collections::BTreeMap;

use bytes::Bytes;
use depesche_server::accounts::{Confirmation, Fingerprint, Needed, Outcome, Proof, Purpose, StageError};
use ruma::api::{
    client::uiaa::{AuthData, UiaaInfo},
    error::{ErrorKind, StandardErrorBody},
};
use serde::Serialize;
use serde_json::{Map, value::RawValue};

use crate::{App, caller::User, error::Error};

/// The user has confirmed this request, or is asked to. `request` is what the request says beside its `auth`: what was
/// confirmed for one request does not serve another.
pub async fn confirm(
    app: &App,
    purpose: Purpose,
    caller: Option<&User>,
    request: &impl Serialize,
    auth: Option<&AuthData>,
) -> Result<Proof, Error> {
    let confirmation = Confirmation {
        purpose,
        caller: caller.map(|user| (&*user.user_id, &*user.device_id)),
        request: Fingerprint::of(request),
        auth,
    };
    match app.server.accounts.confirm(confirmation).await? {
        Outcome::Proceed(proof) => Ok(proof),
        Outcome::NeedMore(needed) => Err(needed.into()),
    }
}

/// Takes an `auth` of `{}` out of a body: clients that have nothing to prove yet send that as well as none.
pub fn without_empty_auth(body: Bytes) -> Bytes {
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&body) else { return body };
    let is_empty = |auth: &RawValue| serde_json::from_str(auth.get()).is_ok_and(|auth: Map<_, _>| auth.is_empty());
    if !fields.get("auth").is_some_and(|auth| is_empty(auth)) {
        return body;
    }
    fields.remove("auth");
    serde_json::to_vec(&fields).map_or(body, Bytes::from)
}

impl From<Needed> for Error {
    fn from(needed: Needed) -> Self {
        let Needed { session, flows, completed, params, error } = needed;
        // Some clients expect the parameters even where no stage has any.
        let params = params.or_else(|| RawValue::from_string("{}".to_owned()).ok());
        let auth_error = error.map(|error| {
            let kind = match error {
                StageError::WrongPassword => ErrorKind::Forbidden,
                StageError::InvalidRegistrationToken => ErrorKind::Unauthorized,
                StageError::NotOffered => ErrorKind::InvalidParam,
                StageError::UnknownSession => ErrorKind::Unknown,
            };
            Box::new(StandardErrorBody { kind, message: error.to_string() })
        });
        Self::uiaa(UiaaInfo { flows, completed, params, session: Some(session), auth_error })
    }
}
