//! `depesche serve`: listeners around a node, from the first byte to an orderly end.

pub mod accept;
mod notify;

use std::{
    io::IsTerminal,
    net::SocketAddr,
    os::unix::{fs::FileTypeExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, middleware};
use depesche_config::Config;
use tokio::{
    net::{TcpListener, TcpSocket, UnixListener},
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    cli::ServeOptions,
    commands::config::{valid, warnings},
    data_dir::{self, DataDir},
    failure::{Failure, hint},
    log, media, metrics,
    node::{Node, Purpose},
    serve::accept::Acceptor,
};

/// How long the node may take to close after its last request.
const CLOSING: Duration = Duration::from_secs(30);
/// Connections that the system holds until they are accepted.
const BACKLOG: u32 = 1024;
/// How long threads may take to end after that.
const LEAVING: Duration = Duration::from_secs(3);

/// Runs the server until a signal ends it.
pub fn serve(path: &Path, options: &ServeOptions) -> Result<(), Failure> {
    // With its secrets: before anything is made.
    let config = Arc::new(valid(path)?);
    log::start(&config)?;
    for warning in warnings(&config) {
        tracing::warn!("{warning}");
    }
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start threads", error))?;
    let outcome = runtime.block_on(run(path, &config, options));
    // What still reads or writes on other threads then (a recovery, a database that does not close) is left to itself: the
    // database is made for that.
    runtime.shutdown_timeout(LEAVING);
    outcome
}

async fn run(path: &Path, config: &Arc<Config>, options: &ServeOptions) -> Result<(), Failure> {
    let mut signals = Signals::install(std::io::stdin().is_terminal())
        .map_err(|error| Failure::failed("cannot listen for signals", error))?;
    // Addresses first: when one is taken, nothing else has happened yet.
    let clients = bind_all(config)?;
    let figures = config.metrics.listen.map(|address| bind(address, "metrics.listen", config)).transpose()?;
    let purpose = if options.new_signing_key { Purpose::GoOnWithNewKey } else { Purpose::GoOn };
    let open = async {
        // A command that works on the database itself lets go of it in a moment.
        let tell = |why: &str| tracing::warn!("{why}");
        let data = data_dir::patiently(tell, async || DataDir::open(&config.server.data_dir)).await?;
        let admin = AdminSocket::bind(&config.server.admin_socket())?;
        Ok::<_, Failure>((admin, Node::open(config, data, purpose).await?))
    };
    let (admin, node) = tokio::select! {
        biased;
        opened = open => opened?,
        // A migration goes on from where it was at the next start.
        cause = signals.next() => return Err(Failure::Failed(format!("stopped by {cause} before it was ready"))),
    };
    let node = Arc::new(node);
    node.send_out(config);
    node.index_messages();

    let acceptor = Acceptor::new(config);
    if let Some(listener) = figures {
        let handle = metrics::start()?;
        acceptor.spawn_apart(listener, metrics::router(handle.clone(), Arc::clone(&node)));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(metrics::UPKEEP).await;
                handle.run_upkeep();
            }
        });
    }
    acceptor.spawn_apart(admin.show()?, node.admin_router());
    let router: Router = node.client_router().layer(middleware::from_fn(log::request));
    for listener in clients {
        acceptor.spawn(listener, router.clone());
    }
    announce(path, config);
    notify::tell("READY=1");
    tokio::spawn(look_at_the_object_store(Arc::clone(config)));

    let cause = signals.next().await;
    tracing::info!(cause, "stopping: no new connections, requests in work may end");
    notify::tell("STOPPING=1");
    let stopped = async {
        node.end_waits();
        acceptor.stop(config.server.shutdown_timeout).await;
        if tokio::time::timeout(CLOSING, node.stop()).await.is_err() {
            tracing::error!("the database takes too long to close; leaving it to its log");
        }
    };
    tokio::select! {
        () = stopped => {}
        _ = signals.next() => {
            // At once: even letting go of the database waits for it.
            tracing::error!("told to stop twice: stopped at once");
            std::process::exit(1);
        }
    }
    // A socket that nobody answers misleads the next command; without the file it opens the database itself.
    let _ = std::fs::remove_file(config.server.admin_socket());
    tracing::info!("stopped");
    Ok(())
}

