//! How many connections each address has. One host shall not take all places; a proxy may, for others come through it.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use depesche_store::Mutex;
use ipnet::IpNet;

/// How often the log says that an address has too many, in seconds.
const SAY_EVERY_S: u64 = 60;

/// Counts connections by address. Cloning shares it.
#[derive(Clone)]
pub struct Peers(Arc<Counted>);

struct Counted {
    most: usize,
    trusted: Vec<IpNet>,
    open: Mutex<HashMap<IpAddr, usize>>,
    begun: Instant,
    /// When the log may say it again, in seconds.
    quiet_until_s: AtomicU64,
}

/// The address has as many connections as it may.
#[derive(Debug)]
pub struct TooMany;

/// A connection that is counted while this lives.
pub struct Share(Option<(Peers, IpAddr)>);

impl Peers {
    /// So many for each address but these.
    pub fn new(most: usize, trusted: &[IpNet]) -> Self {
        Self(Arc::new(Counted {
            most,
            trusted: trusted.to_vec(),
            open: Mutex::default(),
            begun: Instant::now(),
            quiet_until_s: AtomicU64::new(0),
        }))
    }

    /// Counts a connection, if its address may have one more. Whoever is on this machine, or has no address, always may.
    pub fn admit(&self, peer: Option<SocketAddr>) -> Result<Share, TooMany> {
        let Some(address) = peer.map(|peer| peer.ip().to_canonical()).filter(|address| self.0.counts(address)) else {
            return Ok(Share(None));
        };
        let host = host(address);
        let mut open = self.0.open.lock();
        let connections = open.entry(host).or_default();
        if *connections >= self.0.most {
            drop(open);
            self.0.say(address);
            return Err(TooMany);
        }
        *connections += 1;
        drop(open);
        Ok(Share(Some((self.clone(), host))))
    }
}

impl Counted {
    fn counts(&self, address: &IpAddr) -> bool {
        !address.is_loopback() && !self.trusted.iter().any(|net| net.contains(address))
    }

    fn say(&self, address: IpAddr) {
        let now = self.begun.elapsed().as_secs();
        let quiet = self.quiet_until_s.load(Ordering::Relaxed);
        let next = now + SAY_EVERY_S;
        if now >= quiet && self.quiet_until_s.fetch_max(next, Ordering::Relaxed) == quiet {
            tracing::warn!(
                %address,
                most = self.most,
                "an address has as many connections as it may (limits.connections_per_address): more are closed. If it is \
                 your reverse proxy, name it in server.trusted_proxies"
            );
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((peers, host)) = self.0.take() else { return };
        let mut open = peers.0.open.lock();
        if let Some(connections) = open.get_mut(&host) {
            *connections -= 1;
            if *connections == 0 {
                open.remove(&host);
            }
        }
    }
}

/// What one host may call its own: an address, or the 64 bits that a network has for each.
fn host(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_and_a_proxy_has_all() {
        let peers = Peers::new(2, &["192.0.2.0/24".parse().expect("a network")]);
        let admit = |address: &str| peers.admit(Some(SocketAddr::new(address.parse().expect("an address"), 1)));
        for counted in ["198.51.100.7", "2001:db8::1"] {
            let first = admit(counted).expect("one");
            let _second = admit(counted).expect("two");
            assert!(admit(counted).is_err(), "{counted}");
            drop(first);
            let _third = admit(counted).expect("in the place of the first");
            assert!(admit(counted).is_err(), "{counted}");
        }
        assert!(peers.0.open.lock().is_empty(), "what was closed is forgotten");
        let _one = (admit("2001:db8::1"), admit("2001:db8::2"));
        assert!(admit("2001:db8::3").is_err() && admit("::ffff:198.51.100.7").is_ok());
        let shares: Vec<_> = (0..5).flat_map(|_| [admit("192.0.2.1"), admit("127.0.0.1"), admit("::1")]).collect();
        assert!(shares.iter().all(Result::is_ok));
        assert!((0..5).all(|_| peers.admit(None).is_ok()));
    }
}
