//! `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-upgrades>

use depesche_server::workflows::upgrade::{Upgrade, UpgradeError};
use ruma::api::{
    client::room::upgrade_room::v3::{Request, Response},
    error::ErrorKind,
};

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
    server.has_joined(&user, &replacement_room).await?;
    Ok(Response { replacement_room })
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
