//! The client of the benchmark: one kept connection, as thin as it can be, since it has to be faster than the servers.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// A connection that is opened anew when the server has closed it.
pub struct Connection {
    address: SocketAddr,
    authorization: Option<String>,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// For requests with this access token, if any; connects with the first one.
    pub fn new(address: SocketAddr, token: Option<&str>) -> Self {
        Self { address, authorization: token.map(|token| format!("Bearer {token}")), sender: None }
    }

    /// From now on requests show this access token.
    pub fn authorize(&mut self, token: &str) {
        self.authorization = Some(format!("Bearer {token}"));
    }

    /// The body of an answer with status 200; whatever else is the end of the run.
    pub async fn request(&mut self, method: Method, path: &str, body: Bytes) -> Bytes {
        let mut sender = self.ready().await;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let request = request.body(Full::new(body)).expect("the parts are valid");
        let response = sender.send_request(request).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let status = response.status();
        let body = response.into_body().collect().await.expect("a whole answer").to_bytes();
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        self.sender = Some(sender);
        body
    }

    /// `GET`.
    pub async fn get(&mut self, path: &str) -> Bytes {
        self.request(Method::GET, path, Bytes::new()).await
    }

    /// `PUT` of JSON.
    pub async fn put(&mut self, path: &str, body: &Value) -> Bytes {
        self.request(Method::PUT, path, body.to_string().into()).await
    }

    /// `POST` of JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> Bytes {
        self.request(Method::POST, path, body.to_string().into()).await
    }

    async fn ready(&mut self) -> SendRequest<Full<Bytes>> {
        if let Some(mut sender) = self.sender.take()
            && sender.ready().await.is_ok()
        {
            return sender;
        }
        let stream = TcpStream::connect(self.address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("a socket takes options");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a connection");
        tokio::spawn(connection);
        sender
    }
}

/// The text of a field of JSON that occurs once, without reading the rest.
pub fn field<'a>(body: &'a [u8], name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once(&format!("\"{name}\":"))?;
    rest.trim_start().strip_prefix('"')?.split('"').next()
}
