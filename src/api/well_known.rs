//! `/.well-known/matrix/`: how clients find the server, and people its administrators.
//!
//! Served only when configured; otherwise another web server may answer for the domain.
//! <https://spec.matrix.org/v1.19/client-server-api/#server-discovery>

use ruma::api::client::discovery::{
    discover_homeserver::{self, HomeserverInfo},
    discover_support::{self, Contact},
};

use crate::{caller::Anyone, error::Error, route::Context};

/// Whom to ask for help.
#[derive(Clone, Debug)]
pub struct Support {
    /// People in charge, with an address for mail or a Matrix id.
    pub contacts: Vec<Contact>,
    /// A page for users.
    pub support_page: Option<String>,
}

/// `GET /.well-known/matrix/client`
pub async fn client(
    context: Context,
    _: Anyone,
    _: discover_homeserver::Request,
) -> Result<discover_homeserver::Response, Error> {
    match context.app.client_base_url.clone() {
        Some(base_url) => Ok(discover_homeserver::Response::new(HomeserverInfo { base_url })),
        None => Err(Error::not_found("This server does not say how clients reach it")),
    }
}

/// `GET /.well-known/matrix/support`
pub async fn support(
    context: Context,
    _: Anyone,
    _: discover_support::Request,
) -> Result<discover_support::Response, Error> {
    match context.app.support.clone() {
        Some(Support { contacts, support_page }) => Ok(discover_support::Response { contacts, support_page }),
        None => Err(Error::not_found("This server names no contacts")),
    }
}
