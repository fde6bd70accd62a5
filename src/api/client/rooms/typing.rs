//! `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidtypinguserid>

use bytes::Bytes;
use depesche_server::typing::TypingError;
use ruma::api::client::typing::create_typing_event::v3::{Request, Response, Typing};

use crate::{caller::User, error::Error, route::Context};

/// How long somebody types who does not say.
const DEFAULT_TIMEOUT_MS: u64 = 30_000;

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
pub async fn put(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, user_id, state } = request;
    user.must_be(&user_id)?;
    let timeout = match state {
        Typing::Yes(info) => Some(info.timeout),
        Typing::No => None,
    };
    let server = &context.app.server;
    server.typing.set(&user.user_id, &room_id, timeout).await?;
    if timeout.is_some() {
        server.presence.active(&user.user_id);
    }
    Ok(Response {})
}

/// The specification requires no timeout, ruma's type does.
pub fn with_timeout(body: Bytes) -> Bytes {
    let Ok(mut object) = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&body) else {
        return body;
    };
    object.entry("timeout").or_insert_with(|| DEFAULT_TIMEOUT_MS.into());
    serde_json::to_vec(&object).map_or(body, Bytes::from)
}

impl From<TypingError> for Error {
    fn from(error: TypingError) -> Self {
        let words = error.to_string();
        match error {
            TypingError::NotJoined => Self::forbidden(words),
            TypingError::Fault(fault) => fault.into(),
        }
    }
}
