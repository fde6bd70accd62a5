//! Which addresses a request may go to: public ones, and those the operator allows, without those the operator denies.
//!
//! The lists follow the IANA special-purpose registries
//! ([IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry/),
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry/)): what is not globally reachable is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Says which addresses may be reached, and resolves names to no others.
#[derive(Clone, Debug)]
pub struct Guard {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
}

/// A name or address that may not be reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the address is not public, and not among those allowed")]
pub struct NotPublic;

impl Guard {
    /// Allows public addresses and these.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed, denied: Vec::new() }
    }

    /// Refuses these, whatever else is said of them.
    pub fn without(self, denied: Vec<IpNet>) -> Self {
        Self { denied, ..self }
    }

    /// Whether an address may be reached.
    pub fn admits(&self, address: IpAddr) -> bool {
        // A mapped address is the IPv4 address in it, to the lists as to the kernel.
        let address = address.to_canonical();
        let is_in = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address) || is_translated_into(net, address));
        !is_in(&self.denied) && (is_public(address) || is_in(&self.allowed))
    }

    /// Refuses a URL that names an address which may not be reached. Names are looked at when they are resolved; an
    /// address in the URL is never resolved, so it has to be looked at here.
    pub fn check(&self, url: &url::Url) -> Result<(), NotPublic> {
        let literal = match url.host() {
            Some(url::Host::Ipv4(address)) => IpAddr::from(address),
            Some(url::Host::Ipv6(address)) => IpAddr::from(address),
            Some(url::Host::Domain(_)) => return Ok(()),
            None => return Err(NotPublic),
        };
        if self.admits(literal) { Ok(()) } else { Err(NotPublic) }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> = found.filter(|address| guard.admits(address.ip())).collect();
            if admitted.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one by which a translator reaches this network.
fn is_translated_into(net: &IpNet, address: IpAddr) -> bool {
    let IpAddr::V6(address) = address else { return false };
    translated(address).is_some_and(|address| net.contains(&IpAddr::from(address)))
}

/// The IPv4 address that a translator (NAT64) reaches by this one.
fn translated(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    (address.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| Ipv4Addr::new(a, b, c, d))
}

/// Whether an address is globally reachable.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    match (a, b) {
        // This network, loopback, multicast and what is reserved; private networks, shared address space, link-local;
        // benchmarking.
        (0 | 10 | 127 | 224..=255, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) | (169, 254) | (198, 18..=19) => {
            false
        }
        // Protocol assignments, documentation, the 6to4 relay, documentation.
        (192, 0) => !matches!(c, 0 | 2),
        (192, 88) => c != 99,
        (198, 51) => c != 100,
        (203, 0) => c != 113,
        _ => true,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    if let Some(reached) = translated(address) {
        return is_public_v4(reached);
    }
    let global_unicast = segments[0] & 0xe000 == 0x2000;
    // Protocol assignments (Teredo among them), documentation, 6to4.
    let special = (segments[0] == 0x2001 && (segments[1] < 0x0200 || segments[1] == 0x0db8))
        || segments[0] == 0x2002
        || (segments[0] == 0x3fff && segments[1] < 0x1000);
    global_unicast && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIVATE: [&str; 41] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "fc00::1",
        "fdff::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];
    const PUBLIC: [&str; 13] = [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450::1",
        "64:ff9b::101:101",
        "::ffff:1.1.1.1",
    ];

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn public_addresses_and_others() {
        for text in PRIVATE {
            assert!(!is_public(address(text)), "{text}");
        }
        for text in PUBLIC {
            assert!(is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn an_operator_may_allow_more() {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for text in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "1.1.1.1"] {
            assert!(guard.admits(address(text)), "{text}");
        }
        for text in ["10.0.0.1", "::1", "fc00::1"] {
            assert!(!guard.admits(address(text)), "{text}");
        }
    }

    #[test]
    fn an_operator_may_deny_what_is_public_or_allowed() {
        let nets = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap()).to_vec();
        let guard = Guard::new(nets(["10.0.0.0/8", "fd00::/8"])).without(nets(["10.1.0.0/16", "1.1.1.0/24"]));
        for text in ["10.2.0.1", "1.1.2.1", "fd00::1", "64:ff9b::10.2.0.1", "64:ff9b::1.1.2.1"] {
            assert!(guard.admits(address(text)), "{text}");
        }
        for text in ["10.1.0.1", "1.1.1.1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "64:ff9b::10.1.0.1", "127.0.0.1"] {
            assert!(!guard.admits(address(text)), "{text}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_looked_at_in_every_spelling() {
        let guard = Guard::new(Vec::new());
        let check = |url: &str| guard.check(&url::Url::parse(url).unwrap());
        for url in ["https://127.0.0.1/", "https://2130706433/", "https://0x7f.1/", "https://[::1]/", "https://0/"] {
            assert_eq!(check(url), Err(NotPublic), "{url}");
        }
        assert_eq!(check("https://1.1.1.1/"), Ok(()));
        assert_eq!(check("https://localhost/"), Ok(()), "a name is looked at when it is resolved");
    }

    #[tokio::test]
    async fn a_name_of_loopback_resolves_only_if_allowed() {
        let name = || "localhost".parse::<Name>().unwrap();
        assert!(Guard::new(Vec::new()).resolve(name()).await.is_err());
        let allowed = Guard::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()]);
        assert!(allowed.resolve(name()).await.unwrap().count() > 0);
    }
}
