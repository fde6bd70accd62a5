//! Against a server of the test's own, which answers each path as it was told.

use std::{collections::HashMap, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

fn pages(previews: &str) -> Pages {
    let config = format!("[server]\nname = \"agency.test\"\n[media.previews]\n{previews}");
    Pages::new(&Config::parse(&config).unwrap()).unwrap()
}

const LOOPBACK: &str = "allow_networks = [\"127.0.0.0/8\"]\nany_port = true\n";

/// A site on loopback, and what it is asked.
struct Site {
    port: u16,
    asked: mpsc::UnboundedReceiver<String>,
}

impl Site {
    /// Answers these paths with these bytes; `PORT` in them is its own.
    async fn new(answers: &[(&'static str, String)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = |text: &String| text.replace("PORT", &port.to_string());
        let answers: Arc<HashMap<_, _>> = Arc::new(answers.iter().map(|(path, text)| (*path, own(text))).collect());
        let (tell, asked) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answers, tell) = (Arc::clone(&answers), tell.clone());
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    let path = head.split(' ').nth(1).unwrap().to_owned();
                    let _ = tell.send(head);
                    if let Some(answer) = answers.get(path.as_str()) {
                        // The other side may have heard enough.
                        let _ = stream.write_all(answer.as_bytes()).await;
                    } else {
                        std::future::pending::<()>().await;
                    }
                });
            }
        });
        Self { port, asked }
    }

    fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}{path}", self.port)).unwrap()
    }
}

