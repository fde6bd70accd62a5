//! `GET /_matrix/client/v3/notifications`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications>

use depesche_rules::bounds::MAX_PAGE;
use depesche_server::notifications::{self, NotificationsError, Query};
use ruma::{
    MilliSecondsSinceUnixEpoch,
    api::client::push::get_notifications::v3::{Notification, Request, Response},
    serde::Raw,
};

use crate::{caller::User, error::Error, route::Context};

/// Notifications of a page when the client does not say. Ours, as Synapse.
const DEFAULT_LIMIT: u32 = 50;

/// `GET /_matrix/client/v3/notifications`
pub async fn get(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    let limit = request.limit.map_or(DEFAULT_LIMIT, |limit| u32::try_from(u64::from(limit)).unwrap_or(MAX_PAGE));
    let query = Query {
        user: &caller.user_id,
        device: &caller.device_id,
        from: request.from.as_deref(),
        limit: limit.clamp(1, MAX_PAGE) as usize,
        highlights: request.only.as_deref() == Some("highlight"),
    };
    let page = notifications::page(&context.app.server.base, &query).await?;
    Ok(Response { next_token: page.next, notifications: page.notifications.into_iter().map(shown).collect() })
}

fn shown(notification: notifications::Notification) -> Notification {
    Notification {
        actions: notification.actions,
        event: Raw::from_json(notification.event),
        profile_tag: None,
        read: notification.read,
        room_id: notification.room,
        ts: MilliSecondsSinceUnixEpoch(notification.ts),
    }
}

impl From<NotificationsError> for Error {
    fn from(error: NotificationsError) -> Self {
        match error {
            NotificationsError::BadToken(why) => Self::invalid_param(why.to_string()),
            NotificationsError::Fault(fault) => fault.into(),
        }
    }
}
