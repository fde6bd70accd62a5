//! A push gateway of the tests' own: speaks the push gateway API, fails and rejects as it is told to.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// No server takes longer to tell of an event, the pauses after a few failures included.
const LIMIT: Duration = Duration::from_secs(40);

/// A running gateway. Ends with the case.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    told: mpsc::UnboundedReceiver<(u16, Value)>,
    mood: Arc<Mutex<Mood>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Mood {
    fails: bool,
    rejected: BTreeSet<String>,
}

impl Gateway {
    /// Listens on a free port of loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mood = Arc::new(Mutex::new(Mood::default()));
        let (tell, told) = mpsc::unbounded_channel();
        let task = tokio::spawn(listen(listener, Arc::clone(&mood), tell));
        Self { address, told, mood, task }
    }

    /// The URL of a pusher.
    pub fn url(&self) -> String {
        format!("http://{}/_matrix/push/v1/notify", self.address)
    }

    /// Answers 500 from now on, or no longer.
    pub fn fail(&self, fails: bool) {
        self.mood().fails = fails;
    }

    /// Rejects this pushkey from now on.
    pub fn reject(&self, pushkey: &str) {
        self.mood().rejected.insert(pushkey.to_owned());
    }

    /// The next notification that was answered with 200.
    pub async fn next(&mut self) -> Value {
        self.next_answered(200).await
    }

    /// The next notification that was answered with 500.
    pub async fn next_failed(&mut self) -> Value {
        self.next_answered(500).await
    }

    async fn next_answered(&mut self, wanted: u16) -> Value {
        let find = async {
            loop {
                let (status, body) = self.told.recv().await.expect("the gateway runs");
                if status == wanted {
                    return body["notification"].clone();
                }
            }
        };
        tokio::time::timeout(LIMIT, find).await.expect("the gateway is told of something in time")
    }

    /// Whether it was told something that was not asked for yet, whatever it answered.
    pub fn has_more(&self) -> bool {
        !self.told.is_empty()
    }

    /// The next notification that tells of this event.
    pub async fn of_event(&mut self, event_id: &str) -> Value {
        loop {
            let told = self.next().await;
            if told["event_id"] == event_id {
                return told;
            }
        }
    }

    fn mood(&self) -> std::sync::MutexGuard<'_, Mood> {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, mood: Arc<Mutex<Mood>>, tell: mpsc::UnboundedSender<(u16, Value)>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&mood), tell.clone()));
    }
}

/// One request on one connection.
async fn serve(mut stream: TcpStream, mood: Arc<Mutex<Mood>>, tell: mpsc::UnboundedSender<(u16, Value)>) -> Option<()> {
    let (head, body) = read(&mut stream).await?;
    let is_notify = head.starts_with("POST /_matrix/push/v1/notify HTTP/1.1");
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, answer) = {
        let mood = mood.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = told["notification"]["devices"].as_array().into_iter().flatten();
        let keys: Vec<_> = keys.filter_map(|device| device["pushkey"].as_str()).collect();
        let rejected: Vec<_> = keys.into_iter().filter(|key| mood.rejected.contains(*key)).collect();
        match (is_notify, mood.fails) {
            (false, _) => (404, json!({ "errcode": "M_UNRECOGNIZED", "error": "not here" })),
            (_, true) => (500, json!({ "errcode": "M_UNKNOWN", "error": "told to fail" })),
            (..) => (200, json!({ "rejected": rejected })),
        }
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let text = format!("{head}content-length: {}\r\n\r\n{answer}", answer.len());
    // Told before the answer: whoever saw the answer finds it.
    let _ = tell.send((status, told));
    stream.write_all(text.as_bytes()).await.ok()
}

/// The head and the body of a request that says how long it is.
async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            })?;
            if bytes.len() >= end + 4 + length {
                return Some((head, bytes.split_off(end + 4)));
            }
        }
        let mut part = [0; 4096];
        match stream.read(&mut part).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&part[..count]),
            _ => return None,
        }
    }
}
