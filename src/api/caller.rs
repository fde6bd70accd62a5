//! Who asks: the access token of a request and the address it came from.
//!
//! An endpoint's authentication scheme, as ruma has it from the specification, decides what its handler is told about
//! the caller ([`Scheme::Caller`]): a handler cannot be registered with the wrong one. See "Using access tokens":
//! <https://spec.matrix.org/v1.19/client-server-api/#using-access-tokens>.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Once},
};

use axum::extract::ConnectInfo;
use depesche_server::{
    Server,
    accounts::{AuthenticateError, Caller},
};
use http::{HeaderMap, request::Parts};
use ipnet::IpNet;
use ruma::{
    OwnedDeviceId, OwnedUserId, UserId,
    api::auth_scheme::{
        AccessToken, AccessTokenOptional, AppserviceTokenOptional, AuthScheme, NoAccessToken, NoAuthentication,
    },
};

use crate::error::Error;

/// Where a proxy says for whom it asks.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// A user who showed a valid access token.
#[derive(Clone, Debug)]
pub struct User {
    /// Whose token it is.
    pub user_id: OwnedUserId,
    /// The device the token belongs to.
    pub device_id: OwnedDeviceId,
    /// May read and leave, but not write.
    pub suspended: bool,
    /// May administer the server.
    pub admin: bool,
}

impl User {
    /// Refuses a request whose path names somebody else's data.
    pub fn must_be(&self, named: &UserId) -> Result<(), Error> {
        if self.user_id == named { Ok(()) } else { Err(Error::forbidden("These data belong to another user")) }
    }

    /// Refuses what a suspended account may not do: what the specification recommends to forbid, and what comes to the
    /// same (creating and upgrading rooms, changing state, aliases and publication, uploading). What it names in neither
    /// of its lists and tells others nothing new stays allowed: typing, presence, reports, tokens of OpenID.
    ///
    /// See <https://spec.matrix.org/v1.19/client-server-api/#account-suspension>.
    pub fn must_not_be_suspended(&self) -> Result<(), Error> {
        if self.suspended { Err(Error::suspended()) } else { Ok(()) }
    }

    /// Refuses who was logged out or locked since the request came: one that waited must not answer them.
    pub async fn must_still_be_here(&self, server: &Server) -> Result<(), Error> {
        let now = server.accounts.again(&self.user_id, &self.device_id).await?;
        if now.locked { Err(Error::locked()) } else { Ok(()) }
    }

    /// Refuses who is no administrator of the server, before anything is looked up.
    pub fn must_be_admin(&self) -> Result<(), Error> {
        if self.admin { Ok(()) } else { Err(Error::forbidden("You are not a server administrator")) }
    }
}

/// Who asked, as a mark on the answer: the log line of the request names the user.
#[derive(Clone, Debug)]
pub struct AnsweredTo(pub OwnedUserId);

/// Nobody in particular: the endpoint does not ask who it is.
#[derive(Clone, Copy, Debug)]
pub struct Anyone;

/// Whether an endpoint looks at the access token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// The token is not even read.
    Nothing,
    /// A token may be missing, but not wrong.
    Optional,
    /// No answer without a valid token.
    Required,
}

/// What an authentication scheme of the specification means for a handler.
pub trait Scheme: AuthScheme {
    /// What the handler learns of the caller.
    type Caller: Send + 'static;
    /// What is done before the body is read.
    const NEED: Need;
    /// The caller from what authentication found.
    fn caller(user: Option<User>) -> Result<Self::Caller, Error>;
}

impl Scheme for AccessToken {
    type Caller = User;
    const NEED: Need = Need::Required;
    fn caller(user: Option<User>) -> Result<User, Error> {
        user.ok_or_else(Error::missing_token)
    }
}

impl Scheme for AccessTokenOptional {
    type Caller = Option<User>;
    const NEED: Need = Need::Optional;
    fn caller(user: Option<User>) -> Result<Option<User>, Error> {
        Ok(user)
    }
}

/// Logging in and registering: only application services show a token there, and there are none yet.
impl Scheme for AppserviceTokenOptional {
    type Caller = Anyone;
    const NEED: Need = Need::Nothing;
    fn caller(_: Option<User>) -> Result<Anyone, Error> {
        Ok(Anyone)
    }
}

impl Scheme for NoAccessToken {
    type Caller = Anyone;
    const NEED: Need = Need::Nothing;
    fn caller(_: Option<User>) -> Result<Anyone, Error> {
        Ok(Anyone)
    }
}

impl Scheme for NoAuthentication {
    type Caller = Anyone;
    const NEED: Need = Need::Nothing;
    fn caller(_: Option<User>) -> Result<Anyone, Error> {
        Ok(Anyone)
    }
}

/// How an endpoint authenticates.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    /// Whether it asks at all.
    pub need: Need,
    /// Whether it also serves locked accounts and access tokens that have expired, as logging out does.
    pub ends: bool,
}

/// The user of a request, as far as the endpoint wants to know.
pub async fn authenticate(
    server: &Arc<Server>,
    admission: Admission,
    request: &Parts,
    address: Option<IpAddr>,
) -> Result<Option<User>, Error> {
    if admission.need == Need::Nothing {
        return Ok(None);
    }
    let Some(token) = token(request)? else {
        return if admission.need == Need::Required { Err(Error::missing_token()) } else { Ok(None) };
    };
    let accounts = &server.accounts;
    let caller = if admission.ends {
        accounts.authenticate_for_logout(&token).await?
    } else {
        accounts.authenticate(&token).await?
    };
    let Caller { user, device, locked, suspended, admin } = caller;
    if locked && !admission.ends {
        return Err(Error::locked());
    }
    note_seen(server, &user, &device, address);
    Ok(Some(User { user_id: user, device_id: device, suspended, admin }))
}

