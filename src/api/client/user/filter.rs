//! `/_matrix/client/v3/user/{userId}/filter`
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use depesche_server::filters::{FilterError, Written};
use ruma::{
    OwnedUserId,
    api::{
        IncomingRequest,
        client::filter::{FilterDefinition, create_filter, get_filter},
        error::DeserializationError,
    },
};
use serde::{Deserialize, de::value::SeqDeserializer};

use crate::{
    caller::User,
    error::Error,
    route::{Answering, Context, JsonResponse, described_as},
};

/// `POST /_matrix/client/v3/user/{userId}/filter`
pub async fn post(context: Context, caller: User, request: CreateFilter) -> Result<create_filter::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let filter_id = context.app.server.filters.create(&caller.user_id, &request.filter).await?;
    Ok(create_filter::v3::Response { filter_id })
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
pub async fn get(
    context: Context,
    caller: User,
    Answering { request, .. }: Answering<get_filter::v3::Request, JsonResponse<Written>>,
) -> Result<JsonResponse<Written>, Error> {
    caller.must_be(&request.user_id)?;
    let server = &context.app.server;
    let filter = server.filters.written(&server.base.view(), &caller.user_id, &request.filter_id).await?;
    Ok(JsonResponse(filter))
}

/// The request of [`post`]. ruma's own keeps of a filter only what it knows, and not what is so by default.
pub struct CreateFilter {
    user_id: OwnedUserId,
    filter: Written,
}

described_as!(CreateFilter: create_filter::v3::Request);

impl IncomingRequest for CreateFilter {
    type EndpointError = <create_filter::v3::Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = create_filter::v3::Response;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let path = SeqDeserializer::<_, serde::de::value::Error>::new(path.iter().copied());
        let (user_id,) = <(OwnedUserId,)>::deserialize(path)?;
        let filter: Written = serde_json::from_slice(request.body())?;
        // What is no filter is refused as every body is that is not of its form.
        FilterDefinition::deserialize(&filter)?;
        Ok(Self { user_id, filter })
    }
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        let message = error.to_string();
        match error {
            FilterError::NotFound => Self::not_found(message),
            FilterError::Malformed(_) | FilterError::Bad(_) => Self::bad_json(message),
            FilterError::TooLarge => Self::too_large(message),
            FilterError::TooMany => Self::user_limit(message),
            FilterError::Fault(fault) => fault.into(),
        }
    }
}
