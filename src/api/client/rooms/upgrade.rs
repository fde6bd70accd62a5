//! `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

use bytes::Bytes;
use depesche_rules::versions::room_version_rules;
use depesche_server::workflows::upgrade::{Upgrade, UpgradeError};
use ruma::{
    RoomVersionId,
    api::{
        client::room::upgrade_room::v3::{Request, Response},
        error::ErrorKind,
    },
};
use serde_json::{Map, Value};

use super::{super::room_version::Versioned, unknown_is_forbidden};
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
pub async fn post(context: Context, user: User, request: Versioned<Request>) -> Result<Response, Error> {
    user.must_not_be_suspended()?;
    let server = &context.app.server;
    let Request { room_id, new_version, additional_creators } = request.known()?;
    let upgrade = Upgrade { user: user.user_id, room: room_id, version: new_version, additional_creators };
    let user = upgrade.user.clone();
    let replacement_room = server.rooms.upgrade(upgrade).await?;
    server.has_joined(&user, &replacement_room).await;
    Ok(Response { replacement_room })
}

/// Only some versions have additional creators. For the others the field says nothing, whatever stands in it.
pub fn as_meant(body: Bytes) -> Bytes {
    let Ok(mut object) = serde_json::from_slice::<Map<String, Value>>(&body) else { return body };
    let version = object.get("new_version").and_then(Value::as_str);
    let rules = version.and_then(|version| room_version_rules(&RoomVersionId::try_from(version).ok()?));
    if rules.is_some_and(|rules| rules.authorization.additional_room_creators)
        || object.remove("additional_creators").is_none()
    {
        return body;
    }
    serde_json::to_vec(&object).map_or(body, Bytes::from)
}

impl From<UpgradeError> for Error {
    fn from(error: UpgradeError) -> Self {
        let words = error.to_string();
        match error {
            UpgradeError::UnsupportedVersion(_) => Self::bad_request(ErrorKind::UnsupportedRoomVersion, words),
            UpgradeError::Refused(refusal) => unknown_is_forbidden(refusal).into(),
        }
    }
}
