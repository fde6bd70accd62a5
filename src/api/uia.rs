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
use serde_json::{
    Map, Value, json,
    value::{RawValue, to_raw_value},
};

use crate::{App, caller::User, error::Error, rate_limit::Class};

/// The user has confirmed this request, or is asked to. `request` is what the request says beside its `auth`: what was
/// confirmed for one request does not serve another. A password counts as a login, as it costs the server one.
pub async fn confirm(
    app: &App,
    purpose: Purpose,
    caller: Option<&User>,
    request: &impl Serialize,
    auth: Option<&AuthData>,
) -> Result<Proof, Error> {
    if matches!(auth, Some(AuthData::Password(_))) && caller.is_some() && !is_counted_by_path(purpose) {
        app.count(Class::Logins, caller, None)?;
    }
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

/// Whether every request of this endpoint counts as a login already, with a password or without.
fn is_counted_by_path(purpose: Purpose) -> bool {
    match purpose {
        Purpose::Register | Purpose::ChangePassword | Purpose::Deactivate | Purpose::LoginToken => true,
        Purpose::DeleteDevices | Purpose::UploadSigningKeys => false,
    }
}

/// Makes of a body one that ruma reads as it is meant. An `auth` with neither `type` nor `session` goes: clients that have
/// nothing to prove yet send `{}`, or what else they know, as well as none. A password gets the `identifier` that the
/// specification wants from those that still name its user in the older fields.
pub fn as_meant(body: Bytes) -> Bytes {
    let Ok(mut fields) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&body) else { return body };
    let auth = fields.get("auth").and_then(|auth| serde_json::from_str::<Map<_, _>>(auth.get()).ok());
    let Some(mut auth) = auth else { return body };
    if !auth.contains_key("type") && !auth.contains_key("session") {
        fields.remove("auth");
    } else {
        let Some(identifier) = older_identifier(&auth) else { return body };
        auth.insert("identifier".to_owned(), identifier);
        let Ok(auth) = to_raw_value(&auth) else { return body };
        fields.insert("auth".to_owned(), auth);
    }
    serde_json::to_vec(&fields).map_or(body, Bytes::from)
}

/// Whom a password is said to be of by the fields from before there were identifiers (client-server API r0.3).
fn older_identifier(auth: &Map<String, Value>) -> Option<Value> {
    let is_named = auth.get("identifier").is_some_and(|identifier| !identifier.is_null());
    if is_named || auth.get("type")? != "m.login.password" {
        return None;
    }
    let text = |field: &str| auth.get(field).filter(|value| value.is_string());
    if let Some(user) = text("user") {
        return Some(json!({ "type": "m.id.user", "user": user }));
    }
    let (medium, address) = (text("medium")?, text("address")?);
    Some(json!({ "type": "m.id.thirdparty", "medium": medium, "address": address }))
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
