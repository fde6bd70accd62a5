//! `POST /_matrix/client/v3/user_directory/search`
//! <https://spec.matrix.org/v1.19/client-server-api/#user-directory>

use ruma::api::client::user_directory::search_users::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/user_directory/search`. The order does not depend on the language: it is that of rank.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let found = context.app.server.user_directory.search(&user.user_id, &request.search_term, limit).await?;
    Ok(Response { results: found.users, limited: found.limited })
}
