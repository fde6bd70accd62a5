//! `GET`, `PUT`, `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
//! <https://spec.matrix.org/v1.19/client-server-api/#room-aliases>

use ruma::api::client::alias::{create_alias::v3 as create, delete_alias::v3 as delete, get_alias::v3 as get};

use crate::{
    caller::{Anyone, User},
    error::Error,
    route::Context,
};

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`
pub async fn get(context: Context, _: Anyone, request: get::Request) -> Result<get::Response, Error> {
    let server = &context.app.server;
    match server.rooms.resolve_alias(&request.room_alias).await? {
        Some(target) => Ok(get::Response { room_id: target.room_id, servers: vec![server.base.name.clone()] }),
        None => Err(Error::not_found("there is no such alias")),
    }
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`
pub async fn put(context: Context, user: User, request: create::Request) -> Result<create::Response, Error> {
    user.must_not_be_suspended()?;
    let create::Request { room_alias, room_id } = request;
    context.app.server.rooms.create_alias(&user.user_id, &room_alias, &room_id).await?;
    Ok(create::Response {})
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
pub async fn delete(context: Context, user: User, request: delete::Request) -> Result<delete::Response, Error> {
    user.must_not_be_suspended()?;
    context.app.server.rooms.delete_alias(&user.user_id, &request.room_alias).await?;
    Ok(delete::Response {})
}
