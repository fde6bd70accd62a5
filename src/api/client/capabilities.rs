//! `GET /_matrix/client/v3/capabilities`: what clients may offer their users.
//! <https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation>

use ruma::{
    RoomVersionId,
    api::client::discovery::get_capabilities::v3::{
        Capabilities, ChangePasswordCapability, GetLoginTokenCapability, Request, Response, RoomVersionStability,
        RoomVersionsCapability, ThirdPartyIdChangesCapability,
    },
};

use crate::{caller::User, error::Error, route::Context};

/// Versions 1 and 2 are not served; 3 to 5 are, for old rooms.
const ROOM_VERSIONS: [(RoomVersionId, RoomVersionStability); 10] = [
    (RoomVersionId::V3, RoomVersionStability::Unstable),
    (RoomVersionId::V4, RoomVersionStability::Unstable),
    (RoomVersionId::V5, RoomVersionStability::Unstable),
    (RoomVersionId::V6, RoomVersionStability::Stable),
    (RoomVersionId::V7, RoomVersionStability::Stable),
    (RoomVersionId::V8, RoomVersionStability::Stable),
    (RoomVersionId::V9, RoomVersionStability::Stable),
    (RoomVersionId::V10, RoomVersionStability::Stable),
    (RoomVersionId::V11, RoomVersionStability::Stable),
    (RoomVersionId::V12, RoomVersionStability::Stable),
];

/// `GET /_matrix/client/v3/capabilities`
pub async fn get(context: Context, _: User, _: Request) -> Result<Response, Error> {
    let mut capabilities = Capabilities::new();
    capabilities.room_versions = RoomVersionsCapability {
        default: context.app.config.rooms.default_version.clone(),
        available: ROOM_VERSIONS.into_iter().collect(),
    };
    capabilities.change_password = ChangePasswordCapability { enabled: context.app.config.accounts.change_password };
    capabilities.get_login_token = GetLoginTokenCapability { enabled: context.app.config.accounts.token_login };
    // Mail addresses and telephone numbers are not kept.
    capabilities.thirdparty_id_changes = ThirdPartyIdChangesCapability { enabled: false };
    Ok(Response { capabilities })
}
