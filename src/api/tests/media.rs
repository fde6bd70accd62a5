//! `/_matrix/media/` and `/_matrix/client/v1/media/`, without pictures: those need a process.

use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use ruma::user_id;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{CONFIG, Home, Person, ask, refused};

/// A file as it was answered.
struct File {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl File {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn errcode(&self) -> (u16, String) {
        let body: Value = serde_json::from_slice(&self.bytes).unwrap();
        (self.status, body["errcode"].as_str().unwrap().to_owned())
    }
}

async fn request(home: &Home, person: Option<&Person>, line: &str, headers: &[(&str, &str)], body: Body) -> File {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if let Some(person) = person {
        request = request.header("authorization", format!("Bearer {}", person.token));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, body) = home.router.clone().oneshot(request.body(body).unwrap()).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes().to_vec();
    File { status: head.status.as_u16(), headers: head.headers, bytes }
}

async fn get(home: &Home, person: &Person, path: &str, headers: &[(&str, &str)]) -> File {
    request(home, Some(person), &format!("GET /_matrix/client/v1/media/{path}"), headers, Body::empty()).await
}

/// Uploads, and gives the part of the address behind the server.
async fn upload(home: &Home, person: &Person, query: &str, kind: Option<&str>, bytes: &'static str) -> String {
    let headers: Vec<_> = kind.iter().map(|kind| ("content-type", *kind)).collect();
    let line = format!("POST /_matrix/media/v3/upload{query}");
    let file = request(home, Some(person), &line, &headers, Body::from(bytes)).await;
    let body: Value = serde_json::from_slice(&file.bytes).unwrap();
    assert_eq!((file.status, file.header("content-type")), (200, "application/json"), "{body}");
    body["content_uri"].as_str().unwrap().strip_prefix("mxc://test/").unwrap().to_owned()
}

async fn announce(home: &Home, person: &Person) -> String {
    let answer = home.ask_as(person, "POST /_matrix/media/v1/create", "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.body["unused_expires_at"].is_u64());
    answer.body["content_uri"].as_str().unwrap().strip_prefix("mxc://test/").unwrap().to_owned()
}

#[tokio::test]
async fn a_file_comes_back_with_its_type_its_name_and_safe_headers() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let id = upload(&home, &alice, "?filename=a%20b.png", Some("image/png"), "not really a picture").await;
    let file = get(&home, &alice, &format!("download/test/{id}"), &[]).await;
    assert_eq!((file.status, &file.bytes[..]), (200, &b"not really a picture"[..]));
    for (name, value) in [
        ("content-type", "image/png"),
        ("content-length", "20"),
        ("content-disposition", "inline; filename=\"a b.png\""),
        (
            "content-security-policy",
            "sandbox; default-src 'none'; script-src 'none'; plugin-types application/pdf; style-src \
             'unsafe-inline'; object-src 'self';",
        ),
        ("cross-origin-resource-policy", "cross-origin"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "private, max-age=86400, immutable"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(file.header(name), value, "{name}");
    }
    let file = get(&home, &alice, &format!("download/test/{id}/other.txt"), &[]).await;
    assert_eq!(file.header("content-disposition"), "inline; filename=other.txt");

    let id = upload(&home, &alice, "", Some("text/html"), "<script>").await;
    let file = get(&home, &alice, &format!("download/test/{id}"), &[]).await;
    assert_eq!((file.header("content-type"), file.header("content-disposition")), ("text/html", "attachment"));
    let id = upload(&home, &alice, "", None, "").await;
    let file = get(&home, &alice, &format!("download/test/{id}"), &[]).await;
    assert_eq!((file.status, file.header("content-length"), file.bytes.len()), (200, "0", 0));
    assert_eq!(file.header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn a_part_of_a_file_and_what_has_not_changed() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let id = upload(&home, &alice, "", Some("video/mp4"), "0123456789").await;
    let path = format!("download/test/{id}");
    let part = get(&home, &alice, &path, &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, &part.bytes[..]), (206, &b"234"[..]));
    assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 2-4/10", "3"));
    assert_eq!(get(&home, &alice, &path, &[("range", "bytes=10-")]).await.errcode(), (416, "M_INVALID_PARAM".into()));
    let tag = part.header("etag").to_owned();
    let known = get(&home, &alice, &path, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status, known.bytes.len()), (304, 0));
    let line = format!("HEAD /_matrix/client/v1/media/{path}");
    let head = request(&home, Some(&alice), &line, &[], Body::empty()).await;
    assert_eq!((head.status, head.bytes.len(), head.header("content-length")), (200, 0, "10"));
}

#[tokio::test]
async fn what_an_upload_is_refused_for() {
    let home = Home::with(&format!("{CONFIG}\n[media]\nmax_upload_mb = 1\nmax_mb_per_user = 2\n")).await;
    let alice = home.user("alice").await;
    let line = "POST /_matrix/media/v3/upload";
    assert_eq!(refused(&home.ask(line, "x").await), (401, "M_MISSING_TOKEN"));
    // Larger than any body that is drained, too.
    for bytes in [(1 << 20) + 1, 6 << 20] {
        let large = home.ask_as(&alice, line, vec![0; bytes]).await;
        assert_eq!(refused(&large), (413, "M_TOO_LARGE"));
    }
    // Of unknown length.
    let pieces = (0..20).map(|_| Ok::<_, std::io::Error>(vec![0_u8; 64 << 10]));
    let streamed = home.ask_as(&alice, line, Body::from_stream(futures::stream::iter(pieces))).await;
    assert_eq!(refused(&streamed), (413, "M_TOO_LARGE"));
    let broken = [Ok(vec![0_u8; 10]), Err(std::io::Error::other("gone"))];
    let broken = home.ask_as(&alice, line, Body::from_stream(futures::stream::iter(broken))).await;
    assert_eq!(refused(&broken), (400, "M_UNKNOWN"));
    let long = format!("{line}?filename={}", "a".repeat(1025));
    assert_eq!(refused(&home.ask_as(&alice, &long, "x").await), (400, "M_INVALID_PARAM"));
    assert_eq!(home.ask_as(&alice, line, vec![0; 1 << 20]).await.status, 200);
    assert_eq!(home.ask_as(&alice, line, vec![1; 1 << 20]).await.status, 200);
    let answer = home.ask_as(&alice, line, "x").await;
    assert_eq!(refused(&answer), (403, "M_USER_LIMIT_EXCEEDED"));
    assert_eq!(answer.body["info_uri"], "https://test/help");
    let create = home.ask_as(&alice, "POST /_matrix/media/v1/create", "").await;
    assert_eq!(refused(&create), (403, "M_USER_LIMIT_EXCEEDED"));
    home.app.server.accounts.set_suspended(user_id!("@alice:test"), true).await.unwrap();
    assert_eq!(refused(&home.ask_as(&alice, line, "x").await), (403, "M_USER_SUSPENDED"));
    let create = home.ask_as(&alice, "POST /_matrix/media/v1/create", "").await;
    assert_eq!(refused(&create), (403, "M_USER_SUSPENDED"));
}

#[tokio::test]
async fn a_file_that_is_announced_first() {
    let home = Home::with(&format!("{CONFIG}\n[media]\npending_per_user = 1\n")).await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let id = announce(&home, &alice).await;
    let again = home.ask_as(&alice, "POST /_matrix/media/v1/create", "").await;
    assert_eq!(refused(&again), (429, "M_LIMIT_EXCEEDED"));
    assert!(again.body["retry_after_ms"].is_u64());
    let path = format!("download/test/{id}");
    let early = get(&home, &alice, &format!("{path}?timeout_ms=0"), &[]).await;
    assert_eq!(early.errcode(), (504, "M_NOT_YET_UPLOADED".into()));
    let line = format!("PUT /_matrix/media/v3/upload/test/{id}");
    assert_eq!(refused(&home.ask_as(&bob, &line, "bob's").await), (403, "M_FORBIDDEN"));
    let elsewhere = format!("PUT /_matrix/media/v3/upload/elsewhere/{id}");
    assert_eq!(refused(&home.ask_as(&alice, &elsewhere, "x").await), (404, "M_NOT_FOUND"));
    let unknown = "PUT /_matrix/media/v3/upload/test/unknown";
    assert_eq!(refused(&home.ask_as(&alice, unknown, "x").await), (404, "M_NOT_FOUND"));
    let put = home.ask_as(&alice, &line, "alice's").await;
    assert_eq!((put.status, put.body), (200, json!({})));
    assert_eq!(get(&home, &bob, &path, &[]).await.bytes, b"alice's");
    assert_eq!(refused(&home.ask_as(&alice, &line, "x").await), (409, "M_CANNOT_OVERWRITE_MEDIA"));
    let id = announce(&home, &alice).await;
    home.hand.fetch_add(24 * 3_600_000, std::sync::atomic::Ordering::Relaxed);
    let line = format!("PUT /_matrix/media/v3/upload/test/{id}");
    assert_eq!(refused(&home.ask_as(&alice, &line, "late").await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let id = upload(&home, &alice, "", None, "x").await;
    for path in ["download/test/none", "download/elsewhere/none", "thumbnail/test/none?width=1&height=1"] {
        assert_eq!(get(&home, &alice, path, &[]).await.errcode(), (404, "M_NOT_FOUND".into()), "{path}");
    }
    for path in [
        "download/not%20a%20server/none".to_owned(),
        format!("thumbnail/test/{id}?width=-1&height=1"),
        format!("thumbnail/test/{id}?width=1.5&height=1"),
        format!("thumbnail/test/{id}?width=0&height=1"),
        format!("thumbnail/test/{id}?width=1&height=1&method=stretch"),
        format!("download/test/{id}?timeout_ms=soon"),
    ] {
        assert_eq!(get(&home, &alice, &path, &[]).await.errcode(), (400, "M_INVALID_PARAM".into()), "{path}");
    }
    let path = format!("thumbnail/test/{id}?height=1");
    assert_eq!(get(&home, &alice, &path, &[]).await.errcode(), (400, "M_MISSING_PARAM".into()));
    // Too large a wish is a wish for the largest there is.
    for height in ["1", "99999999999"] {
        let path = format!("thumbnail/test/{id}?width=1&height={height}");
        assert_eq!(get(&home, &alice, &path, &[]).await.errcode(), (400, "M_UNKNOWN".into()));
    }
    home.app.server.media.remove(&id).await.unwrap();
    assert_eq!(get(&home, &alice, &format!("download/test/{id}"), &[]).await.errcode().0, 404);
}

#[tokio::test]
async fn without_a_token_there_is_nothing_unless_the_operator_wants_it() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let id = upload(&home, &alice, "", None, "x").await;
    for path in [
        format!("download/test/{id}"),
        format!("download/test/{id}/a"),
        format!("thumbnail/test/{id}?width=1&height=1"),
    ] {
        let line = format!("GET /_matrix/media/v3/{path}");
        assert_eq!(refused(&home.ask(&line, "").await), (404, "M_NOT_FOUND"), "{line}");
        let line = format!("GET /_matrix/client/v1/media/{path}");
        assert_eq!(refused(&home.ask(&line, "").await), (401, "M_MISSING_TOKEN"), "{line}");
        assert_eq!(refused(&ask(&home.router, Some("wrong"), &line, "").await), (401, "M_UNKNOWN_TOKEN"), "{line}");
    }
    let home = Home::with(&format!("{CONFIG}\n[media]\nlegacy = \"on\"\n")).await;
    let alice = home.user("alice").await;
    let id = upload(&home, &alice, "", None, "x").await;
    for version in ["v3", "r0"] {
        let line = format!("GET /_matrix/media/{version}/download/test/{id}");
        let file = request(&home, None, &line, &[], Body::empty()).await;
        assert_eq!((file.status, &file.bytes[..]), (200, &b"x"[..]));
        assert_eq!(file.header("content-disposition"), "attachment");
    }
    let line = format!("GET /_matrix/media/v3/download/test/{id}/a.txt?allow_remote=false&allow_redirect=true");
    let file = request(&home, None, &line, &[], Body::empty()).await;
    assert_eq!(file.header("content-disposition"), "attachment; filename=a.txt");
    let line = format!("GET /_matrix/media/v3/thumbnail/test/{id}?width=1&height=1");
    let file = request(&home, None, &line, &[], Body::empty()).await;
    assert_eq!(file.errcode(), (400, "M_UNKNOWN".into()));
}

#[tokio::test]
async fn the_bound_on_uploads_is_told() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    for path in ["/_matrix/client/v1/media/config", "/_matrix/media/v3/config"] {
        let line = format!("GET {path}");
        assert_eq!(refused(&home.ask(&line, "").await), (401, "M_MISSING_TOKEN"));
        assert_eq!(home.ask_as(&alice, &line, "").await.body, json!({ "m.upload.size": 100 << 20 }));
    }
}

#[tokio::test]
async fn the_operator_lists_and_removes_files() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let first = upload(&home, &alice, "?filename=a", Some("a/b"), "first").await;
    home.hand.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let second = upload(&home, &alice, "", None, "2").await;
    let admin = crate::admin::router(&home.app);
    let list = "GET /_depesche/admin/users/alice/media";
    let nobody = ask(&admin, None, "GET /_depesche/admin/users/nobody/media", "").await;
    assert_eq!(refused(&nobody), (404, "M_NOT_FOUND"));
    let listed = ask(&admin, None, list, "").await.body;
    let expected = json!({
        "id": first, "uri": format!("mxc://test/{first}"), "created_ms": 1_700_000_000_000_u64, "size": 5, "content_type": "a/b", "filename": "a"
    });
    assert_eq!((&listed["media"][0], &listed["media"][1]["id"]), (&expected, &json!(second)));
    assert!(listed.get("next").is_none(), "{listed}");
    let page = ask(&admin, None, &format!("{list}?limit=1"), "").await.body;
    assert_eq!(page["media"], json!([expected]));
    assert_eq!(page["next"], json!({ "after_ms": 1_700_000_000_000_u64, "after_id": first }));
    let rest = ask(&admin, None, &format!("{list}?after_ms=1700000000000&after_id={first}"), "").await.body;
    assert_eq!((rest["media"].as_array().unwrap().len(), &rest["media"][0]["id"]), (1, &json!(second)));
    let elsewhere = format!("DELETE /_depesche/admin/media/mxc%3A%2F%2Fother.test%2F{first}");
    assert_eq!(refused(&ask(&admin, None, &elsewhere, "").await), (404, "M_NOT_FOUND"));
    let line = format!("DELETE /_depesche/admin/media/{first}");
    assert_eq!(ask(&admin, None, &line, "").await.status, 200);
    assert_eq!(refused(&ask(&admin, None, &line, "").await), (404, "M_NOT_FOUND"));
    assert_eq!(get(&home, &alice, &format!("download/test/{first}"), &[]).await.errcode().0, 404);
    assert_eq!(get(&home, &alice, &format!("download/test/{second}"), &[]).await.bytes, b"2");
    let by_address = format!("DELETE /_depesche/admin/media/mxc%3A%2F%2Ftest%2F{second}");
    assert_eq!(ask(&admin, None, &by_address, "").await.status, 200);
    assert_eq!(ask(&admin, None, list, "").await.body, json!({ "media": [] }));
}
