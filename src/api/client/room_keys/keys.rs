//! `/_matrix/client/v3/room_keys/keys`: the keys in a backup, of all rooms, of one, of one session.
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys>

use std::collections::BTreeMap;

use depesche_server::backup::Selection;
use ruma::{
    OwnedRoomId,
    api::client::backup::{
        KeyBackupData, RoomKeyBackup, add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session,
        delete_backup_keys, delete_backup_keys_for_room, delete_backup_keys_for_session, get_backup_keys,
        get_backup_keys_for_room, get_backup_keys_for_session,
    },
    serde::Raw,
};

use crate::{caller::User, error::Error, route::Context};

/// `PUT /_matrix/client/v3/room_keys/keys`
pub async fn put(
    context: Context,
    caller: User,
    request: add_backup_keys::v3::Request,
) -> Result<add_backup_keys::v3::Response, Error> {
    let changed = context.app.server.backups.put_keys(&caller.user_id, &request.version, &request.rooms).await?;
    Ok(add_backup_keys::v3::Response { etag: changed.etag, count: changed.count })
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}`
pub async fn put_room(
    context: Context,
    caller: User,
    request: add_backup_keys_for_room::v3::Request,
) -> Result<add_backup_keys_for_room::v3::Response, Error> {
    let rooms = of_room(request.room_id, request.sessions);
    let changed = context.app.server.backups.put_keys(&caller.user_id, &request.version, &rooms).await?;
    Ok(add_backup_keys_for_room::v3::Response { etag: changed.etag, count: changed.count })
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
pub async fn put_session(
    context: Context,
    caller: User,
    request: add_backup_keys_for_session::v3::Request,
) -> Result<add_backup_keys_for_session::v3::Response, Error> {
    let rooms = of_room(request.room_id, BTreeMap::from([(request.session_id, request.session_data)]));
    let changed = context.app.server.backups.put_keys(&caller.user_id, &request.version, &rooms).await?;
    Ok(add_backup_keys_for_session::v3::Response { etag: changed.etag, count: changed.count })
}

/// `GET /_matrix/client/v3/room_keys/keys`
pub async fn get(
    context: Context,
    caller: User,
    request: get_backup_keys::v3::Request,
) -> Result<get_backup_keys::v3::Response, Error> {
    let rooms = context.app.server.backups.keys(&caller.user_id, &request.version, Selection::All).await?;
    Ok(get_backup_keys::v3::Response { rooms })
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`: a room without keys is an empty one.
pub async fn get_room(
    context: Context,
    caller: User,
    request: get_backup_keys_for_room::v3::Request,
) -> Result<get_backup_keys_for_room::v3::Response, Error> {
    let selection = Selection::Room(&request.room_id);
    let mut rooms = context.app.server.backups.keys(&caller.user_id, &request.version, selection).await?;
    let sessions = rooms.remove(&request.room_id).map(|room| room.sessions).unwrap_or_default();
    Ok(get_backup_keys_for_room::v3::Response { sessions })
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
pub async fn get_session(
    context: Context,
    caller: User,
    request: get_backup_keys_for_session::v3::Request,
) -> Result<get_backup_keys_for_session::v3::Response, Error> {
    let get_backup_keys_for_session::v3::Request { version, room_id, session_id } = &request;
    let key_data = context.app.server.backups.key(&caller.user_id, version, room_id, session_id).await?;
    Ok(get_backup_keys_for_session::v3::Response { key_data })
}

/// `DELETE /_matrix/client/v3/room_keys/keys`
pub async fn delete(
    context: Context,
    caller: User,
    request: delete_backup_keys::v3::Request,
) -> Result<delete_backup_keys::v3::Response, Error> {
    let backups = &context.app.server.backups;
    let changed = backups.delete_keys(&caller.user_id, &request.version, Selection::All).await?;
    Ok(delete_backup_keys::v3::Response { etag: changed.etag, count: changed.count })
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}`
pub async fn delete_room(
    context: Context,
    caller: User,
    request: delete_backup_keys_for_room::v3::Request,
) -> Result<delete_backup_keys_for_room::v3::Response, Error> {
    let selection = Selection::Room(&request.room_id);
    let changed = context.app.server.backups.delete_keys(&caller.user_id, &request.version, selection).await?;
    Ok(delete_backup_keys_for_room::v3::Response { etag: changed.etag, count: changed.count })
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
pub async fn delete_session(
    context: Context,
    caller: User,
    request: delete_backup_keys_for_session::v3::Request,
) -> Result<delete_backup_keys_for_session::v3::Response, Error> {
    let selection = Selection::Session(&request.room_id, &request.session_id);
    let changed = context.app.server.backups.delete_keys(&caller.user_id, &request.version, selection).await?;
    Ok(delete_backup_keys_for_session::v3::Response { etag: changed.etag, count: changed.count })
}

fn of_room(room: OwnedRoomId, sessions: BTreeMap<String, Raw<KeyBackupData>>) -> BTreeMap<OwnedRoomId, RoomKeyBackup> {
    BTreeMap::from([(room, RoomKeyBackup { sessions })])
}
