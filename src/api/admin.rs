//! `/_depesche/admin/`: the operator's requests. JSON in, JSON out, errors as the Matrix specification has them.
//!
//! Whoever reaches this router rules the server: it asks for no token. `main` puts it behind a socket that only the
//! server's own user may open, and asks it in process where no server runs. The requests to the database engine stand
//! in `main`, which alone knows the engine.

pub mod registration_tokens;
pub mod users;
pub mod version;

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::{delete, get, post, put},
};
use depesche_rules::bounds::MAX_BODY_BYTES;
use http::{HeaderValue, StatusCode, header};
use ruma::api::error::ErrorKind;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{App, body, error::Error, route::unrecognized};

/// What a handler works with.
type Shared = State<Arc<App>>;
/// What a handler gives back.
type Answer = Result<Json, Failed>;

/// The router of the operator's requests.
pub fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/_depesche/admin/registration_tokens", get(registration_tokens::list).post(registration_tokens::post))
        .route("/_depesche/admin/registration_tokens/{token}", delete(registration_tokens::delete))
        .route("/_depesche/admin/users", get(users::list).post(users::post))
        .route("/_depesche/admin/users/{user}", get(users::get))
        .route("/_depesche/admin/users/{user}/admin", put(users::put_admin))
        .route("/_depesche/admin/users/{user}/deactivate", post(users::deactivate))
        .route("/_depesche/admin/users/{user}/password", put(users::put_password))
        .route("/_depesche/admin/version", get(version::get))
        .fallback(|request: Request| unrecognized(StatusCode::NOT_FOUND, request))
        .with_state(Arc::clone(app))
}

/// An answer's JSON.
pub struct Json(Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], self.0.to_string()).into_response()
    }
}

/// A refusal, logged when it is sent.
pub struct Failed(Error);

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

/// The body as a handler wants it. Unknown fields are ignored.
async fn read<T: DeserializeOwned>(mut body: Body) -> Result<T, Error> {
    let bytes = body::read(&mut body, MAX_BODY_BYTES).await?;
    body::check_json(&bytes)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::bad_request(ErrorKind::BadJson, error.to_string()))
}
