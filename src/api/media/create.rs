//! `POST /_matrix/media/v1/create`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create>

use ruma::{MilliSecondsSinceUnixEpoch, UInt, api::client::media::create_mxc_uri::v1};

use crate::{caller::User, error::Error, route::Context};

/// An address whose file comes later.
pub async fn post(context: Context, caller: User, _: v1::Request) -> Result<v1::Response, Error> {
    caller.must_not_be_suspended()?;
    let announced = context.app.server.media.announce(&caller.user_id).await?;
    let mut response = v1::Response::new(announced.uri);
    response.unused_expires_at = Some(MilliSecondsSinceUnixEpoch(UInt::new_saturating(announced.expires_ms)));
    Ok(response)
}
