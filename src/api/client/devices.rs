//! `/_matrix/client/v3/devices`: one's own devices.
//! <https://spec.matrix.org/v1.19/client-server-api/#device-management>

use depesche_server::{accounts::Purpose, devices::DeviceInfo};
use ruma::api::client::device::{delete_device, get_device, get_devices, update_device};
use serde_json::{Value, json};

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
    uia,
};

/// `GET /_matrix/client/v3/devices`
pub async fn list(
    context: Context,
    caller: User,
    _: Answering<get_devices::v3::Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
    let devices = context.app.server.devices.list(&caller.user_id).await?;
    let devices: Vec<_> = devices.into_iter().map(shown).collect();
    Ok(JsonResponse(json!({ "devices": devices })))
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
pub async fn get(
    context: Context,
    caller: User,
    Answering { request, .. }: Answering<get_device::v3::Request, JsonResponse>,
) -> Result<JsonResponse, Error> {
    let device = context.app.server.devices.get(&caller.user_id, &request.device_id).await?;
    Ok(JsonResponse(shown(device)))
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`
pub async fn put(
    context: Context,
    caller: User,
    request: update_device::v3::Request,
) -> Result<update_device::v3::Response, Error> {
    let devices = &context.app.server.devices;
    match request.display_name {
        Some(name) => devices.rename(&caller.user_id, &request.device_id, &name).await?,
        // Nothing to change, but the device must be there.
        None => drop(devices.get(&caller.user_id, &request.device_id).await?),
    }
    Ok(update_device::v3::Response {})
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`
pub async fn delete(
    context: Context,
    caller: User,
    request: delete_device::v3::Request,
) -> Result<delete_device::v3::Response, Error> {
    let devices = [request.device_id];
    uia::confirm(&context.app, Purpose::DeleteDevices, Some(&caller), &devices, request.auth.as_ref()).await?;
    context.app.server.devices.delete(&caller.user_id, &devices).await?;
    Ok(delete_device::v3::Response {})
}

/// A device as the specification has it. What is not known of it is absent, where ruma's type would say `null`.
fn shown(info: DeviceInfo) -> Value {
    let DeviceInfo { id, device, seen } = info;
    let mut shown = json!({ "device_id": id });
    if let Some(name) = device.display_name {
        shown["display_name"] = name.into();
    }
    if let Some(seen) = seen {
        shown["last_seen_ts"] = seen.at_ms.into();
        if let Some(ip) = seen.ip {
            shown["last_seen_ip"] = ip.to_string().into();
        }
    }
    shown
}