/// Notes that the device was there, beside the answer: the caller does not wait for it.
fn note_seen(server: &Arc<Server>, user: &OwnedUserId, device: &OwnedDeviceId, address: Option<IpAddr>) {
    let key = (user.clone(), device.clone());
    if server.devices.saw_lately(&key) {
        return;
    }
    let server = Arc::clone(server);
    tokio::spawn(async move { server.devices.saw(&key.0, &key.1, address).await });
}

impl From<AuthenticateError> for Error {
    fn from(error: AuthenticateError) -> Self {
        match error {
            AuthenticateError::Unknown => Self::unknown_token(false),
            AuthenticateError::Expired | AuthenticateError::Lost => Self::unknown_token(true),
            AuthenticateError::Fault(fault) => fault.into(),
        }
    }
}

/// The token of the `Authorization` header. One in the query is not read: addresses end up in the logs of proxies.
fn token(parts: &Parts) -> Result<Option<String>, Error> {
    let Some(value) = parts.headers.get(http::header::AUTHORIZATION) else { return Ok(None) };
    let value = value.to_str().map_err(|unreadable| Error::unknown_token(false).caused_by(unreadable))?;
    Ok(value.split_once(' ').and_then(|(scheme, token)| {
        // Credentials of another scheme are none of ours.
        (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then(|| token.trim().to_owned())
    }))
}

/// The address a request came from: the connection's peer, or, behind `trusted` proxies, the last address in
/// `X-Forwarded-For` that is not one of them. What stands before that one could have been written by anybody.
///
/// The first header that is not believed is `told` to the operator: it may come from a proxy that nobody named.
pub fn client_address(parts: &Parts, trusted: &[IpNet], told: &Once) -> Option<IpAddr> {
    // Requests over a unix socket and in tests have no peer address.
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    let peer = peer.ip().to_canonical();
    if parts.headers.contains_key(FORWARDED_FOR) && !is_among(&peer, trusted) {
        told.call_once(|| {
            tracing::warn!(
                %peer,
                "X-Forwarded-For comes from an address that is not in server.trusted_proxies, and is not believed. If it is \
                 your reverse proxy, name it there: until then all who come through it share one address and its limits"
            );
        });
    }
    Some(behind_proxies(peer, &parts.headers, trusted))
}

fn is_among(address: &IpAddr, networks: &[IpNet]) -> bool {
    networks.iter().any(|network| network.contains(address))
}

fn behind_proxies(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let forwarded: Vec<_> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|item| item.trim().parse::<IpAddr>())
        .collect();
    let mut address = peer;
    for hop in forwarded.into_iter().rev() {
        if !is_among(&address, trusted) {
            break;
        }
        // An unreadable entry says nothing of where the request came from: stay with the proxy that passed it on.
        let Ok(hop) = hop else { break };
        address = hop.to_canonical();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str, authorization: Option<&str>) -> Parts {
        let mut request = http::Request::get(uri);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_token_comes_from_the_header_alone() {
        let of = |uri, header| token(&parts(uri, header)).unwrap();
        assert_eq!(of("/a?access_token=q", None), None);
        assert_eq!(of("/a?access_token=q", Some("Bearer h")).as_deref(), Some("h"));
        assert_eq!(of("/a", Some("bearer h")).as_deref(), Some("h"));
        assert_eq!(of("/a", Some("Basic aaaa")), None);
        assert_eq!(of("/a", Some("Bearer ")), None);
        assert_eq!(of("/a", None), None);
    }

    #[test]
    fn a_proxy_that_nobody_named_is_told_once() {
        let told = Once::new();
        let from = |peer: &str, forwarded: bool| {
            let mut parts = parts("/a", None);
            parts.extensions.insert(ConnectInfo(SocketAddr::new(peer.parse().unwrap(), 1)));
            if forwarded {
                parts.headers.insert(FORWARDED_FOR, "198.51.100.7".parse().unwrap());
            }
            client_address(&parts, &["10.0.0.0/8".parse().unwrap()], &told).unwrap().to_string()
        };
        assert_eq!((from("10.0.0.1", true), from("172.18.0.1", false)), ("198.51.100.7".into(), "172.18.0.1".into()));
        assert!(!told.is_completed(), "nothing was refused");
        assert_eq!(from("172.18.0.1", true), "172.18.0.1");
        assert!(told.is_completed());
    }

    #[test]
    fn only_trusted_proxies_say_where_a_request_came_from() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let address = |peer: &str, forwarded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            behind_proxies(peer.parse().unwrap(), &headers, &trusted).to_string()
        };
        assert_eq!(address("192.0.2.1", "198.51.100.7"), "192.0.2.1");
        assert_eq!(address("10.0.0.1", "198.51.100.7"), "198.51.100.7");
        assert_eq!(address("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2"), "198.51.100.7");
        assert_eq!(address("10.0.0.1", "rubbish"), "10.0.0.1");
        assert_eq!(address("10.0.0.1", "::ffff:198.51.100.7"), "198.51.100.7");
    }
}
