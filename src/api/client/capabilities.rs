//! `GET /_matrix/client/v3/capabilities`: what clients may offer their users.
//! <https://spec.matrix.org/v1.19/client-server-api/#capabilities-negotiation>

use depesche_rules::versions::{SUPPORTED, Stability};
use ruma::api::client::discovery::get_capabilities::v3::{
    AccountModerationCapability, Capabilities, GetLoginTokenCapability, ProfileFieldsCapability, Request,
    RoomVersionStability, RoomVersionsCapability, ThirdPartyIdChangesCapability,
};

use serde_json::json;

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// `GET /_matrix/client/v3/capabilities`. ruma's response leaves out what is as clients would take it to be. Some of it is
/// said in any case: whether the password may be changed, as there are clients that look for it, and whether name and
/// avatar may be, as the specification wants of who says so of profile fields.
pub async fn get(context: Context, user: User, _: Answering<Request, JsonResponse>) -> Result<JsonResponse, Error> {
    let change_password = context.app.config.accounts.change_password;
    let mut capabilities = Capabilities::new();
    capabilities.room_versions = RoomVersionsCapability {
        default: context.app.config.rooms.default_version.clone(),
        available: SUPPORTED.map(|(version, stability)| (version, announced(stability))).into(),
    };
    capabilities.get_login_token = GetLoginTokenCapability { enabled: context.app.config.accounts.token_login };
    // Mail addresses and telephone numbers are not kept.
    capabilities.thirdparty_id_changes = ThirdPartyIdChangesCapability { enabled: false };
    capabilities.account_moderation = AccountModerationCapability::new(user.admin, user.admin);
    capabilities.profile_fields = Some(ProfileFieldsCapability::new(true));
    // `m.forget_forced_upon_leave` is left at its default: rooms that were left stay until they are forgotten, so that
    // their users can look back at them.
    let mut answer = json!({ "capabilities": capabilities });
    answer["capabilities"]["m.change_password"] = json!({ "enabled": change_password });
    for deprecated in ["m.set_displayname", "m.set_avatar_url"] {
        answer["capabilities"][deprecated] = json!({ "enabled": true });
    }
    Ok(JsonResponse(answer))
}

fn announced(stability: Stability) -> RoomVersionStability {
    match stability {
        Stability::Stable => RoomVersionStability::Stable,
        Stability::Unstable => RoomVersionStability::Unstable,
    }
}
