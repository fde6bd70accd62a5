//! `/_matrix/client/v3/user/{userId}/filter`
//! <https://spec.matrix.org/v1.19/client-server-api/#filtering>

use depesche_server::filters::FilterError;
use ruma::api::client::filter::{create_filter, get_filter};

use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/user/{userId}/filter`
pub async fn post(
    context: Context,
    caller: User,
    request: create_filter::v3::Request,
) -> Result<create_filter::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let filter_id = context.app.server.filters.create(&caller.user_id, &request.filter).await?;
    Ok(create_filter::v3::Response { filter_id })
}

/// `GET /_matrix/client/v3/user/{userId}/filter/{filterId}`
pub async fn get(
    context: Context,
    caller: User,
    request: get_filter::v3::Request,
) -> Result<get_filter::v3::Response, Error> {
    caller.must_be(&request.user_id)?;
    let server = &context.app.server;
    let filter = server.filters.get(&server.base.view(), &caller.user_id, &request.filter_id).await?;
    Ok(get_filter::v3::Response { filter })
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        let message = error.to_string();
        match error {
            FilterError::NotFound => Self::not_found(message),
            FilterError::Bad(_) => Self::bad_json(message),
            FilterError::TooLarge => Self::too_large(message),
            FilterError::TooMany => Self::user_limit(message),
            FilterError::Fault(fault) => fault.into(),
        }
    }
}
