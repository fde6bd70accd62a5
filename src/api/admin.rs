//! `/_depesche/admin/`: what the operator asks, on a socket that only the operator can open. There is no other
//! authentication, so this router must never be mounted beside that of clients.
//!
//! JSON in and out, errors as everywhere in Matrix (`errcode`, `error`). Users are named by localpart or user id; times
//! are in milliseconds since 1970. The command line is its first client, and prints `error` as it is.

mod media;
mod registration_tokens;
mod reports;
mod users;
mod version;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use depesche_server::accounts::names::local_user_id;
use http::{StatusCode, header};
use ruma::{OwnedUserId, api::error::ErrorKind};
use serde::{Serialize, de::DeserializeOwned};

use crate::{App, body, error::Error, route::unrecognized};

/// The most bytes of a request's body.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The router of everything the operator may ask of the server.
pub fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/_depesche/admin/users", get(users::list).post(users::create))
        .route("/_depesche/admin/users/{user}", get(users::show))
        .route("/_depesche/admin/users/{user}/password", put(users::set_password))
        .route("/_depesche/admin/users/{user}/admin", put(users::set_admin))
        .route("/_depesche/admin/users/{user}/suspended", put(users::set_suspended))
        .route("/_depesche/admin/users/{user}/locked", put(users::set_locked))
        .route("/_depesche/admin/users/{user}/deactivate", post(users::deactivate))
        .route("/_depesche/admin/users/{user}/media", get(media::list))
        .route("/_depesche/admin/media/{id}", delete(media::remove))
        .route("/_depesche/admin/registration_tokens", get(registration_tokens::list).post(registration_tokens::create))
        .route("/_depesche/admin/registration_tokens/{token}", delete(registration_tokens::remove))
        .route("/_depesche/admin/reports", get(reports::list))
        .route("/_depesche/admin/reports/{number}", get(reports::show))
        .route("/_depesche/admin/reports/{number}/close", post(reports::close))
        .route("/_depesche/admin/version", get(version::show))
        .fallback(|request: Request| unrecognized(StatusCode::NOT_FOUND, request))
        .layer(from_fn_with_state(Arc::clone(app), to_its_end))
        .with_state(Arc::clone(app))
}

/// What changes something is carried out, also when the command that asked was interrupted.
async fn to_its_end(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if request.method().is_safe() { next.run(request).await } else { app.carry_out(next.run(request)).await }
}

/// What a handler gives back.
type Answer<T> = Result<Json<T>, Failed>;

/// A refusal, which has its line in the log like those of clients.
struct Failed(Error);

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        self.0.log();
        self.0.into_response()
    }
}

/// A body in JSON.
async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Error> {
    let mut sent: Body = request.into_body();
    let bytes = body::read(&mut sent, MAX_BODY_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::bad_request(ErrorKind::BadJson, error.to_string()))
}

/// An answer in JSON.
struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
            Err(error) => Error::internal(error).into_response(),
        }
    }
}

/// The local user of this name.
fn local_user(app: &App, name: &str) -> Result<OwnedUserId, Error> {
    let ours = &app.config.server.name;
    local_user_id(name, ours).ok_or_else(|| Error::not_found(format!("{name} is no user of {ours}")))
}
