//! `GET /_matrix/client/v3/pushrules/`: a user's push rules, of which only reading is served so far. Clients ask for them
//! before their first sync and do not begin without them.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushrules>

use depesche_server::account_data::GLOBAL;
use ruma::{
    api::client::push::get_pushrules_all::v3::{Request, Response},
    events::push_rules::PushRulesEventContent,
};

use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v3/pushrules/`
pub async fn get(context: Context, caller: User, _: Request) -> Result<Response, Error> {
    let server = &context.app.server;
    let content = server.account_data.get(&server.base.view(), &caller.user_id, GLOBAL, "m.push_rules").await?;
    let rules: PushRulesEventContent = serde_json::from_str(content.get()).map_err(Error::internal)?;
    Ok(Response { global: rules.global })
}
