//! Tells systemd how far the start is: the protocol of sd_notify(3), which is a datagram to a socket.

use std::{
    ffi::OsStr,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Sends this state if a service manager waits for it.
pub fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "the service manager does not hear us");
    }
}

fn send(socket: &OsStr, state: &str) -> std::io::Result<()> {
    // A name that begins with @ is no file but lives in Linux' abstract namespace.
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::OsString,
        os::{
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixDatagram},
        },
    };

    use super::send;

    fn heard(listener: &UnixDatagram, socket: &OsString) -> String {
        send(socket, "READY=1").expect("sent");
        let mut buffer = [0; 32];
        let length = listener.recv(&mut buffer).expect("received");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn both_kinds_of_socket_hear() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let listener = UnixDatagram::bind(&path).expect("bound");
        assert_eq!(heard(&listener, &path.into_os_string()), "READY=1");

        let name = format!("depesche-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listener = UnixDatagram::bind_addr(&address).expect("bound");
        assert_eq!(heard(&listener, &format!("@{name}").into()), "READY=1");
    }
}
