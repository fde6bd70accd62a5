//! `/_matrix/client/v3/room_keys/keys`: the keys in a backup, of all rooms, of one, of one session.
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys>

use std::collections::BTreeMap;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use depesche_server::{
    Fault,
    backup::{KeyPages, Selection, StoredKey},
};
use futures::{TryStreamExt, stream};
use http::header;
use ruma::{
    OwnedRoomId,
    api::client::backup::{
        KeyBackupData, RoomKeyBackup, add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session,
        delete_backup_keys, delete_backup_keys_for_room, delete_backup_keys_for_session, get_backup_keys,
        get_backup_keys_for_room, get_backup_keys_for_session,
    },
    serde::Raw as RawJson,
};
use serde_json::json;

use crate::{
    caller::User,
    error::Error,
    route::{Context, Raw},
};

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
    _: Raw,
) -> Result<Response, Error> {
    let pages = context.app.server.backups.keys(&caller.user_id, &request.version, Selection::All).await?;
    Ok(streamed(Written::new(pages, true)))
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`: a room without keys is an empty one.
pub async fn get_room(
    context: Context,
    caller: User,
    request: get_backup_keys_for_room::v3::Request,
    _: Raw,
) -> Result<Response, Error> {
    let selection = Selection::Room(&request.room_id);
    let pages = context.app.server.backups.keys(&caller.user_id, &request.version, selection).await?;
    Ok(streamed(Written::new(pages, false)))
}

/// Keys on their way to a client: page by page, for all together are up to hundreds of megabytes.
struct Written {
    pages: KeyPages,
    /// Whether the answer names the rooms.
    by_room: bool,
    /// The room of the last key that was written.
    room: Option<OwnedRoomId>,
    begun: bool,
    ended: bool,
}

impl Written {
    fn new(pages: KeyPages, by_room: bool) -> Self {
        Self { pages, by_room, room: None, begun: false, ended: false }
    }

    /// The next piece of the answer's JSON.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Fault> {
        if self.ended {
            return Ok(None);
        }
        let mut text = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            text.push_str(if self.by_room { r#"{"rooms":{"# } else { r#"{"sessions":{"# });
        }
        if let Some(keys) = self.pages.next().await? {
            for key in keys {
                self.write(key, &mut text);
            }
        } else {
            text.push_str(if self.by_room && self.room.is_some() { "}}}}" } else { "}}" });
            self.ended = true;
        }
        Ok(Some((text.into(), self)))
    }

    fn write(&mut self, key: StoredKey, text: &mut String) {
        let is_in_room = self.room.as_ref() == Some(&key.room);
        match (self.by_room && !is_in_room, self.room.is_some()) {
            (true, is_behind_another) => {
                text.push_str(if is_behind_another { "}}," } else { "" });
                text.push_str(&json!(key.room).to_string());
                text.push_str(r#":{"sessions":{"#);
            }
            (false, true) => text.push(','),
            (false, false) => {}
        }
        text.push_str(&json!(key.session).to_string());
        text.push(':');
        text.push_str(&key.json);
        self.room = Some(key.room);
    }
}

fn streamed(written: Written) -> Response {
    let pieces = stream::try_unfold(written, Written::next)
        .inspect_err(|fault| tracing::error!(%fault, "the keys of a backup break off"));
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, Body::from_stream(pieces)).into_response()
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

fn of_room(
    room: OwnedRoomId,
    sessions: BTreeMap<String, RawJson<KeyBackupData>>,
) -> BTreeMap<OwnedRoomId, RoomKeyBackup> {
    BTreeMap::from([(room, RoomKeyBackup { sessions })])
}
