//! `/_matrix/client/v3/devices`: one's own devices.
//! <https://spec.matrix.org/v1.19/client-server-api/#device-management>

use depesche_server::{accounts::Purpose, devices::DeviceInfo};
use ruma::{
    MilliSecondsSinceUnixEpoch, UInt,
    api::client::device::{Device, delete_device, get_device, get_devices, update_device},
};

use crate::{caller::User, error::Error, route::Context, uia};

/// `GET /_matrix/client/v3/devices`
pub async fn list(
    context: Context,
    caller: User,
    _: get_devices::v3::Request,
) -> Result<get_devices::v3::Response, Error> {
    let devices = context.app.server.devices.list(&caller.user_id).await?;
    Ok(get_devices::v3::Response { devices: devices.into_iter().map(shown).collect() })
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
pub async fn get(
    context: Context,
    caller: User,
    request: get_device::v3::Request,
) -> Result<get_device::v3::Response, Error> {
    let device = context.app.server.devices.get(&caller.user_id, &request.device_id).await?;
    Ok(get_device::v3::Response { device: shown(device) })
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

fn shown(info: DeviceInfo) -> Device {
    let DeviceInfo { id, device, seen } = info;
    Device {
        device_id: id,
        display_name: device.display_name,
        last_seen_ip: seen.as_ref().and_then(|seen| seen.ip).map(|ip| ip.to_string()),
        last_seen_ts: seen.map(|seen| MilliSecondsSinceUnixEpoch(UInt::new_saturating(seen.at_ms))),
    }
}
