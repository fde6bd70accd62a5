//! `POST /_matrix/client/v3/account/deactivate`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate>

use depesche_server::accounts::{DeactivateError, Purpose};
use ruma::api::client::account::{
    ThirdPartyIdRemovalStatus,
    deactivate::v3::{Request, Response},
};

use crate::{caller::User, error::Error, route::Context, uia};

/// `POST /_matrix/client/v3/account/deactivate`. Without an access token it is the password that says whose it is.
pub async fn post(context: Context, caller: Option<User>, request: Request) -> Result<Response, Error> {
    if !context.app.config.accounts.deactivate {
        return Err(DeactivateError::NotOffered.into());
    }
    let Request { auth, erase, .. } = &request;
    let proof = uia::confirm(&context.app, Purpose::Deactivate, caller.as_ref(), erase, auth.as_ref()).await?;
    let user = caller.map(|caller| caller.user_id).or(proof.user).ok_or_else(Error::missing_token)?;
    context.app.server.deactivate(&user, *erase).await?;
    // There are no third-party identifiers that would have to be unbound.
    Ok(Response { id_server_unbind_result: ThirdPartyIdRemovalStatus::Success })
}
