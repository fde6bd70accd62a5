//! Combinations of valid values that cannot work.

use std::{collections::BTreeMap, net::SocketAddr};

use ruma::RoomVersionId;

use crate::{Config, section::Source};

/// The longest path of a Unix socket that Linux takes, without the closing zero.
const LONGEST_SOCKET_PATH: usize = 107;

pub(crate) fn combinations(config: &Config, source: &mut Source<'_>) {
    addresses(config, source);
    base_url(config, source);
    terms(config, source);
    object_store(config, source);
    previews(config, source);
    turn(config, source);
    if config.support.contacts.iter().any(|contact| contact.email.is_none() && contact.matrix_id.is_none()) {
        source.refuse("support.contacts", "needs an email or a matrix_id");
    }
    if matches!(config.rooms.default_version, RoomVersionId::V1 | RoomVersionId::V2 | RoomVersionId::_Custom(_)) {
        let version = &config.rooms.default_version;
        source
            .refuse("rooms.default_version", format!("room version {version} is not supported; \"12\" is the default"));
    }
    if config.federation.enabled {
        source
            .refuse("federation.enabled", "federation is not part of this version; remove the key or set it to false");
    }
    if !config.accounts.password_login && !config.accounts.token_login {
        source.refuse("accounts.password_login", "without token_login this leaves no way to log in");
    }
}

fn addresses(config: &Config, source: &mut Source<'_>) {
    let listen = &config.server.listen;
    if listen.is_empty() {
        source.refuse("server.listen", "must name at least one address, for example [\"127.0.0.1:8008\"]");
    }
    for (index, address) in listen.iter().enumerate() {
        if let Some(other) = listen[..index].iter().find(|other| overlap(**other, *address)) {
            let twice = if other == address {
                format!("names {address} twice")
            } else {
                format!("names {other} and {address}, of which one covers the other; keep one")
            };
            source.refuse("server.listen", twice);
        }
    }
    if let Some(metrics) = config.metrics.listen
        && listen.iter().any(|address| overlap(*address, metrics))
    {
        source.refuse("metrics.listen", format!("{metrics} is taken by server.listen; metrics have their own address"));
    }
    let socket = config.server.admin_socket();
    if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
        source.refuse(
            "server.admin_socket",
            format!("{} is longer than {LONGEST_SOCKET_PATH} bytes; set a shorter path", socket.display()),
        );
    }
}

/// Whether the system has no room for both: they are the same, or one stands for all addresses of its family. Families
/// share a port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port()
        && one.port() != 0
        && ip.is_ipv4() == other_ip.is_ipv4()
        && (ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified())
}

fn base_url(config: &Config, source: &mut Source<'_>) {
    let Some(url) = &config.server.base_url else { return };
    let wrong = match url.scheme() {
        "http" | "https" if url.query().is_some() || url.fragment().is_some() => {
            Some("must not have a query or a fragment")
        }
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => Some("must not hold a password"),
        "http" | "https" => None,
        _ => Some("must begin with https:// (or http://, for trying it out)"),
    };
    if let Some(wrong) = wrong {
        source.refuse("server.base_url", wrong);
    }
}

fn object_store(config: &Config, source: &mut Source<'_>) {
    let Some(store) = &config.media.store else { return };
    let url = &store.endpoint;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        source.refuse("media.store.endpoint", "must begin with https:// or http://");
    } else if !url.username().is_empty() || url.password().is_some() {
        source.refuse("media.store.endpoint", "must not hold a password; the keys are in files");
    }
    if store.bucket.is_empty() {
        source.refuse("media.store.bucket", "must not be empty");
    }
    if !store.path_style && url.domain().is_none() {
        source.refuse("media.store.path_style", "must be true where the endpoint is an IP address");
    }
    // Other names would be escaped on their way, and be others than the operator sees.
    let is_plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && (part.is_empty() || part.bytes().any(|byte| byte != b'.'))
    };
    if !store.prefix.split('/').all(is_plain) {
        source.refuse("media.store.prefix", "may have letters, digits, \"-\", \"_\", \".\" and \"/\"");
    }
}

fn previews(config: &Config, source: &mut Source<'_>) {
    let previews = &config.media.previews;
    for (key, hosts) in [("allowed_hosts", &previews.allowed_hosts), ("denied_hosts", &previews.denied_hosts)] {
        for host in hosts {
            let name = host.strip_prefix("*.").unwrap_or(host);
            let is_name = url::Host::parse(name).is_ok_and(|parsed| parsed.to_string() == name);
            if !is_name {
                let what = "is no name of a host in small letters, such as \"example.org\" or \"*.example.org\"";
                source.refuse(&format!("media.previews.{key}"), format!("\"{host}\" {what}"));
            }
        }
    }
    let is_header = |text: &str| !text.is_empty() && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !previews.user_agent.as_deref().is_none_or(is_header) {
        source.refuse("media.previews.user_agent", "must be plain letters, digits and signs");
    }
    if !is_header(&previews.accept_language) {
        source.refuse("media.previews.accept_language", "must be written as \"de, en;q=0.5\"");
    }
}

fn turn(config: &Config, source: &mut Source<'_>) {
    let turn = &config.turn;
    if let Some(uri) = turn.uris.iter().find(|uri| !uri.starts_with("turn:") && !uri.starts_with("turns:")) {
        source.refuse("turn.uris", format!("must begin with turn: or turns:, not as \"{uri}\""));
    }
    let knows_a_secret = turn.shared_secret_file.is_some();
    match (&turn.username, &turn.password_file) {
        (Some(_), None) => source.refuse("turn.username", "needs a password_file"),
        (None, Some(_)) => source.refuse("turn.password_file", "needs a username"),
        (None, None) if !knows_a_secret && !turn.uris.is_empty() => {
            source.refuse("turn.uris", "needs a shared_secret_file, or a username and a password_file");
        }
        _ => {}
    }
    if turn.uris.is_empty() && (knows_a_secret || turn.password_file.is_some()) {
        source.refuse("turn.uris", "must name at least one server, or the other keys are for nothing");
    }
}

fn terms(config: &Config, source: &mut Source<'_>) {
    let mut versions = BTreeMap::new();
    let mut seen = Vec::new();
    for term in &config.registration.terms {
        let valid = !term.id.is_empty() && term.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !valid {
            source
                .refuse("registration.terms", format!("\"{}\" is no id: use letters, digits and underscores", term.id));
        }
        if *versions.entry(&term.id).or_insert(&term.version) != &term.version {
            source.refuse("registration.terms", format!("\"{}\" has two versions", term.id));
        }
        if seen.contains(&(&term.id, &term.language)) {
            source.refuse(
                "registration.terms",
                format!("\"{}\" stands twice in language \"{}\"", term.id, term.language),
            );
        }
        seen.push((&term.id, &term.language));
    }
}
