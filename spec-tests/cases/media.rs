//! Uploads and downloads. Client-server API, "Content repository".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{Options, SMALL_QUOTA};

const UPLOAD: &str = "/_matrix/media/v3/upload";
const PUT: &str = "/_matrix/media/v3/upload/{serverName}/{mediaId}";
const DOWNLOAD: &str = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
const HERE: &str = "depesche.test";

/// Bytes of all values, different in each case, so that nothing is taken for a text.
fn bytes(first: &str) -> Vec<u8> {
    first.bytes().chain((0..100_000_u32).map(|n| n.to_le_bytes()[n as usize % 3])).collect()
}

/// The part of an answered address behind the server.
fn id(answer: &Value) -> String {
    let uri = answer["content_uri"].as_str().expect("an address");
    let id = uri.strip_prefix("mxc://depesche.test/").unwrap_or_else(|| panic!("not an address of this server: {uri}"));
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)), "{uri}");
    id.to_owned()
}

async fn upload(user: &User, kind: &str, bytes: &[u8]) -> String {
    id(&user.post("/_matrix/media/v3/upload", &[]).raw(kind, bytes.to_vec()).await.ok())
}

async fn announce(user: &User) -> String {
    id(&user.post("/_matrix/media/v1/create", &[]).await.ok())
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_uploaded() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let bytes = bytes("comes back");
    let request = alice.post("/_matrix/media/v3/upload", &[]).query(&[("filename", "photo.png")]);
    let id = id(&request.raw("image/png", bytes.clone()).await.ok());
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
    let answer = bob.get(path, &[HERE, &id]).await;
    assert!(answer.file() == bytes, "other bytes came back");
    assert_eq!(answer.header("content-type"), "image/png");
    let disposition = answer.header("content-disposition");
    assert!(disposition.starts_with("inline") && disposition.contains("photo.png"), "{disposition}");
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}";
    let answer = bob.get(path, &[HERE, &id, "other.png"]).await;
    assert!(answer.file() == bytes && answer.header("content-disposition").contains("other.png"));
    assert!(!answer.header("content-disposition").contains("photo"));
}

#[tokio::test]
async fn the_same_bytes_twice_are_two_files() {
    let alice = shared().user("alice").await;
    let bytes = bytes("twice");
    let (first, second) = (upload(&alice, "image/png", &bytes).await, upload(&alice, "text/plain", &bytes).await);
    assert_ne!(first, second);
    for (id, kind) in [(first, "image/png"), (second, "text/plain")] {
        let answer = alice.get(DOWNLOAD, &[HERE, &id]).await;
        assert!(answer.file() == bytes && answer.header("content-type").starts_with(kind));
    }
}

