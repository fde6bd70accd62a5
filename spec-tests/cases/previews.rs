//! What links lead to. Client-server API, "Content repository", `/media/preview_url`.

use std::io::Cursor;
use std::sync::OnceLock;

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use depesche_spec_tests::site::Site;
use image::{ImageFormat, RgbImage};

/// A server whose operator wants previews, and lets them reach 127.0.0.1.
fn previewing() -> &'static Server {
    static PREVIEWING: OnceLock<Result<Server, String>> = OnceLock::new();
    let server = PREVIEWING.get_or_init(|| Server::try_start(Options { previews: true, ..Options::default() }));
    server.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::new(width, height).write_to(&mut bytes, ImageFormat::Png).expect("a picture can be written");
    bytes.into_inner()
}

async fn ask(user: &User, url: &str) -> Answer {
    user.get("/_matrix/client/v1/media/preview_url", &[]).query(&[("url", url)]).await
}

/// The picture of a preview, as anybody downloads it.
async fn picture(user: &User, preview: &Value) -> Answer {
    let uri = preview["og:image"].as_str().unwrap_or_else(|| panic!("no picture: {preview}"));
    let id = uri.strip_prefix("mxc://depesche.test/").unwrap_or_else(|| panic!("not kept here: {uri}"));
    user.get("/_matrix/client/v1/media/download/{serverName}/{mediaId}", &["depesche.test", id]).await
}

#[tokio::test]
async fn a_page_is_shown_as_it_describes_itself() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    let bytes = png(48, 36);
    site.page("/picture.png", "image/png", &bytes).page(
        "/page",
        "text/html; charset=utf-8",
        "<!DOCTYPE html><html><head><title>Other</title>\
        <meta property='og:title' content='Grüße &amp; mehr'>\
        <meta property='og:description' content='What it is'>\
        <meta property='og:type' content='article'>\
        <meta property='og:image' content='/picture.png'>\
        </head><body><p>Text</p></body></html>"
            .as_bytes(),
    );
    let preview = ask(&alice, &site.url("/page")).await.ok();
    assert_eq!(preview["og:title"], "Grüße & mehr", "{preview}");
    assert_eq!(preview["og:description"], "What it is", "{preview}");
    assert_eq!(preview["og:type"], "article", "{preview}");
    assert_eq!(preview["og:image:type"], "image/png", "{preview}");
    let size = [&preview["og:image:width"], &preview["og:image:height"], &preview["matrix:image:size"]];
    assert_eq!(size, [&json!(48), &json!(36), &json!(bytes.len())], "{preview}");
    let bob = previewing().user("bob").await;
    let kept = picture(&bob, &preview).await;
    assert!(kept.file() == bytes, "another picture");
    assert_eq!(kept.header("content-type"), "image/png");
    assert_eq!(ask(&bob, &site.url("/page")).await.ok(), preview);
    assert_eq!((site.asked("/page"), site.asked("/picture.png")), (1, 1), "it was fetched once");
}

#[tokio::test]
async fn a_page_that_says_nothing_of_itself_has_a_title_and_a_picture() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    site.page("/a/picture", "image/png", &png(20, 10));
    let page = b"<html><head><title>The title</title><meta name='description' content='It is'></head>\
        <body><script>'<title>no</title>'</script><img src='picture'></body></html>";
    site.page("/a/page", "text/html", page);
    site.redirect("/moved", "/again").redirect("/again", &site.url("/a/page"));
    let preview = ask(&alice, &site.url("/moved")).await.ok();
    assert_eq!((&preview["og:title"], &preview["og:description"]), (&json!("The title"), &json!("It is")), "{preview}");
    assert_eq!((&preview["og:image:width"], &preview["og:image:height"]), (&json!(20), &json!(10)), "{preview}");
}

#[tokio::test]
async fn a_page_in_another_character_set_is_read() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    let own = b"<html><head><meta charset='windows-1252'><title>Gr\xFC\xDFe \x84a\x93</title></head></html>";
    site.page("/own", "text/html", own);
    assert_eq!(ask(&alice, &site.url("/own")).await.ok()["og:title"], "Grüße „a“");
}

#[tokio::test]
async fn a_picture_is_shown_as_itself() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    let bytes = png(30, 20);
    site.page("/picture", "image/png", &bytes);
    let preview = ask(&alice, &site.url("/picture")).await.ok();
    assert_eq!(preview["matrix:image:size"], json!(bytes.len()), "{preview}");
    assert_eq!((&preview["og:image:width"], &preview["og:image:height"]), (&json!(30), &json!(20)), "{preview}");
    assert!(picture(&alice, &preview).await.file() == bytes, "another picture");
}

