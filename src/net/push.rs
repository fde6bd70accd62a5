//! Push gateways over HTTPS.

use depesche_config::Config;
use depesche_server::outbox::push::{GatewayError, PushGateway};
use futures::future::BoxFuture;
use reqwest::{Client, header::CONTENT_TYPE, redirect};
use url::Url;

use crate::guard::Guard;

/// The most bytes of an answer: a list of rejected pushkeys, of which we send one.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Reaches push gateways.
pub struct Gateways {
    client: Client,
    guard: Guard,
}

/// Why nothing can go out.
#[derive(Debug, thiserror::Error)]
#[error("requests to other servers cannot be made: {0}")]
pub struct NoClient(pub(crate) String);

impl Gateways {
    /// As the operator configured it. Trusts the certificate authorities of the system.
    pub fn new(config: &Config) -> Result<Self, NoClient> {
        let guard = Guard::new(config.outgoing.allow_networks.clone());
        let client = Client::builder()
            .dns_resolver(guard.clone())
            .redirect(redirect::Policy::none())
            .timeout(config.outgoing.timeout)
            .no_proxy()
            .user_agent(concat!("Depesche/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|why| NoClient(chain(&why)))?;
        Ok(Self { client, guard })
    }

    async fn post(&self, url: &str, body: Vec<u8>) -> Result<Vec<u8>, GatewayError> {
        let failed = |why: &dyn std::error::Error| GatewayError(chain(why));
        let url = Url::parse(url).map_err(|why| failed(&why))?;
        self.guard.check(&url).map_err(|why| failed(&why))?;
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").body(body);
        // The URL is a secret of the user's: some gateways put a key into it.
        let mut answer = request.send().await.map_err(|why| failed(&why.without_url()))?;
        if !answer.status().is_success() {
            return Err(GatewayError(format!("the gateway answered {}", answer.status())));
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|why| failed(&why.without_url()))? {
            if bytes.len() + part.len() > MAX_ANSWER_BYTES {
                return Err(GatewayError("the gateway's answer is too long".to_owned()));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

impl PushGateway for Gateways {
    fn notify<'a>(&'a self, url: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, GatewayError>> {
        Box::pin(self.post(url, body))
    }
}

/// An error with what caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn gateways(outgoing: &str) -> Gateways {
        let config = Config::parse(&format!("[server]\nname = \"agency.test\"\n[outgoing]\n{outgoing}")).unwrap();
        Gateways::new(&config).unwrap()
    }

    /// Answers one request with these bytes and gives what it was sent.
    async fn answering(answer: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/_matrix/push/v1/notify", listener.local_addr().unwrap());
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"{}") {
                let mut part = [0; 1024];
                let count = stream.read(&mut part).await.unwrap();
                asked.extend_from_slice(&part[..count]);
            }
            // The other side may have heard enough.
            let _ = stream.write_all(&answer).await;
            String::from_utf8(asked).unwrap()
        });
        (url, served)
    }

    fn http(status: &str, body: &str) -> Vec<u8> {
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    const LOOPBACK: &str = "allow_networks = [\"127.0.0.0/8\"]";

    #[tokio::test]
    async fn a_gateway_is_told() {
        let (url, served) = answering(http("200 OK", r#"{"rejected":[]}"#)).await;
        let answer = gateways(LOOPBACK).notify(&url, b"{}".to_vec()).await;
        assert_eq!(answer.as_deref(), Ok(br#"{"rejected":[]}"#.as_slice()));
        let asked = served.await.unwrap();
        assert!(asked.starts_with("POST /_matrix/push/v1/notify HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("content-type: application/json"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_no_success_is_a_failure() {
        let elsewhere = "HTTP/1.1 307 x\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        let long = http("200 OK", &"x".repeat(MAX_ANSWER_BYTES + 1));
        for (answer, why) in [
            (http("500 x", ""), "500"),
            (elsewhere.as_bytes().to_vec(), "307"),
            (long, "too long"),
            (b"nonsense".to_vec(), "error"),
        ] {
            let (url, _served) = answering(answer).await;
            let refused = gateways(LOOPBACK).notify(&url, b"{}".to_vec()).await.unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
            assert!(!refused.to_string().contains("127.0.0.1"), "{refused}");
        }
    }

    #[tokio::test]
    async fn our_own_network_is_not_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let gateways = gateways("timeout = \"5s\"");
        for host in ["127.0.0.1", "localhost", "[::1]", "2130706433"] {
            let url = format!("http://{host}:{port}/_matrix/push/v1/notify");
            let refused = gateways.notify(&url, b"{}".to_vec()).await.unwrap_err();
            assert!(refused.to_string().contains("not public"), "{host}: {refused}");
        }
        let asked = tokio::time::timeout(std::time::Duration::from_millis(1), listener.accept()).await;
        assert!(asked.is_err(), "nobody came");
    }
}
