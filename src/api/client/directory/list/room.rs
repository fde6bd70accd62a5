//! `GET` and `PUT /_matrix/client/v3/directory/list/room/{roomId}`: whether a room is in the published room directory.
//! <https://spec.matrix.org/v1.19/client-server-api/#published-room-directory>

use depesche_server::directory::DirectoryError;
use ruma::{
    OwnedRoomId,
    api::{
        IncomingRequest,
        client::{
            directory::{get_room_visibility::v3 as get, set_room_visibility::v3 as set},
            room::Visibility,
        },
        error::DeserializationError,
    },
};
use serde::{Deserialize, de::value::SeqDeserializer};

use crate::{
    caller::{Anyone, User},
    error::Error,
    route::{Context, described_as},
};

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`
pub async fn get(context: Context, _: Anyone, request: get::Request) -> Result<get::Response, Error> {
    let published = context.app.server.directory.has(&request.room_id).await?;
    Ok(get::Response { visibility: if published { Visibility::Public } else { Visibility::Private } })
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`
pub async fn put(context: Context, user: User, request: SetVisibility) -> Result<set::Response, Error> {
    user.must_not_be_suspended()?;
    let published = match request.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(Error::invalid_param("`visibility` is \"public\" or \"private\"")),
    };
    context.app.server.directory.set(&user.user_id, &request.room_id, published).await?;
    Ok(set::Response {})
}

/// The request of [`put`]. ruma's own has no default for the visibility, and the specification has one.
pub struct SetVisibility {
    room_id: OwnedRoomId,
    visibility: Visibility,
}

described_as!(SetVisibility: set::Request);

impl IncomingRequest for SetVisibility {
    type EndpointError = <set::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = set::Response;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default = "public")]
            visibility: Visibility,
        }

        fn public() -> Visibility {
            Visibility::Public
        }

        let path = SeqDeserializer::<_, serde::de::value::Error>::new(path.iter().copied());
        let (room_id,) = <(OwnedRoomId,)>::deserialize(path)?;
        let Body { visibility } = serde_json::from_slice(request.body())?;
        Ok(Self { room_id, visibility })
    }
}

impl From<DirectoryError> for Error {
    fn from(error: DirectoryError) -> Self {
        let words = error.to_string();
        match error {
            DirectoryError::NotFound => Self::not_found(words),
            DirectoryError::Forbidden(_) => Self::forbidden(words),
            DirectoryError::BadToken => Self::invalid_param(words),
            DirectoryError::Fault(fault) => fault.into(),
        }
    }
}