fn bind_all(config: &Config) -> Result<Vec<TcpListener>, Failure> {
    let mut listeners = Vec::new();
    for address in &config.server.listen {
        listeners.push(bind(*address, "server.listen", config)?);
    }
    Ok(listeners)
}

fn bind(address: SocketAddr, key: &str, config: &Config) -> Result<TcpListener, Failure> {
    open(address, leaves_ipv4(address, config)).map_err(|error| {
        let hint = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                ". Another program uses it: stop that one, or choose another port. Or this server runs already: depesche doctor"
            }
            std::io::ErrorKind::PermissionDenied => ". Ports below 1024 are for root: choose a higher one",
            _ => "",
        };
        Failure::Failed(format!("cannot listen on {address} ({key}): {error}{hint}"))
    })
}

/// Whether the IPv4 addresses of this port are for another listener. "[::]" alone is for both families, as systems have it.
fn leaves_ipv4(address: SocketAddr, config: &Config) -> bool {
    let mut all = config.server.listen.iter().chain(&config.metrics.listen);
    let shares = |other: &SocketAddr| other.port() == address.port() && other.ip().to_canonical().is_ipv4();
    address.ip().is_unspecified() && address.is_ipv6() && all.any(shares)
}

/// As [`TcpListener::bind`], which cannot be told to leave IPv4 alone.
fn open(address: SocketAddr, leaves_ipv4: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    if leaves_ipv4 {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The socket of the operator. It is bound before the database is touched, so that what is wrong with its place is said
/// first, and gets its name when somebody answers: until then commands find no server, and do not wait.
struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    hidden: PathBuf,
}

impl AdminSocket {
    /// A file left over by a killed server is replaced. One that a server is behind is another server's: this one's data
    /// folder is ours.
    fn bind(path: &Path) -> Result<Self, Failure> {
        let failed = failed_socket(path);
        let mut hidden = path.as_os_str().to_owned();
        hidden.push(".new");
        let hidden = PathBuf::from(hidden);
        if let Some(taken) = [path, &hidden].into_iter().find(|path| UnixStream::connect(path).is_ok()) {
            return Err(Failure::Usage(format!(
                "another server answers at {}: give each a server.admin_socket of its own",
                taken.display()
            )));
        }
        if std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
            std::fs::remove_file(path).map_err(&failed)?;
        }
        // Private from its first moment, by the umask; the mode only drops the meaningless execute bit.
        let listener = UnixListener::bind(path).map_err(&failed)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(&failed)?;
        std::fs::rename(path, &hidden).map_err(&failed)?;
        Ok(Self { listener, path: path.to_owned(), hidden })
    }

    /// From now on commands find it.
    fn show(self) -> Result<UnixListener, Failure> {
        std::fs::rename(&self.hidden, &self.path).map_err(failed_socket(&self.path))?;
        Ok(self.listener)
    }
}

fn failed_socket(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    |error| Failure::Failed(format!("cannot open the admin socket {}: {error}{}", path.display(), hint(&error)))
}

/// Says what to do now, in the words of the command line.
fn announce(path: &Path, config: &Config) {
    let server = &config.server;
    let listen = server.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tracing::info!(name = %server.name, listen, version = env!("CARGO_PKG_VERSION"), "Depesche is ready");
    let program = std::env::args().next().unwrap_or_else(|| "depesche".to_owned());
    let program = format!("{program} --config {}", path.display());
    tracing::info!("to make the first user, in another terminal: {program} user create alice --admin");
    let url = server.base_url.as_ref().map_or_else(
        || server.listen.first().map(|address| format!("http://{address}")).unwrap_or_default(),
        ToString::to_string,
    );
    tracing::info!("to connect a client, choose as its homeserver: {url}");
}

/// Chats go on without files, so that an object store that does not work ends nothing. But it is said at once, and not
/// only when somebody wants a file.
async fn look_at_the_object_store(config: Arc<Config>) {
    let Some(store) = &config.media.store else { return };
    match media::probe(store).await {
        Ok(()) => tracing::info!("files lie in {}, which works", media::place(store)),
        Err(why) => tracing::error!(why, "the object store does not work: no file can be uploaded or read"),
    }
}

