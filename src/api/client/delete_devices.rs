//! `POST /_matrix/client/v3/delete_devices`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices>

use depesche_server::accounts::Purpose;
use ruma::api::client::device::delete_devices::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context, uia};

/// `POST /_matrix/client/v3/delete_devices`
pub async fn post(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    let Request { devices, auth } = &request;
    uia::confirm(&context.app, Purpose::DeleteDevices, Some(&caller), devices, auth.as_ref()).await?;
    context.app.server.devices.delete(&caller.user_id, devices).await?;
    Ok(Response {})
}
