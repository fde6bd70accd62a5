//! `GET /_matrix/client/v3/admin/whois/{userId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid>

use depesche_server::{
    accounts::{AdminError, ModerationError},
    devices::DeviceInfo,
};
use ruma::api::client::admin::get_user_info::v3::Request;
use serde_json::{Map, Value, json};

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// `GET /_matrix/client/v3/admin/whois/{userId}`: for the user, or for an administrator. A device has one session, of
/// which the last connection is known, not its program.
pub async fn get(
    context: Context,
    user: User,
    Answering { request, .. }: Answering<Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
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
    let devices = server.devices.list(&user_id).await?;
    let devices: Map<_, _> = devices.into_iter().map(|info| (info.id.to_string(), shown(info))).collect();
    Ok(JsonResponse(json!({ "user_id": user_id, "devices": devices })))
}

/// What is not known is absent, where ruma's types would say `null`.
fn shown(info: DeviceInfo) -> Value {
    let mut session = json!({});
    if let Some(seen) = info.seen {
        let mut connection = json!({ "last_seen": seen.at_ms });
        if let Some(ip) = seen.ip {
            connection["ip"] = ip.to_string().into();
        }
        session["connections"] = json!([connection]);
    }
    json!({ "sessions": [session] })
}
