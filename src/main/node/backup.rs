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
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::long;
use crate::backup;

type Parts = (Arc<RocksDb>, Arc<Config>, TaskTracker, Arc<Mutex<()>>);

/// Said to whoever asks for a copy while another is made.
pub(super) const ANOTHER: &str = "another backup is under way: wait for its end";

/// The route, below the prefix of the admin API.
pub fn router(engine: &Arc<RocksDb>, config: &Arc<Config>, long: &TaskTracker, copying: &Arc<Mutex<()>>) -> Router {
    let parts = (Arc::clone(engine), Arc::clone(config), long.clone(), Arc::clone(copying));
    Router::new().route("/_depesche/admin/backup", post(make)).with_state(parts)
}

/// Body: `into`, an absolute path. One at a time.
async fn make(State((engine, config, tracker, copying)): State<Parts>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(into) = asked["into"].as_str().map(PathBuf::from).filter(|into| into.is_absolute()) else {
        return refused(StatusCode::BAD_REQUEST, "M_BAD_JSON", "\"into\" must be an absolute path");
    };
    let Ok(held) = copying.try_lock_owned() else {
        return refused(StatusCode::CONFLICT, "M_UNKNOWN", ANOTHER);
    };
    let now_ms = Clock::system().now_ms();
    long::respond(&tracker, |progress| async move {
        let made = backup::make(config, engine, now_ms, into.clone(), progress).await;
        // Until here: what failed has cleared away what it made.
        drop(held);
        if let Ok(made) = &made {
            let bytes = made["bytes"].as_u64();
            tracing::info!(into = %into.display(), bytes, "a backup was made");
        }
        made
    })
}

fn refused(status: StatusCode, errcode: &str, error: &str) -> Response {
    (status, serde_json::json!({ "errcode": errcode, "error": error }).to_string()).into_response()
}
