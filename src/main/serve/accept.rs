//! Accepting connections and serving requests on them, with a bound on everything: connections, size of the head and
//! time for it, time to end. The bounds on bodies are `api`'s, which can answer to them.
//!
//! Clients, the operator and whoever fetches the figures have places of their own, so that the first cannot lock out the
//! others; and of the clients' places one address has only so many, unless it is a proxy through which all come.
//!
//! HTTP/1.1 only: clients come through a reverse proxy, which speaks HTTP/2 with them and this with us. hyper's
//! detection of HTTP/2 on the same port would wait for the first bytes without a timeout.

mod peers;
mod stalls;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use depesche_config::{Config, Limits};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

use self::{peers::Peers, stalls::Unstalled};
use crate::metrics::Connection;

/// The pause after an error of the listener that is not the connection's own: no files left, mostly.
const PAUSE: Duration = Duration::from_secs(1);
/// The largest head of a request. Access tokens and paths are far smaller.
const HEAD_BYTES: usize = 32 * 1024;
/// How long a client may take none of its answer.
const STALL: Duration = Duration::from_mins(1);
/// Connections at a time to a listener that is not for clients.
const APART: usize = 64;

/// Accepts on any number of listeners, and ends all of it together.
pub struct Acceptor {
    limits: Limits,
    /// A place for each connection of a client. Whoever finds none waits in the queue of the system.
    places: Arc<Semaphore>,
    peers: Peers,
    tasks: TaskTracker,
    /// Ends listeners, and connections after their current request.
    stop: CancellationToken,
    /// Ends connections at once.
    abort: CancellationToken,
}

impl Acceptor {
    /// Without listeners yet.
    pub fn new(config: &Config) -> Self {
        Self {
            limits: config.limits.clone(),
            places: Arc::new(Semaphore::new(config.limits.connections)),
            peers: Peers::new(config.limits.connections_per_address, &config.server.trusted_proxies),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }

    /// Serves this router to clients on this listener, until [`Self::stop`].
    pub fn spawn<L: Listener>(&self, listener: L, router: Router) {
        self.accept_on(listener, router, Arc::clone(&self.places), Some(Connection::open));
    }

    /// As [`Self::spawn`], for others than clients: however many those are, there is a place.
    pub fn spawn_apart<L: Listener>(&self, listener: L, router: Router) {
        self.accept_on(listener, router, Arc::new(Semaphore::new(APART)), None);
    }

    fn accept_on<L: Listener>(
        &self,
        listener: L,
        router: Router,
        places: Arc<Semaphore>,
        counted: Option<fn() -> Connection>,
    ) {
        let (limits, peers, tasks) = (self.limits.clone(), self.peers.clone(), self.tasks.clone());
        let (stop, abort) = (self.stop.clone(), self.abort.clone());
        self.tasks.spawn(async move {
            let accepted = async || {
                let place = Arc::clone(&places).acquire_owned().await.ok();
                (place, accept(&listener).await)
            };
            while let Some((place, (stream, peer))) = stop.run_until_cancelled(accepted()).await {
                let Ok(share) = peers.admit(peer) else { continue };
                let connection = connection(stream, peer, router.clone(), limits.clone(), stop.clone());
                let abort = abort.clone();
                tasks.spawn(async move {
                    let _counted = counted.map(|count| count());
                    abort.run_until_cancelled_owned(connection).await;
                    drop((place, share));
                });
            }
        });
    }

    /// Closes the listeners and idle connections at once, the others after their current request or when this time is
    /// over.
    pub async fn stop(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "requests still in work are cut off");
            self.abort.cancel();
            self.tasks.wait().await;
        }
    }
}

/// Where connections come from.
pub trait Listener: Send + Sync + 'static {
    /// One of them.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next one, and its address if it has one.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = self.accept().await?;
        // Answers are small and written at once; waiting to fill a packet only delays them.
        stream.set_nodelay(true)?;
        Ok((stream, Some(peer)))
    }
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        self.accept().await.map(|(stream, _)| (stream, None))
    }
}

async fn accept<L: Listener>(listener: &L) -> (L::Stream, Option<SocketAddr>) {
    loop {
        match listener.next().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept connections; raise the limit of open files if that is it");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether only this one connection is lost, because its client gave up while it waited.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput | NotConnected)
}

async fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    peer: Option<SocketAddr>,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let used = AtomicBool::new(false);
    let service = service_fn(|request: Request<Incoming>| {
        used.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        let router = router.clone();
        async move { router.oneshot(request).await.map_err(|never: Infallible| match never {}) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Unstalled::new(stream, STALL)), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            // hyper waits for the first request of a connection even then; browsers open some that never get one.
            if !used.load(Ordering::Relaxed) {
                return;
            }
            connection.await
        }
    };
    if let Err(error) = served {
        // Clients vanish all the time; it says nothing about us.
        tracing::debug!(%error, "a connection broke");
    }
}

#[cfg(test)]
mod tests;
