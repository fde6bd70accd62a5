//! A web site of the tests' own: answers each path as it was told, and counts who asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running site. Ends with the case.
#[derive(Debug)]
pub struct Site {
    address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Page {
    answer: Vec<u8>,
    asked: u32,
}

type Pages = Arc<Mutex<BTreeMap<String, Page>>>;

impl Site {
    /// Listens on a free port of loopback, and has no page.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let pages = Pages::default();
        let task = tokio::spawn(listen(listener, Arc::clone(&pages)));
        Self { address, pages, task }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers a path with these bytes of this type.
    pub fn page(&self, path: &str, kind: &str, body: &[u8]) -> &Self {
        self.answer(path, &format!("200 OK\r\nContent-Type: {kind}"), body)
    }

    /// Sends whoever asks for a path on.
    pub fn redirect(&self, path: &str, to: &str) -> &Self {
        self.answer(path, &format!("302 Found\r\nLocation: {to}"), b"")
    }

    fn answer(&self, path: &str, head: &str, body: &[u8]) -> &Self {
        let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), body].concat();
        lock(&self.pages).insert(path.to_owned(), Page { answer, asked: 0 });
        self
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> u32 {
        lock(&self.pages).get(path).map_or(0, |page| page.asked)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, pages: Pages) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&pages)));
    }
}

/// One request on one connection.
async fn serve(mut stream: TcpStream, pages: Pages) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let path = String::from_utf8_lossy(&head).split(' ').nth(1)?.to_owned();
    let answer = lock(&pages).get_mut(&path).map(|page| {
        page.asked += 1;
        page.answer.clone()
    });
    let gone = || b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec();
    stream.write_all(&answer.unwrap_or_else(gone)).await.ok()?;
    stream.shutdown().await.ok()
}

fn lock(pages: &Pages) -> std::sync::MutexGuard<'_, BTreeMap<String, Page>> {
    pages.lock().unwrap_or_else(PoisonError::into_inner)
}
