//! Connections that misbehave, and the end. Time is paused: it jumps when all tasks wait.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, routing::get};
use depesche_config::{Config, Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::Notify,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::connection;

fn config() -> Config {
    let mut config = Config::parse("[server]\nname = \"example.org\"\n").expect("defaults");
    config.limits.head_timeout = Duration::from_secs(10);
    config
}

fn limits() -> Limits {
    config().limits
}

/// A client's end of a connection to a router with `/hello` and `/wait`, which waits to be released.
struct Client {
    stream: DuplexStream,
    stop: CancellationToken,
    released: Arc<Notify>,
    entered: Arc<Notify>,
}

impl Client {
    fn connect() -> Self {
        let (stream, theirs) = tokio::io::duplex(4096);
        let (stop, released, entered) = (CancellationToken::new(), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (release, enter) = (Arc::clone(&released), Arc::clone(&entered));
        let router = Router::new()
            .route("/hello", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
            .route(
                "/wait",
                get(async move || {
                    enter.notify_one();
                    release.notified().await;
                    "done"
                }),
            );
        let peer = SocketAddr::from(([192, 0, 2, 7], 1234));
        tokio::spawn(connection(theirs, Some(peer), router, limits(), stop.clone()));
        Self { stream, stop, released, entered }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("sent");
    }

    /// All that still comes until the other side closes.
    async fn rest(&mut self) -> String {
        let mut text = String::new();
        self.stream.read_to_string(&mut text).await.expect("read");
        text
    }

    /// One answer, known by its last bytes.
    async fn answer_ending(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(char::from(self.stream.read_u8().await.expect("more")));
        }
        text
    }
}

#[tokio::test(start_paused = true)]
async fn requests_follow_each_other_and_know_their_peer() {
    let mut client = Client::connect();
    for _ in 0..2 {
        client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(client.answer_ending("192.0.2.7:1234").await.starts_with("HTTP/1.1 200"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_in_drops_is_cut_off() {
    let begun = Instant::now();
    let mut client = Client::connect();
    client.send("GET /hello HT").await;
    client.rest().await;
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let mut client = Client::connect();
    client.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.answer_ending("1234").await;
    let begun = Instant::now();
    assert_eq!(client.rest().await, "");
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_answers_is_cut_off() {
    let begun = Instant::now();
    let mut client = Client::connect();
    // More answers than fit between the two, and nobody reads.
    let asking = async {
        loop {
            if client.stream.write_all(b"GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await.is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_hours(1), asking).await.expect("closed");
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn stopping_lets_the_current_request_end() {
    let mut client = Client::connect();
    client.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.entered.notified().await;
    client.stop.cancel();
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.released.notify_one();
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn stopping_closes_idle_and_unused_connections_at_once() {
    let begun = Instant::now();
    let mut used = Client::connect();
    used.send("GET /hello HTTP/1.1\r\nhost: a\r\n\r\n").await;
    used.answer_ending("1234").await;
    let mut unused = Client::connect();
    tokio::task::yield_now().await;
    used.stop.cancel();
    unused.stop.cancel();
    assert_eq!((used.rest().await, unused.rest().await), (String::new(), String::new()));
    assert_eq!(begun.elapsed().as_secs(), 0);
}

#[tokio::test]
async fn a_full_house_queues_and_the_end_is_bounded() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    let mut config = config();
    config.limits.connections = 1;
    let acceptor = super::Acceptor::new(&config);
    let entered = Arc::new(Notify::new());
    let enter = Arc::clone(&entered);
    let forever = get(async move || {
        enter.notify_one();
        std::future::pending::<()>().await;
    });
    acceptor.spawn(listener, Router::new().route("/", forever));
    let mut first = tokio::net::TcpStream::connect(address).await.expect("connected");
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    entered.notified().await;
    assert_eq!(acceptor.places.available_permits(), 0);
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("admin");
    acceptor.spawn_apart(
        tokio::net::UnixListener::bind(&socket).expect("bound"),
        Router::new().route("/", get(async || "operator")),
    );
    let mut operator = tokio::net::UnixStream::connect(&socket).await.expect("connected");
    operator.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    operator.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.ends_with("operator"), "others have places of their own");
    acceptor.stop(Duration::from_millis(1)).await;
    let mut rest = String::new();
    first.read_to_string(&mut rest).await.expect("closed");
    assert_eq!(rest, "", "cut off without an answer");
}
