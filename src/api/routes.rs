//! The table of routes, by URL. A handler's module is the file its URL leads to: drop `_matrix`, the version and the
//! arguments, and `PUT /_matrix/client/v3/rooms/{}/send/{}/{}` is `client/rooms/send.rs`. Methods and paths themselves
//! come from ruma.

use std::sync::Arc;

use axum::Router;
use http::StatusCode;

use crate::{
    App, client, envelope,
    route::{Endpoint, endpoint, unrecognized},
    well_known,
};

/// Every endpoint that is served.
fn endpoints() -> Vec<Endpoint> {
    vec![
        // /.well-known/matrix/
        endpoint(well_known::client),
        endpoint(well_known::support),
        // /_matrix/client/
        endpoint(client::versions::get),
        // /_matrix/client/v3/
        endpoint(client::capabilities::get),
        endpoint(client::create_room::post),
        endpoint(client::directory::room::get),
        endpoint(client::directory::room::put),
        endpoint(client::directory::room::delete),
        endpoint(client::join::post),
        endpoint(client::joined_rooms::get),
        endpoint(client::knock::post),
        endpoint(client::sync::get),
        // /_matrix/client/v3/rooms/{roomId}/
        endpoint(client::rooms::aliases::get),
        endpoint(client::rooms::ban::post),
        endpoint(client::rooms::context::get),
        endpoint(client::rooms::event::get),
        endpoint(client::rooms::forget::post),
        endpoint(client::rooms::invite::post),
        endpoint(client::rooms::join::post),
        endpoint(client::rooms::joined_members::get),
        endpoint(client::rooms::kick::post),
        endpoint(client::rooms::leave::post),
        endpoint(client::rooms::members::get),
        endpoint(client::rooms::messages::get),
        endpoint(client::rooms::redact::put),
        endpoint(client::rooms::send::put),
        endpoint(client::rooms::state::get_all),
        endpoint(client::rooms::state::get).last_may_be_empty(),
        endpoint(client::rooms::state::put).last_may_be_empty(),
        endpoint(client::rooms::unban::post),
    ]
}

/// The router of everything a Matrix client may ask.
pub fn router(app: &Arc<App>) -> Router {
    let router = endpoints().into_iter().fold(Router::new(), |router, endpoint| endpoint.mount(router, app));
    // The second of these holds for the routes that are there when it is set.
    let router = router
        .fallback(|request| unrecognized(StatusCode::NOT_FOUND, request))
        .method_not_allowed_fallback(|request| unrecognized(StatusCode::METHOD_NOT_ALLOWED, request));
    envelope::around(router)
}

/// One endpoint of the table of routes, for the endpoint ledger.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Routed {
    /// The method.
    pub method: String,
    /// All its paths, with ruma's names for their arguments: `/_matrix/client/v3/rooms/{room_id}/state`.
    pub paths: Vec<String>,
    /// The file of the handler, from the root of the repository.
    pub file: String,
}

/// Every endpoint that is served, and by which file.
pub fn listing() -> Vec<Routed> {
    let routed = |endpoint: &Endpoint| {
        let module = endpoint.handler().rsplit_once("::").map_or("", |(module, _)| module);
        Routed {
            method: endpoint.method().to_string(),
            paths: endpoint.paths().to_vec(),
            file: format!("src/api/{}.rs", module.replace("::", "/")),
        }
    };
    endpoints().iter().map(routed).collect()
}
