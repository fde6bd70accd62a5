//! What only a real connection shows: that one error does not end it.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::Home;

async fn connect() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Home::open().await.router;
    tokio::spawn(async move { axum::serve(listener, router).await });
    TcpStream::connect(address).await.unwrap()
}

/// Sends requests one after the other and returns the status lines; the last request closes the connection.
async fn statuses(requests: &[String]) -> Vec<String> {
    let mut connection = connect().await;
    let (mut receive, mut send) = connection.split();
    let sending = async {
        for request in requests {
            send.write_all(request.as_bytes()).await.unwrap();
        }
        send.write_all(b"GET /_matrix/client/versions HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
    };
    let mut received = String::new();
    let (read, ()) = tokio::join!(receive.read_to_string(&mut received), sending);
    read.unwrap();
    // A body has no line end behind it: the next status line may follow on the same line.
    received.split("HTTP/1.1 ").skip(1).map(|answer| answer[..3].to_owned()).collect()
}

fn post(path: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn an_error_does_not_end_the_connection() {
    // Larger than what the kernel and hyper hold back, so that somebody has to read it.
    let large = "x".repeat(3 * 1024 * 1024);
    let requests = [
        post("/_matrix/client/v3/nothing", &large),
        post("/_matrix/client/versions", &large),
        post("/_matrix/client/v3/capabilities", "{"),
        post("/_matrix/client/v3/capabilities", "some text").replace("POST", "GET"),
        format!("OPTIONS / HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n{large}", large.len()),
    ];
    assert_eq!(statuses(&requests).await, ["404", "405", "405", "401", "204", "200"]);
}

#[tokio::test]
async fn what_needs_no_large_body_takes_none() {
    let large = "x".repeat(65 << 10);
    let versions = post("/_matrix/client/versions", &large).replace("POST", "GET");
    let login = post("/_matrix/client/v3/login", &format!(r#"{{"type":"{large}"}}"#));
    let small = post("/_matrix/client/versions", &large[..60 << 10]).replace("POST", "GET");
    assert_eq!(statuses(&[versions, login, small]).await, ["413", "413", "200", "200"]);
}
