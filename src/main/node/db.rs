//! `/_depesche/admin/db/`: the operator's requests to the engine itself. They stand here and not in `api`, because only
//! `main` knows which engine there is. A compaction and a copy go on when whoever asked has gone; a verification ends.

use std::{path::PathBuf, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use depesche_server::{Server, verify};
use depesche_store::Engine;
use depesche_store_rocksdb::RocksDb;
use http::{StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use super::{
    backup::ANOTHER,
    long::{self, Progress},
};

type Answer = Result<Value, (StatusCode, String)>;

/// The routes, below the prefix of the admin API.
pub fn router(engine: &Arc<RocksDb>, server: &Arc<Server>, long: &TaskTracker, copying: &Arc<Mutex<()>>) -> Router {
    let verified = (Arc::clone(engine), Arc::clone(server), long.clone());
    let verify = Router::new().route("/_depesche/admin/db/verify", post(verify)).with_state(verified);
    let copied = (Arc::clone(engine), long.clone(), Arc::clone(copying));
    let checkpoint = async |State(parts): State<Copied>, body: Bytes| reply(checkpoint(parts, &body).await);
    let checkpoint = Router::new().route("/_depesche/admin/db/checkpoint", post(checkpoint)).with_state(copied);
    Router::new()
        .route("/_depesche/admin/db/stats", get(async |State(engine): Shared| reply(Ok(stats(&engine)))))
        .route("/_depesche/admin/db/compact", post(async |State(engine): Shared| reply(compact(engine).await)))
        .with_state(Arc::clone(engine))
        .merge(verify)
        .merge(checkpoint)
}

type Shared = State<Arc<RocksDb>>;
type Copied = (Arc<RocksDb>, TaskTracker, Arc<Mutex<()>>);

fn stats(engine: &RocksDb) -> Value {
    engine.statistics().into_iter().map(|(name, value)| (name, value.into())).collect::<Map<_, _>>().into()
}

/// First every row as the engine has it, then what the rows say of each other, both as of now. Damage is no error of the
/// request: it is what was asked for.
async fn verify(State((engine, server, tracker)): State<(Arc<RocksDb>, Arc<Server>, TaskTracker)>) -> Response {
    long::respond(&tracker, |progress| async move {
        let gone = progress.gone();
        tokio::select! {
            found = look_through(engine, server, progress) => found,
            () = gone => Err("nobody waits for it any more".to_owned()),
        }
    })
}

async fn look_through(engine: Arc<RocksDb>, server: Arc<Server>, mut progress: Progress) -> Result<Value, String> {
    progress.begin(&json!({ "what": "reading every row" }));
    // Falls when this is dropped.
    let wanted = Arc::new(());
    let unwanted = Arc::downgrade(&wanted);
    let read = tokio::task::spawn_blocking(move || engine.verify(|| unwanted.strong_count() == 0));
    let read = read.await.map_err(|error| error.to_string())?;
    drop(wanted);
    let rows = match read {
        Ok(rows) => rows,
        Err(problem) => return Ok(json!({ "problems": [problem.to_string()] })),
    };
    let view = server.base.view();
    let told = |found: verify::Progress| {
        progress
            .say(|| json!({ "what": "comparing what the rows say", "done": found.rows, "of": rows, "unit": "rows" }));
    };
    let report = verify::verify(&view, told).await.map_err(|fault| fault.to_string())?;
    let verify::Report { checked, problems, more } = report;
    Ok(json!({
        "rows": rows, "rooms": checked.rooms, "events": checked.events, "problems": problems, "more": more
    }))
}

async fn compact(engine: Arc<RocksDb>) -> Answer {
    tracing::info!("the operator has the database compacted");
    let done = blocking(move || {
        let done = engine.compact();
        // Here, because whoever asked may have gone.
        match &done {
            Ok(()) => tracing::info!("the database is compacted"),
            Err(error) => tracing::error!(%error, "the database was not compacted"),
        }
        done
    });
    done.await?.map_err(failed)?;
    Ok(json!({}))
}

/// One at a time, and none beside a backup.
async fn checkpoint((engine, tracker, copying): Copied, body: &[u8]) -> Answer {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let into = asked["into"].as_str().map(PathBuf::from).filter(|into| into.is_absolute());
    let into = into.ok_or_else(|| (StatusCode::BAD_REQUEST, "\"into\" must be an absolute path".to_owned()))?;
    let held = copying.try_lock_owned().map_err(|_| (StatusCode::CONFLICT, ANOTHER.to_owned()))?;
    let copied = tracker.spawn(async move {
        let copied = engine.checkpoint(&into).await;
        drop(held);
        match &copied {
            Ok(()) => tracing::info!(into = %into.display(), "the database was copied"),
            Err(error) => tracing::error!(%error, into = %into.display(), "the database was not copied"),
        }
        copied.map(|()| into)
    });
    let into = copied.await.map_err(failed)?.map_err(failed)?;
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
    use depesche_config::Config;
    use depesche_rules::signing::SigningKey;
    use depesche_server::{
        Clock, Parts, Random, Server,
        media::memory::{MemoryBlobs, NoThumbnails},
    };
    use depesche_store_rocksdb::{RocksDb, RocksOptions};
    use http::Request;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};
    use tokio::sync::Mutex;
    use tokio_util::task::TaskTracker;
    use tower::ServiceExt;

    use super::{super::backup, router};

    async fn ask(router: &Router, method: &str, what: &str, body: Value) -> (u16, Value) {
        let path = what.strip_prefix("../").map_or_else(|| format!("db/{what}"), str::to_owned);
        let request = Request::builder().method(method).uri(format!("/_depesche/admin/{path}"));
        let request = request.body(Body::from(body.to_string())).expect("a request");
        let response = router.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        let last = bytes.trim_ascii().rsplit(|byte| *byte == b'\n').next().expect("a line");
        (status, serde_json::from_slice(last).expect("json"))
    }

    #[tokio::test]
    async fn the_engine_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = RocksDb::open(&folder.path().join("db"), &RocksOptions::default()).expect("opened");
        let engine = Arc::new(engine);
        let config = Arc::new(Config::parse("[server]\nname = \"agency.test\"").expect("valid"));
        let config_of = Arc::clone(&config);
        let key = SigningKey::from_seed([7; 32], "test").expect("a key");
        let (clock, random) = (Clock::system(), Random::system());
        let (blobs, thumbnailer) = (Arc::new(MemoryBlobs::default()), Arc::new(NoThumbnails));
        let engine_of = Arc::<RocksDb>::clone(&engine);
        let parts =
            Parts { config, engine: engine_of, key, clock, random, copied: None, blobs, thumbnailer, turn: None };
        let server = Server::start(parts).await.expect("started");
        let (tracker, copying) = (TaskTracker::new(), Arc::<Mutex<()>>::default());
        let router =
            router(&engine, &server, &tracker, &copying).merge(backup::router(&engine, &config_of, &tracker, &copying));
        let (status, figures) = ask(&router, "GET", "stats", json!({})).await;
        assert!(status == 200 && figures.as_object().is_some_and(|figures| !figures.is_empty()), "{figures}");
        let (status, found) = ask(&router, "POST", "verify", json!({})).await;
        assert!(status == 200 && found["done"]["rows"].is_u64() && found["done"]["problems"] == json!([]), "{found}");
        assert_eq!(ask(&router, "POST", "compact", json!({})).await, (200, json!({})));
        let into = folder.path().join("copy");
        assert_eq!(ask(&router, "POST", "checkpoint", json!({ "into": into })).await.0, 200);
        assert!(into.join("CURRENT").exists());
        assert_eq!(ask(&router, "POST", "checkpoint", json!({ "into": into })).await.0, 500, "it is there already");
        assert_eq!(ask(&router, "POST", "checkpoint", json!({ "into": "copy" })).await.0, 400);
        // While one is made there is no other, whose leavings it would be taken for.
        let other = folder.path().join("other");
        let held = copying.lock().await;
        for what in ["checkpoint", "../backup"] {
            let (status, refused) = ask(&router, "POST", what, json!({ "into": other })).await;
            assert!(status == 409 && refused["error"] == backup::ANOTHER, "{what}: {refused}");
        }
        drop(held);
        assert_eq!(ask(&router, "POST", "checkpoint", json!({ "into": other })).await.0, 200);
    }
}
