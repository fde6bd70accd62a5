//! `/_matrix/client/v1/media/preview_url` and its older path, over a web of the test's own.

use std::sync::Arc;

use bytes::Bytes;
use depesche_server::previews::web::{Body, Found, Unfetched, Wanted, Web};
use futures::future::BoxFuture;
use serde_json::json;
use url::Url;

use super::{CONFIG, Home, refused};

/// Answers by the path.
struct Paper;

impl Web for Paper {
    fn get<'a>(&'a self, url: &'a Url, _: Wanted) -> BoxFuture<'a, Result<Found, Unfetched>> {
        Box::pin(async move {
            let body = match url.path() {
                "/page" => Body::Page(Bytes::from_static(b"<title>Page</title>")),
                "/denied" => return Err(Unfetched::NotAllowed("so it is")),
                "/large" => return Err(Unfetched::TooLarge),
                "/gone" => return Err(Unfetched::Failed("a secret of the log".to_owned())),
                _ => Body::Other,
            };
            Ok(Found { url: url.clone(), content_type: None, body })
        })
    }
}

async fn home(legacy: &str) -> Home {
    let home =
        Home::with(&format!("{CONFIG}\n[media]\nlegacy = \"{legacy}\"\n[media.previews]\nenabled = true\n")).await;
    home.app.server.look_through(Arc::new(Paper));
    home
}

const V1: &str = "GET /_matrix/client/v1/media/preview_url";

#[tokio::test]
async fn what_a_link_leads_to() {
    let home = home("off").await;
    let alice = home.user("alice").await;
    let ask = async |query: &str| home.ask_as(&alice, &format!("{V1}{query}"), "").await;
    let told = ask("?url=https://a.test/page&ts=1510610716656").await;
    assert_eq!((told.status, told.body), (200, json!({ "og:title": "Page" })));
    assert_eq!(ask("?url=https://a.test/file").await.body, json!({}));
    for (query, status, errcode) in [
        ("", 400, "M_MISSING_PARAM"),
        ("?url=", 400, "M_INVALID_PARAM"),
        ("?url=nonsense", 400, "M_INVALID_PARAM"),
        ("?url=file:///etc/passwd", 400, "M_INVALID_PARAM"),
        ("?url=https://a.test/page&ts=x", 400, "M_INVALID_PARAM"),
        ("?url=https://a.test/denied", 403, "M_FORBIDDEN"),
        ("?url=https://a.test/large", 502, "M_TOO_LARGE"),
        ("?url=https://a.test/gone", 502, "M_UNKNOWN"),
    ] {
        let answer = ask(query).await;
        assert_eq!(refused(&answer), (status, errcode), "{query}");
        assert!(!answer.body.to_string().contains("secret"), "{}", answer.body);
    }
    assert_eq!(refused(&home.ask(&format!("{V1}?url=https://a.test/page"), "").await), (401, "M_MISSING_TOKEN"));
}

#[tokio::test]
async fn the_older_path_asks_for_a_token_and_is_served_as_ever() {
    for legacy in ["off", "on"] {
        let home = home(legacy).await;
        let alice = home.user("alice").await;
        for version in ["v3", "r0"] {
            let line = format!("GET /_matrix/media/{version}/preview_url?url=https://a.test/page");
            assert_eq!(home.ask_as(&alice, &line, "").await.status, 200, "{line}");
            assert_eq!(refused(&home.ask(&line, "").await), (401, "M_MISSING_TOKEN"), "{line}");
        }
    }
}

#[tokio::test]
async fn without_previews_the_path_is_not_known() {
    let home = Home::with(&format!("{CONFIG}\n[media]\nlegacy = \"on\"\n")).await;
    home.app.server.look_through(Arc::new(Paper));
    let alice = home.user("alice").await;
    for line in [V1, "GET /_matrix/media/v3/preview_url"] {
        let answer = home.ask_as(&alice, &format!("{line}?url=https://a.test/page"), "").await;
        assert_eq!(refused(&answer), (404, "M_UNRECOGNIZED"), "{line}");
    }
}

#[tokio::test]
async fn previews_are_limited_as_files_are() {
    let config = format!("{CONFIG}\n[media.previews]\nenabled = true\n[rate_limits]\nmedia_burst = 2\n");
    let home = Home::with(&config).await;
    home.app.server.look_through(Arc::new(Paper));
    let alice = home.user("alice").await;
    for _ in 0..2 {
        assert_eq!(home.ask_as(&alice, &format!("{V1}?url=https://a.test/page"), "").await.status, 200);
    }
    let answer = home.ask_as(&alice, &format!("{V1}?url=https://a.test/page"), "").await;
    assert_eq!(refused(&answer), (429, "M_LIMIT_EXCEEDED"));
}
