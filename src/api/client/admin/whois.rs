//! `GET /_matrix/client/v3/admin/whois/{userId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid>

use depesche_server::accounts::{AdminError, ModerationError};
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::admin::get_user_info::v3::{ConnectionInfo, DeviceInfo, Request, Response, SessionInfo},
};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/admin/whois/{userId}`: for the user, or for an administrator. A device has one session, of
/// which the last connection is known, not its program.
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { user_id } = request;
    if user_id != user.user_id {
        user.must_be_admin()?;
    }
    let server = &context.app.server;
    if user_id.server_name() != server.base.name {
        return Err(ModerationError::NotLocal.into());
    }
    server.accounts.show(&user_id).await.map_err(|error| match error {
        AdminError::NotFound | AdminError::Deactivated => Error::not_found("there is no such user"),
        AdminError::Fault(fault) => fault.into(),
    })?;
    let devices = server.devices.list(&user_id).await?.into_iter().map(|info| {
        let connections = info.seen.into_iter().map(|seen| ConnectionInfo {
            ip: seen.ip.map(|ip| ip.to_string()),
            last_seen: Some(MilliSecondsSinceUnixEpoch(UInt::new_saturating(seen.at_ms))),
            user_agent: None,
        });
        let session = SessionInfo { connections: connections.collect() };
        (info.id.to_string(), DeviceInfo { sessions: vec![session] })
    });
    let devices = devices.collect();
    Ok(Response { user_id: Some(user_id), devices })
}