fn http(kind: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn to(location: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n")
}

async fn get(pages: &Pages, url: &Url) -> Result<Found, Unfetched> {
    pages.get(url, Wanted::Any).await
}

fn not_allowed(outcome: Result<Found, Unfetched>) -> &'static str {
    match outcome {
        Err(Unfetched::NotAllowed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_page_is_fetched_behind_its_redirects() {
    let answers =
        [("/a", to("/b")), ("/b", to("http://user:pass@127.0.0.1:PORT/c#part")), ("/c", http("text/html", "<p>"))];
    let mut site = Site::new(&answers).await;
    let found = get(&pages(LOOPBACK), &site.url("/a")).await.unwrap();
    let Body::Page(page) = found.body else { panic!("{found:?}") };
    assert_eq!((found.url.path(), found.content_type.as_deref(), &page[..]), ("/c", Some("text/html"), &b"<p>"[..]));
    for path in ["/a", "/b", "/c"] {
        let asked = site.asked.recv().await.unwrap();
        assert!(asked.starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{asked}");
        let asked = asked.to_ascii_lowercase();
        for header in ["user-agent: depesche (bot)\r\n", "accept-language: en\r\n"] {
            assert!(asked.contains(header), "{asked}");
        }
        for header in ["cookie", "authorization", "referer", "accept-encoding", "origin"] {
            assert!(!asked.contains(header), "{asked}");
        }
    }
}

#[tokio::test]
async fn a_redirect_to_an_address_that_is_not_public_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let answers = [
        ("/address", to(&format!("http://127.0.0.2:{port}/"))),
        ("/name", to(&format!("http://localhost.:{port}/"))),
        ("/decimal", to("http://167772161/")),
        ("/twice", to("/address")),
        ("/file", to("file:///etc/passwd")),
        ("/picture", to("http://169.254.169.254/latest/meta-data")),
    ];
    let site = Site::new(&answers).await;
    let only = pages("allow_networks = [\"127.0.0.1/32\"]\nany_port = true\ndenied_hosts = \"localhost\"");
    for (path, why) in [
        ("/address", "its address is not public"),
        ("/name", "its host is not allowed"),
        ("/decimal", "its address is not public"),
        ("/twice", "its address is not public"),
        ("/file", "it is not on the web"),
        ("/picture", "its address is not public"),
    ] {
        assert_eq!(not_allowed(get(&only, &site.url(path)).await), why, "{path}");
    }
    let asked = tokio::time::timeout(Duration::from_millis(1), elsewhere.accept()).await;
    assert!(asked.is_err(), "nobody came");
}

#[tokio::test]
async fn a_name_is_looked_at_when_it_is_resolved() {
    let site = Site::new(&[("/", http("text/html", ""))]).await;
    let url = Url::parse(&format!("http://localhost:{}/", site.port)).unwrap();
    assert_eq!(not_allowed(get(&pages("any_port = true"), &url).await), "its address is not public");
    let denied = format!("{LOOPBACK}deny_networks = [\"127.0.0.0/16\", \"::1/128\"]");
    assert_eq!(not_allowed(get(&pages(&denied), &url).await), "its address is not public");
    assert!(get(&pages(LOOPBACK), &url).await.is_ok());
}

#[tokio::test]
async fn hosts_and_ports_are_the_operators_choice() {
    let check = |config: &str, url: &str| pages(config).check(&Url::parse(url).unwrap()).is_ok();
    for (config, url, allowed) in [
        ("", "https://example.org/", true),
        ("", "http://example.org:443/", true),
        ("", "https://example.org:8443/", false),
        ("any_port = true", "https://example.org:8443/", true),
        ("", "ftp://example.org/", false),
        ("allowed_hosts = \"*.example.org\"", "https://a.b.example.org/", true),
        ("allowed_hosts = \"*.example.org\"", "https://example.org/", false),
        ("allowed_hosts = \"*.example.org\"", "https://badexample.org/", false),
        ("allowed_hosts = [\"example.org\", \"example.com\"]", "https://EXAMPLE.com./", true),
        ("allowed_hosts = \"example.org\"", "https://1.1.1.1/", false),
        ("denied_hosts = \"*.example.org\"", "https://a.example.org./", false),
        ("denied_hosts = \"*.example.org\"", "https://example.org/", true),
        ("allowed_hosts = \"*.org\"\ndenied_hosts = \"a.org\"", "https://a.org/", false),
        ("denied_hosts = \"1.1.1.1\"", "https://0x01010101/", false),
    ] {
        assert_eq!(check(config, url), allowed, "{config} {url}");
    }
}

#[tokio::test]
async fn bodies_are_bounded_and_read_by_their_type() {
    let large = "x".repeat(1 << 20);
    let answers = [
        ("/page", http("Text/HTML; charset=utf-8", &large)),
        ("/picture", http("image/png", "picture")),
        ("/large", http("image/png", &large.repeat(2))),
        ("/long", format!("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\n\r\n{}", large.repeat(2))),
        ("/drawing", http("image/svg+xml", "<svg>")),
        ("/file", http("application/pdf", "%PDF")),
        ("/gone", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned()),
        ("/loop", to("/loop")),
        ("/nowhere", "HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n".to_owned()),
        ("/many", format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1))),
        ("/nonsense", "nonsense".to_owned()),
    ];
    let site = Site::new(&answers).await;
    let pages = pages(&format!("{LOOPBACK}page_kb = 16\npicture_mb = 1\ntimeout = \"1s\""));
    let found = get(&pages, &site.url("/page")).await.unwrap();
    assert!(matches!(&found.body, Body::Page(page) if page.len() == 16 << 10), "{found:?}");
    let found = get(&pages, &site.url("/picture")).await.unwrap();
    assert!(matches!(&found.body, Body::Picture(picture) if &picture[..] == b"picture"), "{found:?}");
    for path in ["/large", "/long"] {
        assert!(matches!(get(&pages, &site.url(path)).await, Err(Unfetched::TooLarge)), "{path}");
    }
    for path in ["/drawing", "/file"] {
        assert!(matches!(get(&pages, &site.url(path)).await.unwrap().body, Body::Other), "{path}");
    }
    let found = pages.get(&site.url("/page"), Wanted::Picture).await.unwrap();
    assert!(matches!(found.body, Body::Other), "{found:?}");
    for (path, why) in [
        ("/gone", "404"),
        ("/loop", "too many redirects"),
        ("/nowhere", "leads nowhere"),
        ("/many", "error"),
        ("/nonsense", "error"),
        ("/silence", "too long"),
    ] {
        let Err(Unfetched::Failed(said)) = get(&pages, &site.url(path)).await else { panic!("{path}") };
        assert!(said.contains(why) && !said.contains("127.0.0.1"), "{path}: {said}");
    }
}