#[tokio::test]
async fn what_a_browser_could_run_is_an_attachment() {
    let alice = shared().user("alice").await;
    for kind in ["text/html", "image/svg+xml", "application/javascript", "application/pdf"] {
        let id = upload(&alice, kind, b"<svg onload='alert(1)'/>").await;
        let answer = alice.get(DOWNLOAD, &[HERE, &id]).await;
        // A charset may be added to a text, and Synapse takes SVG for one.
        let is_text = differs(
            "client-server-api#get_matrixclientv1mediadownloadservernamemediaid",
            || kind.starts_with("text/"),
            || ["text/html", "image/svg+xml"].contains(&kind),
        );
        let said = answer.header("content-type");
        let bare = if is_text { said.split(';').next().unwrap_or_default() } else { said };
        assert_eq!(bare, kind, "{said}");
        assert!(answer.header("content-disposition").starts_with("attachment"), "{kind}");
        let policy = answer.header("content-security-policy");
        for part in ["sandbox", "default-src 'none'", "script-src 'none'", "object-src 'self'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
}

#[tokio::test]
async fn a_name_may_have_any_letters() {
    let alice = shared().user("alice").await;
    let request = alice.post("/_matrix/media/v3/upload", &[]).query(&[("filename", "Lärm, \"Stille\".txt")]);
    let id = id(&request.raw("text/plain", b"text".to_vec()).await.ok());
    let answer = alice.get(DOWNLOAD, &[HERE, &id]).await;
    let disposition = answer.header("content-disposition");
    assert!(disposition.to_lowercase().contains("filename*=utf-8''l%c3%a4rm%2c%20%22stille%22.txt"), "{disposition}");
}

#[tokio::test]
async fn an_unknown_file_is_not_found() {
    let alice = shared().user("alice").await;
    alice.get(DOWNLOAD, &[HERE, "nothingAtAll"]).await.error(404, "M_NOT_FOUND");
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}";
    alice.get(path, &[HERE, "nothingAtAll", "a.png"]).await.error(404, "M_NOT_FOUND");
    let path = "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}";
    let size = [("width", "32"), ("height", "32")];
    alice.get(path, &[HERE, "nothingAtAll"]).query(&size).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn media_asks_for_a_token() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "text/plain", b"secret").await;
    let nobody = shared().client();
    nobody.post("/_matrix/media/v3/upload", &[]).raw("text/plain", b"x".to_vec()).await.error(401, "M_MISSING_TOKEN");
    nobody.post("/_matrix/media/v1/create", &[]).await.error(401, "M_MISSING_TOKEN");
    nobody.put(PUT, &[HERE, &id]).raw("text/plain", b"x".to_vec()).await.error(401, "M_MISSING_TOKEN");
    nobody.get(DOWNLOAD, &[HERE, &id]).await.error(401, "M_MISSING_TOKEN");
    let size = [("width", "32"), ("height", "32")];
    let path = "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}";
    nobody.get(path, &[HERE, &id]).query(&size).await.error(401, "M_MISSING_TOKEN");
    nobody.get("/_matrix/client/v1/media/config", &[]).await.error(401, "M_MISSING_TOKEN");
    nobody.get("/_matrix/media/v3/config", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn without_a_token_new_media_is_not_found() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "text/plain", b"frozen").await;
    let nobody = shared().client();
    let path = "/_matrix/media/v3/download/{serverName}/{mediaId}";
    nobody.get(path, &[HERE, &id]).await.error(404, "M_NOT_FOUND");
    let path = "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}";
    nobody.get(path, &[HERE, &id, "a.txt"]).await.error(404, "M_NOT_FOUND");
    let size = [("width", "32"), ("height", "32")];
    let path = "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}";
    nobody.get(path, &[HERE, &id]).query(&size).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn a_file_above_the_bound_is_too_large() {
    let alice = shared().user("alice").await;
    let config = alice.get("/_matrix/client/v1/media/config", &[]).await.ok();
    assert_eq!(config, json!({ "m.upload.size": 4 << 20 }));
    assert_eq!(alice.get("/_matrix/media/v3/config", &[]).await.ok(), config);
    alice.post(UPLOAD, &[]).raw("a/b", vec![0; (4 << 20) + 1]).await.error(413, "M_TOO_LARGE");
    let id = announce(&alice).await;
    alice.put(PUT, &[HERE, &id]).raw("a/b", vec![0; (4 << 20) + 1]).await.error(413, "M_TOO_LARGE");
    // The announced one may still come.
    alice.put(PUT, &[HERE, &id]).raw("a/b", vec![0; 4 << 20]).await.ok();
    assert_eq!(alice.get(DOWNLOAD, &[HERE, &id]).await.file().len(), 4 << 20);
}

#[tokio::test]
async fn a_file_may_be_announced_first() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let made = alice.post("/_matrix/media/v1/create", &[]).await.ok();
    assert!(made["unused_expires_at"].as_u64().is_some_and(|at| at > 1_700_000_000_000), "{made}");
    let id = id(&made);
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
    let early = bob.get(path, &[HERE, &id]).query(&[("timeout_ms", "1")]).await;
    early.error(504, "M_NOT_YET_UPLOADED");
    let bytes = bytes("announced");
    let put = "/_matrix/media/v3/upload/{serverName}/{mediaId}";
    bob.put(put, &[HERE, &id]).raw("image/png", bytes.clone()).await.error(403, "M_FORBIDDEN");
    let request = alice.put(put, &[HERE, &id]).query(&[("filename", "late.png")]);
    assert_eq!(request.raw("image/png", bytes.clone()).await.ok(), json!({}));
    let answer = bob.get(path, &[HERE, &id]).await;
    assert!(answer.file() == bytes && answer.header("content-type") == "image/png");
    assert!(answer.header("content-disposition").contains("late.png"));
    let again = alice.put(put, &[HERE, &id]).raw("image/png", bytes).await;
    again.error(409, "M_CANNOT_OVERWRITE_MEDIA");
}

#[tokio::test]
async fn only_what_was_announced_can_be_put() {
    let alice = shared().user("alice").await;
    let put = |id: &str| alice.put(PUT, &[HERE, id]).raw("a/b", b"x".to_vec());
    put("neverAnnounced").await.error(404, "M_NOT_FOUND");
    let id = upload(&alice, "a/b", b"at once").await;
    put(&id).await.error(409, "M_CANNOT_OVERWRITE_MEDIA");
}

#[tokio::test]
async fn a_download_waits_for_an_announced_file() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let id = announce(&alice).await;
    let download = bob.get(DOWNLOAD, &[HERE, &id]).query(&[("timeout_ms", "30000")]).into_future();
    let upload = async {
        // As soon as the other request is under way; it is right, too, if it comes first.
        tokio::task::yield_now().await;
        alice.put(PUT, &[HERE, &id]).raw("a/b", b"here it is".to_vec()).await.ok()
    };
    let (answer, _) = tokio::join!(download, upload);
    assert_eq!(answer.file(), b"here it is");
}

