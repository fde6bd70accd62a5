//! `[server]`: what this server is called and where it listens.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use ruma::OwnedServerName;
use url::Url;

use crate::section::{optional, preset, required, section};

section! {
    /// What this server is called and where it listens.
    [server]
    pub struct Server {
        /// The name behind the colon in the addresses of users: @alice:example.org. It is stored in the database at the
        /// first start and cannot be changed afterwards. Write it in small letters.
        name: OwnedServerName = required("\"example.org\""),
        /// The folder of the database, the signing key and the lock. Created at the first start, readable by its owner
        /// only.
        data_dir: PathBuf = preset(PathBuf::from("/var/lib/depesche")),
        /// The addresses for clients, plain HTTP. Clients come through a reverse proxy that does TLS: keep this on
        /// loopback unless the proxy is on another machine.
        listen: Vec<SocketAddr> = preset(vec![SocketAddr::from(([127, 0, 0, 1], 8008))]),
        /// The URL by which clients reach this server. It is told to clients that only know the name, by
        /// /.well-known/matrix/client.
        base_url: Option<Url> = optional("\"https://matrix.example.org\""),
        /// The proxies whose X-Forwarded-For is believed, as addresses or networks. From anyone else the header is ignored:
        /// all who come through a proxy that is not named share one address, and its rate limits.
        trusted_proxies: Vec<IpNet> = preset(Vec::new()).shown_as("[\"127.0.0.1\", \"::1\"]"),
        /// The socket by which `depesche user`, `token`, `report`, `media`, `db` and `backup` reach the running server.
        /// Whoever may open it rules the server: its mode is 0600. Without this key: admin.sock in data_dir. The unit of
        /// systemd makes the folder of the example.
        admin_socket: Option<PathBuf> = optional("\"/run/depesche/admin.sock\""),
        /// The key that signs this server's events, written at the first start. Back it up. Without this key:
        /// signing.key in data_dir. The server must be allowed to write where it is to lie: the unit of systemd names
        /// such folders by ReadWritePaths=.
        signing_key_file: Option<PathBuf> = optional("\"/srv/depesche-keys/signing.key\""),
        /// How long requests may take to end when the server stops.
        shutdown_timeout: Duration = preset(Duration::from_secs(20))
            .within(Duration::from_secs(1)..=Duration::from_mins(10)),
    }
}

impl Server {
    /// The path of the socket for administration.
    pub fn admin_socket(&self) -> PathBuf {
        self.admin_socket.clone().unwrap_or_else(|| self.data_dir.join("admin.sock"))
    }

    /// The path of the signing key.
    pub fn signing_key_file(&self) -> PathBuf {
        self.signing_key_file.clone().unwrap_or_else(|| self.data_dir.join("signing.key"))
    }

    /// Takes relative paths from this folder.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        let paths = [Some(&mut self.data_dir), self.admin_socket.as_mut(), self.signing_key_file.as_mut()];
        for path in paths.into_iter().flatten() {
            // Collected again so that a "." at the end leaves no trace in messages.
            *path = folder.join(&*path).components().collect();
        }
    }
}