/// Connections and database files are many; the soft limit of most systems is not.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// What ends the server. A terminal that is closed ends it as orderly as the others. To a service SIGHUP says something else,
/// "read the configuration again": it does not do that, but goes on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    has_terminal: bool,
}

impl Signals {
    fn install(has_terminal: bool) -> std::io::Result<Self> {
        let [terminate, interrupt, hang_up] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hang_up: hang_up?, has_terminal })
    }

    async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hang_up.recv() => {
                    if self.has_terminal {
                        return "SIGHUP";
                    }
                    tracing::warn!("SIGHUP changes nothing: a changed configuration counts from the next start (restart)");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::SocketAddr, time::Duration};

    use depesche_config::Config;

    use super::{AdminSocket, Signals, bind, leaves_ipv4};

    #[tokio::test]
    async fn a_closed_terminal_ends_the_server_and_a_service_goes_on() {
        let mut service = Signals::install(false).expect("installed");
        let mut in_terminal = Signals::install(true).expect("installed");
        let sent = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP);
        sent.expect("a signal to oneself");
        assert_eq!(in_terminal.next().await, "SIGHUP");
        // It has come here too, and was told.
        assert!(tokio::time::timeout(Duration::ZERO, service.next()).await.is_err());
    }

    fn listening(listen: &str) -> Config {
        Config::parse(&format!("[server]\nname = \"example.org\"\nlisten = [{listen}]\n")).expect("valid")
    }

    #[tokio::test]
    async fn both_families_share_a_port() {
        // A port that is free in both just now.
        let Ok(probe) = std::net::TcpListener::bind("[::]:0") else {
            // Not by `println`, which the tests keep to themselves.
            let _ = std::io::stderr().write_all(b"left out: both_families_share_a_port needs IPv6\n");
            return;
        };
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        for first in ["0.0.0.0", "127.0.0.1"] {
            let config = listening(&format!("\"{first}:{port}\", \"[::]:{port}\""));
            let bound = config.server.listen.iter().map(|address| bind(*address, "server.listen", &config));
            let bound = bound.collect::<Result<Vec<_>, _>>();
            assert_eq!(bound.map(|bound| bound.len()), Ok(2), "{first}");
        }
    }

    #[test]
    fn all_addresses_of_ipv6_are_those_of_ipv4_too_where_nobody_else_has_them() {
        let all: SocketAddr = "[::]:8008".parse().expect("an address");
        assert!(!leaves_ipv4(all, &listening("\"[::]:8008\"")));
        assert!(!leaves_ipv4(all, &listening("\"[::]:8008\", \"127.0.0.1:8009\"")));
        assert!(leaves_ipv4(all, &listening("\"[::]:8008\", \"127.0.0.1:8008\"")));
    }

    #[tokio::test]
    async fn commands_find_the_socket_when_somebody_answers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        for _ in 0..2 {
            // The second time what the first left is there.
            let socket = AdminSocket::bind(&path).expect("bound");
            assert!(!path.exists());
            let listener = socket.show().expect("shown");
            let (client, accepted) = tokio::join!(tokio::net::UnixStream::connect(&path), listener.accept());
            assert!(client.is_ok() && accepted.is_ok());
            let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().expect("metadata").permissions());
            assert_eq!(mode & 0o777, 0o600, "for its owner alone");
        }
        // Two servers that were given one place: the second leaves it to the first, which answers or is about to.
        let first = AdminSocket::bind(&path).expect("bound");
        let refused = |path| AdminSocket::bind(path).err().expect("taken");
        assert!(refused(&path).to_string().contains("another server answers"));
        let listener = first.show().expect("shown");
        assert!(refused(&path).exit_code() == 2 && path.exists());
        drop(listener);
        let missing =
            AdminSocket::bind(&folder.path().join("missing/admin.sock")).err().expect("no folder").to_string();
        assert!(missing.contains("admin socket"), "{missing}");
    }
}
