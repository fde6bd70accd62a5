//! `POST /_matrix/client/v3/keys/signatures/upload`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload>

use std::collections::BTreeMap;

use depesche_server::keys::{SignatureFailure, SignaturesError};
use ruma::api::client::keys::upload_signatures::v3::{Failure, Request, Response};
use serde_json::json;

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/keys/signatures/upload`. Each signed object is taken or refused by itself.
pub async fn upload(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    let refused = context.app.server.keys.upload_signatures(&caller.user_id, &request).await?;
    let mut failures = BTreeMap::new();
    for (user, objects) in refused {
        let objects = objects.into_iter().map(|(id, failure)| Ok((id, shown(failure)?)));
        failures.insert(user, objects.collect::<Result<_, Error>>()?);
    }
    Ok(Response { failures })
}

fn shown(failure: SignatureFailure) -> Result<Failure, Error> {
    let errcode = match failure {
        SignatureFailure::Malformed => "M_BAD_JSON",
        SignatureFailure::NotFound => "M_NOT_FOUND",
        SignatureFailure::Mismatch => "M_INVALID_PARAM",
        SignatureFailure::InvalidSignature => "M_INVALID_SIGNATURE",
    };
    // The type has no constructor.
    serde_json::from_value(json!({ "errcode": errcode, "error": failure.to_string() })).map_err(Error::internal)
}

impl From<SignaturesError> for Error {
    fn from(error: SignaturesError) -> Self {
        match error {
            SignaturesError::TooMany => Self::too_large(error.to_string()),
            SignaturesError::Fault(fault) => fault.into(),
        }
    }
}
