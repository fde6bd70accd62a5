//! `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid>

use depesche_server::rooms::receipts::{Read, ReceiptError, Thread};
use ruma::{
    api::client::receipt::create_receipt::v3::{ReceiptType, Request, Response},
    events::receipt::ReceiptThread,
};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}`
pub async fn post(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, receipt_type, event_id, thread } = request;
    let thread = match thread {
        ReceiptThread::Unthreaded => Thread::None,
        ReceiptThread::Main => Thread::Main,
        ReceiptThread::Thread(root) => Thread::Of(root),
        _ => return Err(Error::invalid_param("`thread_id` is \"main\" or the id of a thread's root")),
    };
    let event = Some(event_id);
    let read = match receipt_type {
        ReceiptType::Read => Read { public: event, thread, ..Read::default() },
        ReceiptType::ReadPrivate => Read { private: event, thread, ..Read::default() },
        ReceiptType::FullyRead if thread == Thread::None => Read { fully: event, ..Read::default() },
        ReceiptType::FullyRead => return Err(Error::invalid_param("`m.fully_read` takes no `thread_id`")),
        _ => return Err(Error::invalid_param("a receipt is `m.read`, `m.read.private` or `m.fully_read`")),
    };
    let server = &context.app.server;
    server.receipts.read(&user.user_id, &room_id, &read).await?;
    server.presence.active(&user.user_id);
    Ok(Response {})
}

impl From<ReceiptError> for Error {
    fn from(error: ReceiptError) -> Self {
        let words = error.to_string();
        match error {
            ReceiptError::NotJoined => Self::forbidden(words),
            ReceiptError::NotFound => Self::not_found(words),
            ReceiptError::NotInThread => Self::invalid_param(words),
            ReceiptError::AccountData(why) => why.into(),
            ReceiptError::Fault(fault) => fault.into(),
        }
    }
}
