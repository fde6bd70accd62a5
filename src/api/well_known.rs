//! `/.well-known/matrix/`: how clients find the server, and people its administrators.
//!
//! Served only when configured; otherwise another web server may answer for the domain.
//! <https://spec.matrix.org/v1.19/client-server-api/#server-discovery>

use depesche_config::Support;
use ruma::api::client::discovery::{
    discover_homeserver::{self, HomeserverInfo},
    discover_support::{self, Contact, ContactRole},
};

use crate::{caller::Anyone, error::Error, route::Context};

/// `GET /.well-known/matrix/client`
pub async fn client(
    context: Context,
    _: Anyone,
    _: discover_homeserver::Request,
) -> Result<discover_homeserver::Response, Error> {
    match &context.app.config.server.base_url {
        Some(base_url) => {
            let base_url = base_url.as_str().trim_end_matches('/').to_owned();
            Ok(discover_homeserver::Response::new(HomeserverInfo { base_url }))
        }
        None => Err(Error::not_found("This server does not say how clients reach it")),
    }
}

/// `GET /.well-known/matrix/support`
pub async fn support(
    context: Context,
    _: Anyone,
    _: discover_support::Request,
) -> Result<discover_support::Response, Error> {
    let Support { page, contacts } = &context.app.config.support;
    if page.is_none() && contacts.is_empty() {
        return Err(Error::not_found("This server names no contacts"));
    }
    let support_page = page.as_ref().map(ToString::to_string);
    Ok(discover_support::Response { contacts: contacts.iter().map(contact).collect(), support_page })
}

fn contact(contact: &depesche_config::Contact) -> Contact {
    let depesche_config::Contact { role, email, matrix_id } = contact;
    Contact { role: ContactRole::from(role.as_str()), email_address: email.clone(), matrix_id: matrix_id.clone() }
}
