//! `GET /_matrix/client/v1/rooms/{roomId}/threads`
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidthreads>

use depesche_rules::bounds::DEFAULT_THREADS_LIMIT;
use depesche_server::rooms::threads::ThreadsQuery;
use ruma::{
    UInt,
    api::client::threads::get_threads::v1::{IncludeThreads, Request, Response},
    serde::Raw,
};

use super::{page_limit, readable, viewer};
use crate::{caller::User, error::Error, route::Context};

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`
pub async fn get(context: Context, user: User, request: Request) -> Result<Response, Error> {
    let Request { room_id, from, include, limit } = request;
    if limit == Some(UInt::MIN) {
        return Err(Error::invalid_param("`limit` is greater than zero"));
    }
    let participated = match include {
        IncludeThreads::All => false,
        IncludeThreads::Participated => true,
        _ => return Err(Error::invalid_param("`include` is `all` or `participated`")),
    };
    let query = ThreadsQuery { from: from.as_deref(), participated, limit: page_limit(limit, DEFAULT_THREADS_LIMIT) };
    let room = readable(&context, &room_id).await?;
    let page = viewer(&context, &user, &room).await?.threads(&query).await?;
    Ok(Response { chunk: page.roots.into_iter().map(Raw::from_json).collect(), next_batch: page.next })
}
