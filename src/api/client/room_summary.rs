//! `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`: what a room says of itself.
//! <https://spec.matrix.org/v1.19/client-server-api/#room-summaries>

use depesche_server::rooms::summary::SummaryError;
use ruma::{api::client::room::get_summary::v1::Request, events::room::member::MembershipState};
use serde::Serialize;
use serde_json::{Value, map::Entry};

use super::join::room_of;
use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// What a room says of itself, with what its viewer has to do with it if somebody asks who has a name.
#[derive(Serialize)]
pub struct Summary {
    #[serde(flatten)]
    room: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<MembershipState>,
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`. `via` names servers to ask: there are none yet.
pub async fn get(
    context: Context,
    user: Option<User>,
    Answering { request, .. }: Answering<Request, JsonResponse<Summary>>,
) -> Result<JsonResponse<Summary>, Error> {
    let Request { room_id_or_alias, via: _, .. } = request;
    let room = room_of(&context, room_id_or_alias).await?;
    let viewer = user.as_ref().map(|user| &*user.user_id);
    let (summary, membership) = context.app.server.rooms.summary(&room, viewer).await?;
    Ok(JsonResponse(Summary { room: with_join_rule(&summary)?, membership }))
}

/// A room as ruma's types say it, and its join rule also where it is the default: ruma leaves it out then, and clients
/// take what is not said for not known.
pub(super) fn with_join_rule(room: &impl Serialize) -> Result<Value, Error> {
    let mut room = serde_json::to_value(room).map_err(Error::internal)?;
    if let Value::Object(fields) = &mut room
        && let Entry::Vacant(rule) = fields.entry("join_rule")
    {
        rule.insert("public".into());
    }
    Ok(room)
}

impl From<SummaryError> for Error {
    fn from(error: SummaryError) -> Self {
        match error {
            SummaryError::NotFound => Self::not_found(error.to_string()),
            SummaryError::Fault(fault) => fault.into(),
        }
    }
}
