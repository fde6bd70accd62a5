//! `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
//! <https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid>

use depesche_rules::bounds::TO_DEVICE_BYTES_OF_ONE_REQUEST;
use depesche_server::to_device::SendError;
use ruma::api::{
    client::to_device::send_event_to_device::v3::{Request, Response},
    error::ErrorKind,
};

use crate::{caller::User, error::Error, rate_limit::Class, route::Context};

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
pub async fn put(context: Context, caller: User, request: Request) -> Result<Response, Error> {
    let written = context.app.server.to_device.send(&caller.user_id, Some(&caller.device_id), &request).await?;
    let requests = written.div_ceil(TO_DEVICE_BYTES_OF_ONE_REQUEST);
    context.app.charge(Class::ToDevice, &caller, requests.saturating_sub(1));
    Ok(Response {})
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Malformed => Self::bad_request(ErrorKind::BadJson, error.to_string()),
            SendError::TooLarge(_) => Self::too_large(error.to_string()),
            SendError::Fault(fault) => fault.into(),
        }
    }
}
