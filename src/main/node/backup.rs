//! `/_depesche/admin/backup`: a backup of the running server, made by [`crate::backup`].

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use depesche_config::Config;
use depesche_server::Clock;
use depesche_store_rocksdb::RocksDb;
use http::StatusCode;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use super::long;
use crate::backup;

type Parts = (Arc<RocksDb>, Arc<Config>, TaskTracker);

/// The route, below the prefix of the admin API.
pub fn router(engine: Arc<RocksDb>, config: Arc<Config>, long: TaskTracker) -> Router {
    Router::new().route("/_depesche/admin/backup", post(make)).with_state((engine, config, long))
}

/// Body: `into`, an absolute path.
async fn make(State((engine, config, tracker)): State<Parts>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(into) = asked["into"].as_str().map(PathBuf::from).filter(|into| into.is_absolute()) else {
        let error = serde_json::json!({ "errcode": "M_BAD_JSON", "error": "\"into\" must be an absolute path" });
        return (StatusCode::BAD_REQUEST, error.to_string()).into_response();
    };
    let now_ms = Clock::system().now_ms();
    long::respond(&tracker, |progress| backup::make(config, engine, now_ms, into, progress))
}