#[tokio::test]
async fn of_other_files_nothing_is_shown() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    site.page("/file", "application/pdf", b"%PDF-1.7 no");
    let answer = ask(&alice, &site.url("/file")).await;
    differs(
        "client-server-api#get_matrixclientv1mediapreview_url",
        || assert_eq!(answer.clone().ok(), json!({})),
        || drop(answer.clone().error(502, "M_UNKNOWN")),
    );
    site.page("/page", "text/html", b"<title>Page</title><meta property='og:image' content='/lie'>");
    site.page("/lie", "image/png", b"<svg onload='alert(1)'/>");
    let preview = ask(&alice, &site.url("/page")).await.ok();
    assert_eq!(preview["og:title"], "Page");
    assert_eq!(preview["og:image:width"], Value::Null, "{preview}");
    differs(
        "client-server-api#get_matrixclientv1mediapreview_url",
        || assert_eq!(preview["og:image"], Value::Null, "what is no picture is not kept"),
        || assert!(preview["og:image"].is_string()),
    );
}

#[tokio::test]
async fn addresses_that_are_not_public_are_not_asked() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    let denied = ["http://127.0.0.2:1/", "http://10.0.0.1/", "http://169.254.169.254/latest/meta-data"];
    for (number, url) in denied.into_iter().enumerate() {
        ask(&alice, url).await.error_in(403, &["M_FORBIDDEN", "M_UNKNOWN"]);
        let path = format!("/to/{number}");
        site.redirect(&path, url);
        ask(&alice, &site.url(&path)).await.error_in(403, &["M_FORBIDDEN", "M_UNKNOWN"]);
    }
    // A picture that lies there is left out.
    let page = b"<title>Page</title><meta property='og:image' content='http://127.0.0.2:1/picture.png'>";
    site.page("/page", "text/html", page);
    let preview = ask(&alice, &site.url("/page")).await.ok();
    assert_eq!(preview["og:title"], "Page");
    assert!(!preview["og:image"].as_str().is_some_and(|uri| uri.starts_with("mxc:")), "{preview}");
}

#[tokio::test]
async fn what_cannot_be_fetched_is_told() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    ask(&alice, &site.url("/nothing")).await.error(502, "M_UNKNOWN");
    alice.get("/_matrix/client/v1/media/preview_url", &[]).await.error(400, "M_MISSING_PARAM");
    let nonsense = ask(&alice, "nonsense").await;
    let mail = ask(&alice, "mailto:alice@example.org").await;
    differs(
        "client-server-api#get_matrixclientv1mediapreview_url",
        || {
            nonsense.clone().error(400, "M_INVALID_PARAM");
            mail.clone().error(400, "M_INVALID_PARAM");
        },
        || {
            nonsense.clone().error(500, "M_UNKNOWN");
            mail.clone().error(500, "M_UNKNOWN");
        },
    );
    let url = site.url("/nothing");
    let path = "/_matrix/client/v1/media/preview_url";
    previewing().client().get(path, &[]).query(&[("url", &url)]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_point_in_time_may_be_named() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    site.page("/page", "text/html", b"<title>Page</title>");
    let query = [("url", site.url("/page")), ("ts", "1510610716656".to_owned())];
    let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let preview = alice.get("/_matrix/client/v1/media/preview_url", &[]).query(&query).await.ok();
    assert_eq!(preview["og:title"], "Page", "{preview}");
}

#[tokio::test]
async fn without_the_operators_word_there_are_none() {
    let (alice, site) = (shared().user("alice").await, Site::start().await);
    site.page("/page", "text/html", b"<title>Page</title>");
    ask(&alice, &site.url("/page")).await.error(404, "M_UNRECOGNIZED");
    assert_eq!(site.asked("/page"), 0);
}

#[tokio::test]
async fn the_older_path_needs_a_token_too_and_is_there_without_open_downloads() {
    let (alice, site) = (previewing().user("alice").await, Site::start().await);
    site.page("/page", "text/html", b"<title>Page</title>");
    let url = site.url("/page");
    let found = alice.get("/_matrix/media/v3/preview_url", &[]).query(&[("url", &url)]).await.ok();
    assert_eq!(found["og:title"], "Page");
}
