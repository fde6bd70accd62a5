//! `POST /_matrix/client/v3/rooms/{roomId}/read_markers`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers>

use depesche_server::rooms::receipts::{Read, Thread};
use ruma::api::client::read_marker::set_read_marker::v3::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/read_markers`. All markers move, or none.
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, fully_read, read_receipt, private_read_receipt } = request;
    let read = Read { public: read_receipt, private: private_read_receipt, thread: Thread::None, fully: fully_read };
    let server = &context.app.server;
    server.receipts.read(&user.user_id, &room_id, &read).await?;
    server.presence.active(&user.user_id);
    Ok(Response {})
}
