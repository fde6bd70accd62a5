//! `GET /_matrix/client/v3/sync`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync>

mod answer;

use depesche_server::{filters::FilterError, sync};
use ruma::{
    api::client::{
        filter::FilterDefinition,
        sync::sync_events::v3::{Filter, Request},
    },
    presence::PresenceState,
};

use self::answer::Answer;
use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse},
};

/// `GET /_matrix/client/v3/sync`. Who is logged out or locked while it waits is told so at once: the end of a device, and
/// a change of the account, wake its poll.
pub async fn get(
    context: Context,
    user: User,
    Answering { request, .. }: Answering<Request, JsonResponse<Answer>>,
) -> Result<JsonResponse<Answer>, Error> {
    let Request { filter, since, full_state, set_presence, timeout, use_state_after } = request;
    let server = &context.app.server;
    if !matches!(set_presence, PresenceState::Online | PresenceState::Offline | PresenceState::Unavailable) {
        return Err(Error::invalid_param("`set_presence` is \"online\", \"offline\" or \"unavailable\""));
    }
    let filter = match filter {
        None => FilterDefinition::empty(),
        Some(Filter::FilterDefinition(filter)) => filter,
        Some(Filter::FilterId(id)) => {
            server.filters.get(&server.base.view(), &user.user_id, &id).await.map_err(|why| match why {
                FilterError::NotFound => Error::invalid_param(why.to_string()),
                other => other.into(),
            })?
        }
    };
    let request = sync::Request {
        user: user.user_id.clone(),
        device: user.device_id.clone(),
        filter,
        since,
        full_state,
        timeout: timeout.unwrap_or_default(),
        use_state_after,
        set_presence,
    };
    let response = server.syncs.poll(&request, || user.must_still_be_here(server)).await?;
    Ok(JsonResponse(Answer(response)))
}
