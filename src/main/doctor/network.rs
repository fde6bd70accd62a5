//! The server's own addresses, as seen from this machine. Nothing is asked of anyone else.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use depesche_config::Config;
use depesche_net::push::Gateways;
use serde_json::Value;

use super::Finding;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most of an answer that is read.
const ANSWER_BYTES: u64 = 64 * 1024;

/// Whether the server answers at this address, or could.
pub fn listener(address: SocketAddr) -> Finding {
    answers(address, "/_matrix/client/versions", "\"versions\"", "Matrix server")
}

/// The same of the address of figures for monitoring. The page has thousands of lines after a while, and any figure may
/// be the first: how they all begin stands at its start.
pub fn figures(address: SocketAddr) -> Finding {
    answers(address, "/metrics", "# TYPE depesche_", "page of figures (metrics.listen)")
}

/// Whether the certificates are there by which others are known: without them no push notification goes out.
pub fn certificates(config: &Config) -> Option<Finding> {
    let why = Gateways::new(config).err()?;
    Some(Finding::wrong(format!("{why}; are the certificates of authorities installed (ca-certificates)?")))
}

/// Whether at this address somebody answers to a path with a text that has this mark; or nobody does, and somebody could.
fn answers(address: SocketAddr, path: &str, mark: &str, who: &str) -> Finding {
    match get(address, "localhost", path) {
        Some((200, body)) if body.contains(mark) => Finding::ok(format!("a {who} answers at {address}")),
        Some((status, _)) => {
            Finding::wrong(format!("at {address} something answers that is no {who} (status {status})"))
        }
        None => match TcpListener::bind(address) {
            Ok(_) => Finding::ok(format!("{address} is free (no server runs)")),
            Err(error) => Finding::wrong(format!("{address} does not answer and cannot be used: {error}")),
        },
    }
}

/// Whether the running server tells clients the URL that the configuration says.
pub fn well_known(config: &Config) -> Option<Finding> {
    let Some(wanted) = &config.server.base_url else {
        return Some(Finding::warning(
            "server.base_url is not set: clients that know only the name of the server will not find it",
        ));
    };
    let address = config.server.listen.first()?;
    let (status, body) = get(*address, config.server.name.as_str(), "/.well-known/matrix/client")?;
    let told = serde_json::from_str::<Value>(&body).ok();
    let told = told.as_ref().and_then(|told| told["m.homeserver"]["base_url"].as_str());
    Some(match told {
        Some(told) if told.trim_end_matches('/') == wanted.as_str().trim_end_matches('/') => Finding::ok(format!(
            "/.well-known/matrix/client says {told}; your web server for {} must pass this path on",
            config.server.name
        )),
        Some(told) => Finding::warning(format!("clients are told {told}, not {wanted}; restart the server")),
        None => {
            Finding::wrong(format!("/.well-known/matrix/client does not say where the server is (status {status})"))
        }
    })
}

/// A request without any library: the answer must be the same for the simplest of clients.
fn get(address: SocketAddr, host: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&reachable(address), PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES).read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// "Every address" is no place to connect to; this machine's own is among them.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{SocketAddr, TcpListener},
        thread::JoinHandle,
    };

    use depesche_config::Config;

    use super::{figures, listener, well_known};
    use crate::doctor::Level;

    /// Answers one request with this body.
    fn answering(body: impl Into<String>) -> (SocketAddr, JoinHandle<()>) {
        let body = body.into();
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let answer = move || {
            let (mut stream, _) = listener.accept().expect("accepted");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("read");
                head.push(byte[0]);
            }
            let length = body.len();
            // Who has read enough hangs up.
            let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
        };
        (address, std::thread::spawn(answer))
    }

    #[test]
    fn who_listens_is_told_apart() {
        let (address, server) = answering("{\"versions\":[\"v1.19\"]}");
        assert!(listener(address).text.contains("a Matrix server answers"));
        server.join().expect("answered");
        let (address, server) = answering("<html>");
        assert_eq!(listener(address).level, Level::Wrong);
        server.join().expect("answered");
        let help =
            "# HELP depesche_http_requests_total Requests answered\n# TYPE depesche_http_requests_total counter\n";
        let of_a_busy_server = format!("{help}{}", "depesche_http_requests_total{route=\"/x\"} 1\n".repeat(3000));
        let of_another = "# TYPE go_threads gauge\ngo_threads 7\n".to_owned();
        for (page, level) in [(of_a_busy_server, Level::Ok), (of_another, Level::Wrong)] {
            let (address, server) = answering(page);
            assert_eq!(figures(address).level, level);
            server.join().expect("answered");
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
        assert!(listener(free).text.contains("is free"), "{}", listener(free).text);
    }

    #[test]
    fn clients_must_be_told_the_right_url() {
        for (told, level) in [
            ("{\"m.homeserver\":{\"base_url\":\"https://matrix.example.org\"}}", Level::Ok),
            ("{\"m.homeserver\":{\"base_url\":\"https://old.example.org\"}}", Level::Warning),
            ("{}", Level::Wrong),
        ] {
            let (address, server) = answering(told);
            let text = format!(
                "[server]\nname = \"example.org\"\nlisten = \"{address}\"\nbase_url = \"https://matrix.example.org\"\n"
            );
            let config = Config::parse(&text).expect("valid");
            assert_eq!(well_known(&config).map(|finding| finding.level), Some(level), "{told}");
            server.join().expect("answered");
        }
    }
}
