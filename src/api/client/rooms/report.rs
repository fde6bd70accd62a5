//! `POST /_matrix/client/v3/rooms/{roomId}/report`, `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#reporting-content>
//!
//! Nobody learns by a report which rooms there are: one of a room that is not here is answered like any other. An event
//! that is not there, that the reporter may not see, or whose room the reporter is not in, is not found.

use ruma::api::client::room::{report_content::v3 as event, report_room::v3 as room};

use crate::{caller::User, client::users::concealed, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/report`
pub async fn room(context: Context, user: User, request: room::Request) -> Result<room::Response, Error> {
    let room::Request { room_id, reason } = request;
    concealed(context.app.server.reports.room(&user.user_id, &room_id, &reason).await)?;
    Ok(room::Response {})
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`
pub async fn event(context: Context, user: User, request: event::Request) -> Result<event::Response, Error> {
    let event::Request { room_id, event_id, reason } = request;
    let reason = reason.unwrap_or_default();
    context.app.server.reports.event(&user.user_id, &room_id, &event_id, &reason).await?;
    Ok(event::Response {})
}
