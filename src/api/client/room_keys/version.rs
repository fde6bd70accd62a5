//! `/_matrix/client/v3/room_keys/version`: the versions of a user's backup.
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion>

use ruma::api::client::backup::{
    create_backup_version, delete_backup_version, get_backup_info, get_latest_backup_info, update_backup_version,
};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/room_keys/version`
pub async fn post(
    context: Context,
    caller: User,
    request: create_backup_version::v3::Request,
) -> Result<create_backup_version::v3::Response, Error> {
    let version = context.app.server.backups.create(&caller.user_id, &request.algorithm).await?;
    Ok(create_backup_version::v3::Response { version })
}

/// `GET /_matrix/client/v3/room_keys/version`
pub async fn get_latest(
    context: Context,
    caller: User,
    _: get_latest_backup_info::v3::Request,
) -> Result<get_latest_backup_info::v3::Response, Error> {
    let info = context.app.server.backups.latest(&caller.user_id).await?;
    let (algorithm, count, etag, version) = (info.algorithm, info.count, info.etag, info.version);
    Ok(get_latest_backup_info::v3::Response { algorithm, count, etag, version })
}

/// `GET /_matrix/client/v3/room_keys/version/{version}`
pub async fn get(
    context: Context,
    caller: User,
    request: get_backup_info::v3::Request,
) -> Result<get_backup_info::v3::Response, Error> {
    let info = context.app.server.backups.info(&caller.user_id, &request.version).await?;
    let (algorithm, count, etag, version) = (info.algorithm, info.count, info.etag, info.version);
    Ok(get_backup_info::v3::Response { algorithm, count, etag, version })
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}`
pub async fn put(
    context: Context,
    caller: User,
    request: update_backup_version::v3::Request,
) -> Result<update_backup_version::v3::Response, Error> {
    context.app.server.backups.update(&caller.user_id, &request.version, &request.algorithm).await?;
    Ok(update_backup_version::v3::Response {})
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}`
pub async fn delete(
    context: Context,
    caller: User,
    request: delete_backup_version::v3::Request,
) -> Result<delete_backup_version::v3::Response, Error> {
    context.app.server.backups.delete(&caller.user_id, &request.version).await?;
    Ok(delete_backup_version::v3::Response {})
}