#[tokio::test]
async fn so_many_files_may_be_announced_at_a_time() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(announce(&alice).await);
    }
    let refused = alice.post("/_matrix/media/v1/create", &[]).await.error(429, "M_LIMIT_EXCEEDED");
    assert!(refused["retry_after_ms"].is_u64(), "{refused}");
    announce(&bob).await;
    alice.put(PUT, &[HERE, &ids[2]]).raw("a/b", b"x".to_vec()).await.ok();
    announce(&alice).await;
}

#[tokio::test]
async fn the_operator_finds_the_files_of_a_user_and_deletes_them() {
    let server = shared();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let bytes = bytes("to be deleted");
    let first = upload(&alice, "image/png", &bytes).await;
    let second = upload(&alice, "text/plain", b"another").await;
    let same = upload(&bob, "image/png", &bytes).await;
    assert_eq!(server.media_of(&alice).await, [first.clone(), second.clone()]);
    assert_eq!(server.media_of(&bob).await, std::slice::from_ref(&same));
    server.delete_media(&first).await;
    alice.get(DOWNLOAD, &[HERE, &first]).await.error(404, "M_NOT_FOUND");
    assert!(bob.get(DOWNLOAD, &[HERE, &same]).await.file() == bytes, "the same bytes belong to another file");
    assert_eq!(server.media_of(&alice).await, std::slice::from_ref(&second));
    server.delete_media(&second).await;
    assert_eq!(server.media_of(&alice).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_has_not_come_yet_has_neither_another_name_nor_a_thumbnail() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let id = announce(&alice).await;
    let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}";
    let early = bob.get(path, &[HERE, &id, "a.png"]).query(&[("timeout_ms", "1")]).await;
    early.error(504, "M_NOT_YET_UPLOADED");
    let path = "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}";
    let query = [("timeout_ms", "1"), ("width", "32"), ("height", "32")];
    bob.get(path, &[HERE, &id]).query(&query).await.error(504, "M_NOT_YET_UPLOADED");
}

#[tokio::test]
async fn files_of_a_server_that_is_not_asked_are_not_found() {
    let alice = shared().user("alice").await;
    let id = upload(&alice, "text/plain", b"ours").await;
    let named = "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}";
    let thumbnail = "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}";
    let size = [("width", "32"), ("height", "32")];
    for (server, ours, synapse) in [
        ("elsewhere.test", (404, "M_NOT_FOUND"), (403, "M_FORBIDDEN")),
        ("no server", (400, "M_INVALID_PARAM"), (500, "M_UNKNOWN")),
    ] {
        for answer in [
            alice.get(DOWNLOAD, &[server, &id]).await,
            alice.get(named, &[server, &id, "a.png"]).await,
            alice.get(thumbnail, &[server, &id]).query(&size).await,
        ] {
            differs(
                "client-server-api#get_matrixclientv1mediadownloadservernamemediaid",
                || drop(answer.clone().error(ours.0, ours.1)),
                || drop(answer.clone().error(synapse.0, synapse.1)),
            );
        }
    }
    let announced = announce(&alice).await;
    let request = alice.put(PUT, &["elsewhere.test", &announced]);
    request.raw("a/b", b"x".to_vec()).await.error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn who_has_uploaded_all_that_one_may_uploads_no_more() {
    let server = Server::start(Options { small_quota: true, ..Options::default() });
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let announced = announce(&alice).await;
    upload(&alice, "a/b", &vec![0; SMALL_QUOTA]).await;
    for answer in [
        alice.post(UPLOAD, &[]).raw("a/b", b"x".to_vec()).await,
        alice.put(PUT, &[HERE, &announced]).raw("a/b", b"x".to_vec()).await,
    ] {
        let refused = answer.error(403, "M_USER_LIMIT_EXCEEDED");
        assert!(refused["info_uri"].as_str().is_some_and(|uri| uri.starts_with("http")), "{refused}");
    }
    let answer = alice.post("/_matrix/media/v1/create", &[]).await;
    differs(
        "client-server-api#post_matrixmediav1create",
        || drop(answer.clone().error(403, "M_USER_LIMIT_EXCEEDED")),
        || drop(answer.clone().ok()),
    );
    upload(&bob, "a/b", b"x").await;
}

#[tokio::test]
async fn a_suspended_user_uploads_nothing() {
    let alice = shared().user("alice").await;
    let announced = announce(&alice).await;
    shared().suspend(&alice, true).await;
    for answer in [
        alice.post(UPLOAD, &[]).raw("a/b", b"x".to_vec()).await,
        alice.put(PUT, &[HERE, &announced]).raw("a/b", b"x".to_vec()).await,
        alice.post("/_matrix/media/v1/create", &[]).await,
    ] {
        differs(
            "client-server-api#account-suspension",
            || drop(answer.clone().error(403, "M_USER_SUSPENDED")),
            || drop(answer.clone().ok()),
        );
    }
    shared().suspend(&alice, false).await;
    if target() == Target::Depesche {
        alice.put(PUT, &[HERE, &announced]).raw("a/b", b"x".to_vec()).await.ok();
    }
}
