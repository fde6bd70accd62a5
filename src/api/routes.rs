//! The table of routes, by URL. A handler's module is the file its URL leads to: drop `_matrix`, the version and the
//! arguments, and `PUT /_matrix/client/v3/rooms/{}/send/{}/{}` is `client/rooms/send.rs`. Methods and paths themselves
//! come from ruma.

use std::sync::Arc;

use axum::Router;
use http::StatusCode;

use crate::{
    App, client, envelope, federation, media,
    route::{Endpoint, endpoint, raw_endpoint, unrecognized},
    r#static, uia, well_known,
};

/// Every endpoint that is served.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        // /.well-known/matrix/
        endpoint(well_known::client),
        endpoint(well_known::support),
        // /_matrix/client/
        endpoint(client::versions::get),
        // /_matrix/client/v3/account/
        endpoint(client::account::list),
        endpoint(client::account::add_old),
        endpoint(client::account::add).completes_the_body(uia::as_meant),
        endpoint(client::account::bind),
        endpoint(client::account::delete),
        endpoint(client::account::unbind),
        endpoint(client::account::request_by_email),
        endpoint(client::account::request_by_msisdn),
        endpoint(client::account::password::request_by_email),
        endpoint(client::account::password::request_by_msisdn),
        endpoint(client::account::deactivate::post).completes_the_body(uia::as_meant),
        endpoint(client::account::password::post).completes_the_body(uia::as_meant),
        endpoint(client::account::whoami::get),
        // /_matrix/client/v1/admin/, v3/admin/
        endpoint(client::admin::lock::get),
        endpoint(client::admin::lock::put),
        endpoint(client::admin::suspend::get),
        endpoint(client::admin::suspend::put),
        endpoint(client::admin::whois::get),
        // /_matrix/client/v3/auth/
        endpoint(client::auth::get),
        endpoint(client::auth::post).form(),
        // /_matrix/client/v3/capabilities
        endpoint(client::capabilities::get),
        // /_matrix/client/v3/createRoom
        endpoint(client::create_room::post),
        // /_matrix/client/v3/devices, delete_devices
        endpoint(client::delete_devices::post).completes_the_body(uia::as_meant),
        endpoint(client::devices::list),
        endpoint(client::devices::get),
        endpoint(client::devices::put),
        endpoint(client::devices::delete).completes_the_body(uia::as_meant),
        // /_matrix/client/v3/directory/, join, joined_rooms
        endpoint(client::directory::list::room::get),
        endpoint(client::directory::list::room::put),
        endpoint(client::directory::room::get),
        endpoint(client::directory::room::put),
        endpoint(client::directory::room::delete),
        endpoint(client::join::post).hints_at_servers(&["via", "server_name"]),
        endpoint(client::joined_rooms::get),
        // /_matrix/client/v3/events, initialSync
        endpoint(client::events::get),
        endpoint(client::events::get_one),
        endpoint(client::initial_sync::get),
        // /_matrix/client/v3/keys/
        endpoint(client::keys::changes::get),
        endpoint(client::keys::claim::post),
        endpoint(client::keys::device_signing::upload).completes_the_body(uia::as_meant),
        endpoint(client::keys::query::post).reads(),
        endpoint(client::keys::signatures::upload),
        endpoint(client::keys::upload::post).large_body().completes_the_body(client::keys::upload::as_meant),
        // /_matrix/client/v3/knock
        endpoint(client::knock::post).hints_at_servers(&["via", "server_name"]),
        // /_matrix/client/v3/login, logout, refresh
        endpoint(client::login::get),
        // ruma's reader of a login panics without this field.
        endpoint(client::login::post).needs("type").completes_the_body(client::login::as_meant),
        endpoint(client::login::get_token).completes_the_body(uia::as_meant),
        endpoint(client::logout::post).for_leaving(),
        endpoint(client::logout::all).for_leaving(),
        endpoint(client::refresh::post),
        // /_matrix/client/v3/notifications, pushers
        endpoint(client::notifications::get),
        endpoint(client::pushers::get),
        // ruma's reader takes a missing kind for null, and removes the pusher.
        endpoint(client::pushers::set).needs("kind").missing_is_a_parameter(),
        // /_matrix/client/v1/media/
        endpoint(client::media::config::get),
        raw_endpoint(client::media::download::get),
        raw_endpoint(client::media::download::get_as),
        endpoint(client::media::preview_url::get),
        raw_endpoint(client::media::thumbnail::get),
        // /_matrix/client/v1/mutual_rooms
        endpoint(client::mutual_rooms::get),
        // /_matrix/client/v3/presence/
        endpoint(client::presence::get),
        endpoint(client::presence::put),
        // /_matrix/client/v3/pushrules/
        endpoint(client::pushrules::get),
        endpoint(client::pushrules::global::get_all),
        endpoint(client::pushrules::global::get),
        endpoint(client::pushrules::global::put).completes_the_body(client::pushrules::global::rule_as_meant),
        endpoint(client::pushrules::global::delete),
        endpoint(client::pushrules::global::get_actions),
        endpoint(client::pushrules::global::put_actions)
            .completes_the_body(client::pushrules::global::actions_as_meant),
        endpoint(client::pushrules::global::get_enabled),
        endpoint(client::pushrules::global::put_enabled).flag_may_be_bare("enabled"),
        // /_matrix/client/v3/profile/
        endpoint(client::profile::get),
        endpoint(client::profile::get_field),
        endpoint(client::profile::put).missing_is_a_parameter(),
        endpoint(client::profile::delete),
        // /_matrix/client/v3/publicRooms
        endpoint(client::public_rooms::get),
        endpoint(client::public_rooms::post).reads(),
        // /_matrix/client/v3/register
        endpoint(client::register::post).completes_the_body(uia::as_meant),
        endpoint(client::register::available),
        endpoint(client::register::request_by_email),
        endpoint(client::register::request_by_msisdn),
        endpoint(client::register::token_validity),
        // /_matrix/client/v1/room_summary/
        endpoint(client::room_summary::get).hints_at_servers(&["via"]),
        // /_matrix/client/v3/rooms/{roomId}/
        endpoint(client::rooms::aliases::get),
        endpoint(client::rooms::ban::post),
        endpoint(client::rooms::context::get),
        endpoint(client::rooms::event::get),
        endpoint(client::rooms::forget::post),
        endpoint(client::rooms::hierarchy::get),
        endpoint(client::rooms::initial_sync::get).large_answer(),
        endpoint(client::rooms::invite::post),
        endpoint(client::rooms::join::post),
        endpoint(client::rooms::joined_members::get).large_answer(),
        endpoint(client::rooms::kick::post),
        endpoint(client::rooms::leave::post),
        endpoint(client::rooms::members::get).large_answer(),
        endpoint(client::rooms::messages::get),
        endpoint(client::rooms::read_markers::post),
        endpoint(client::rooms::receipt::post).wrong_is_a_parameter(),
        endpoint(client::rooms::redact::put).optional_body(),
        endpoint(client::rooms::report::room).needs("reason"),
        endpoint(client::rooms::report::event),
        endpoint(client::rooms::relations::get),
        endpoint(client::rooms::relations::get_of_type),
        endpoint(client::rooms::relations::get_of_event_type),
        // Not at once what is to be sent later.
        endpoint(client::rooms::send::put).without("org.matrix.msc4140.delay"),
        endpoint(client::rooms::state::get_all).large_answer(),
        endpoint(client::rooms::state::get).last_may_be_empty(),
        endpoint(client::rooms::state::put).last_may_be_empty().without("org.matrix.msc4140.delay"),
        endpoint(client::rooms::threads::get),
        endpoint(client::rooms::timestamp_to_event::get),
        endpoint(client::rooms::typing::put).completes_the_body(client::rooms::typing::with_timeout),
        endpoint(client::rooms::unban::post),
        endpoint(client::rooms::upgrade::post).completes_the_body(client::rooms::upgrade::as_meant),
        // /_matrix/client/v3/room_keys/
        endpoint(client::room_keys::keys::put).large_body(),
        endpoint(client::room_keys::keys::put_room).large_body(),
        endpoint(client::room_keys::keys::put_session),
        raw_endpoint(client::room_keys::keys::get),
        raw_endpoint(client::room_keys::keys::get_room),
        endpoint(client::room_keys::keys::get_session),
        endpoint(client::room_keys::keys::delete),
        endpoint(client::room_keys::keys::delete_room),
        endpoint(client::room_keys::keys::delete_session),
        endpoint(client::room_keys::version::post),
        endpoint(client::room_keys::version::get_latest),
        endpoint(client::room_keys::version::get),
        endpoint(client::room_keys::version::put),
        endpoint(client::room_keys::version::delete),
        // /_matrix/client/v3/search
        endpoint(client::search::post).reads(),
        // /_matrix/client/v3/sendToDevice/
        endpoint(client::send_to_device::put).large_body(),
        // /_matrix/client/v3/sync
        endpoint(client::sync::get),
        // /_matrix/client/v3/thirdparty/
        endpoint(client::thirdparty::protocols),
        endpoint(client::thirdparty::protocol),
        endpoint(client::thirdparty::location),
        endpoint(client::thirdparty::location_of_alias),
        endpoint(client::thirdparty::user),
        endpoint(client::thirdparty::user_of_id),
        // /_matrix/client/v3/user/
        endpoint(client::user::account_data::put),
        endpoint(client::user::account_data::get),
        endpoint(client::user::filter::post),
        endpoint(client::user::filter::get),
        endpoint(client::user::mutual_rooms::get),
        endpoint(client::user::openid::request_token),
        endpoint(client::user::rooms::account_data::put),
        endpoint(client::user::rooms::account_data::get),
        endpoint(client::user::rooms::tags::get),
        endpoint(client::user::rooms::tags::put).optional_body(),
        endpoint(client::user::rooms::tags::delete),
        // /_matrix/client/v3/user_directory/
        endpoint(client::user_directory::search::post).reads(),
        // /_matrix/client/v3/users/
        endpoint(client::users::report::post),
        // /_matrix/client/v3/voip/
        endpoint(client::voip::turn_server),
        // /_matrix/federation/
        endpoint(federation::openid::userinfo),
        // /_matrix/media/
        endpoint(media::config::get),
        endpoint(media::create::post),
        raw_endpoint(media::download::get),
        raw_endpoint(media::download::get_as),
        endpoint(media::preview_url::get),
        raw_endpoint(media::thumbnail::get),
        raw_endpoint(media::upload::post),
        raw_endpoint(media::upload::put),
        // /_matrix/static/
        endpoint(r#static::get),
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
    /// The field of the query that it refuses, where it is one of a proposal that is not served.
    pub without: Option<&'static str>,
    /// Whether who asks too often is told to wait.
    pub limited: bool,
}

/// Every endpoint that is served, by which file, and how.
pub fn listing() -> Vec<Routed> {
    let routed = |endpoint: &Endpoint| {
        let module = endpoint.handler().rsplit_once("::").map_or("", |(module, _)| module);
        Routed {
            method: endpoint.method().to_string(),
            paths: endpoint.paths().to_vec(),
            file: format!("src/api/{}.rs", module.replace("::", "/")),
            without: endpoint.unserved_query(),
            limited: endpoint.is_limited(),
        }
    };
    endpoints().iter().map(routed).collect()
}
