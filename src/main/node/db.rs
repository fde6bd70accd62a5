//! `/_depesche/admin/db/`: the operator's requests to the engine itself. They stand here and not in `api`, because only
//! `main` knows which engine there is.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use depesche_store::Engine;
use depesche_store_rocksdb::RocksDb;
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

type Answer = Result<Value, (StatusCode, String)>;

/// The routes, below the prefix of the admin API.
pub fn router(engine: Arc<RocksDb>) -> Router {
    Router::new()
        .route("/_depesche/admin/db/stats", get(async |State(engine): Shared| reply(Ok(stats(&engine)))))
        .route("/_depesche/admin/db/verify", post(async |State(engine): Shared| reply(verify(engine).await)))
        .route("/_depesche/admin/db/compact", post(async |State(engine): Shared| reply(compact(engine).await)))
        .route(
            "/_depesche/admin/db/checkpoint",
            post(async |State(engine): Shared, body: Bytes| reply(checkpoint(&engine, &body).await)),
        )
        .with_state(engine)
}

type Shared = State<Arc<RocksDb>>;

fn stats(engine: &RocksDb) -> Value {
    engine.statistics().into_iter().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>().into()
}

/// Damage is no error of the request: it is what was asked for.
async fn verify(engine: Arc<RocksDb>) -> Answer {
    let found = blocking(move || engine.verify()).await?;
    Ok(match found {
        Ok(rows) => json!({ "rows": rows, "problems": [] }),
        Err(problem) => json!({ "problems": [problem.to_string()] }),
    })
}

async fn compact(engine: Arc<RocksDb>) -> Answer {
    blocking(move || engine.compact()).await?;
    Ok(json!({}))
}

async fn checkpoint(engine: &RocksDb, body: &[u8]) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let into = asked["into"].as_str().map(PathBuf::from).filter(|into| into.is_absolute());
    let into = into.ok_or_else(|| (StatusCode::BAD_REQUEST, "\"into\" must be an absolute path".to_owned()))?;
    engine.checkpoint(&into).await.map_err(failed)?;
    Ok(json!({ "into": into }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, (StatusCode, String)> {
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn reply(answer: Answer) -> Response {
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err((status, error)) => (status, json!({ "errcode": "M_UNKNOWN", "error": error })),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{Router, body::Body};
    use depesche_store_rocksdb::{RocksDb, RocksOptions};
    use http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tower::ServiceExt;

    use super::router;

    async fn ask(router: &Router, method: &str, what: &str, body: Value) -> (u16, Value) {
        let request = Request::builder().method(method).uri(format!("/_depesche/admin/db/{what}"));
        let request = request.body(Body::from(body.to_string())).expect("a request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&bytes).expect("json"))
    }

    #[tokio::test]
    async fn the_engine_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = RocksDb::open(&folder.path().join("db"), &RocksOptions::default()).expect("opened");
        let router = router(Arc::new(engine));
        let (status, figures) = ask(&router, "GET", "stats", json!({})).await;
        assert!(status == 200 && figures.as_object().is_some_and(|figures| !figures.is_empty()), "{figures}");
        let (status, found) = ask(&router, "POST", "verify", json!({})).await;
        assert!(status == 200 && found["rows"].is_u64() && found["problems"] == json!([]), "{found}");
        assert_eq!(ask(&router, "POST", "compact", json!({})).await, (200, json!({})));
        let into = folder.path().join("copy");
        assert_eq!(ask(&router, "POST", "checkpoint", json!({ "into": into })).await.0, 200);
        assert!(into.join("CURRENT").exists());
        assert_eq!(ask(&router, "POST", "checkpoint", json!({ "into": into })).await.0, 500, "it is there already");
        assert_eq!(ask(&router, "POST", "checkpoint", json!({ "into": "copy" })).await.0, 400);
    }
}
