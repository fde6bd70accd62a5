//! `POST /_matrix/client/v3/users/{userId}/report`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport>

use ruma::api::client::reporting::report_user::v3::{Request, Response};

use super::concealed;
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/users/{userId}/report`. Nobody learns by it which users there are.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { user_id, reason } = request;
    concealed(context.app.server.reports.user(&user.user_id, &user_id, &reason).await)?;
    Ok(Response {})
}
