//! ruma's endpoint types on axum's router, type-erased.
//!
//! An [`Endpoint`] is made from a handler alone: its request type knows method, paths and authentication. Per endpoint
//! only decoding, the handler and encoding are compiled anew ([`erase`]); what surrounds them is one function for all
//! ([`Endpoint::answer`]).
//!
//! | file | what |
//! |---|---|
//! | `options.rs` | what is not the rule for an endpoint |
//! | `answer.rs` | what is done with every request, for all endpoints alike |
//! | `incoming.rs` | from what has arrived to ruma's request, and back from its answer |
//! | `query.rs` | what is done with a query before ruma reads it |
//! | `own.rs` | requests and answers that ruma's types cannot say |

mod answer;
mod incoming;
mod options;
mod own;
mod query;

use std::{future::Future, net::IpAddr, sync::Arc};

use axum::{
    Router,
    extract::Request,
    response::Response,
    routing::{MethodFilter, on},
};
use bytes::Bytes;
use depesche_rules::bounds::MAX_BODY_BYTES;
use futures::future::BoxFuture;
use http::Method;
use ruma::api::{IncomingRequest, error::ErrorKind, path_builder::PathBuilder};

use self::incoming::{Incoming, encode};
pub(crate) use self::{answer::unrecognized, own::described_as};
pub use self::{
    incoming::Raw,
    own::{Answering, JsonResponse, MaybeOfService},
};
use crate::{
    App,
    caller::{Admission, Scheme, User},
    error::Error,
    rate_limit::Class,
};

/// What a handler gets besides its caller and its request.
#[derive(Clone)]
pub struct Context {
    /// The server and its settings.
    pub app: Arc<App>,
    /// Where the request came from, if it came over the network.
    pub client_address: Option<IpAddr>,
}

/// The caller as the authentication scheme of a request type has it.
pub type CallerOf<R> = <<R as ruma::api::Metadata>::Authentication as Scheme>::Caller;

/// One endpoint of the specification with its handler.
pub struct Endpoint {
    method: Method,
    paths: Vec<String>,
    handler: &'static str,
    admission: Admission,
    body_limit: usize,
    missing_field: ErrorKind,
    optional_body: bool,
    form: bool,
    bare_flag: Option<&'static str>,
    needed_field: Option<&'static str>,
    server_hints: &'static [&'static str],
    unserved_query: Option<&'static str>,
    is_raw: bool,
    course: Course,
    class: Option<Class>,
    wrong_value: ErrorKind,
    complete: fn(Bytes) -> Bytes,
    call: Call,
}

/// How a request is carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Course {
    /// To its end, whether or not the client waits for the answer.
    Change,
    /// As long as the client waits.
    Read,
    /// The same, when its turn has come.
    LargeRead,
}

/// Decodes, calls the handler, encodes.
type Call = Box<dyn Fn(Context, Option<User>, Incoming) -> BoxFuture<'static, Result<Response, Error>> + Send + Sync>;

/// The endpoint that this handler serves, for bytes that are no JSON: the handler reads the request's body piece by
/// piece, and writes its answer itself. ruma's request has everything but the body.
pub fn raw_endpoint<R, H, F>(handler: H) -> Endpoint
where
    R: IncomingRequest<Authentication: Scheme> + Send + 'static,
    H: Fn(Context, CallerOf<R>, R, Raw) -> F + Send + Sync + 'static,
    F: Future<Output = Result<Response, Error>> + Send + 'static,
{
    let call: Call = Box::new(move |context, user, mut incoming: Incoming| {
        let raw = Raw { headers: incoming.head.headers.clone(), body: std::mem::take(&mut incoming.unread) };
        let running = R::Authentication::caller(user)
            .and_then(|caller| Ok((caller, incoming.decode(R::try_from_http_request_inner)?)));
        let answer: BoxFuture<'static, Result<Response, Error>> = match running {
            Ok((caller, request)) => Box::pin(handler(context, caller, request, raw)),
            Err(error) => Box::pin(async move { Err(raw.body.refuse(error).await) }),
        };
        answer
    });
    Endpoint { is_raw: true, ..described::<R>(std::any::type_name::<H>(), call) }
}

/// The endpoint that this handler serves, registered under each path it ever had.
pub fn endpoint<R, H, F>(handler: H) -> Endpoint
where
    R: IncomingRequest<Authentication: Scheme> + Send + 'static,
    H: Fn(Context, CallerOf<R>, R) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R::OutgoingResponse, Error>> + Send + 'static,
{
    described::<R>(std::any::type_name::<H>(), erase(handler))
}

/// What ruma knows of an endpoint, and the usual.
fn described<R: IncomingRequest<Authentication: Scheme>>(handler: &'static str, call: Call) -> Endpoint {
    let mut paths: Vec<String> = R::PATH_BUILDER.all_paths().map(str::to_owned).collect();
    paths.sort_unstable();
    paths.dedup();
    // All paths of an endpoint are of one class.
    let class = paths.first().and_then(|path| Class::of(&R::METHOD, path, R::RATE_LIMITED));
    Endpoint {
        method: R::METHOD,
        paths,
        handler,
        admission: Admission { need: R::Authentication::NEED, ends: false },
        body_limit: MAX_BODY_BYTES,
        missing_field: ErrorKind::BadJson,
        // Where nothing is required, clients leave the body out.
        optional_body: R::METHOD == Method::POST,
        form: false,
        bare_flag: None,
        needed_field: None,
        server_hints: &[],
        unserved_query: None,
        is_raw: false,
        course: if R::METHOD.is_safe() { Course::Read } else { Course::Change },
        class,
        wrong_value: ErrorKind::BadJson,
        complete: |body| body,
        call,
    }
}

/// All that is compiled once for each endpoint.
fn erase<R, H, F>(handler: H) -> Call
where
    R: IncomingRequest<Authentication: Scheme> + Send + 'static,
    H: Fn(Context, CallerOf<R>, R) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R::OutgoingResponse, Error>> + Send + 'static,
{
    Box::new(move |context, user, incoming| {
        // In a box of its own: handlers are kilobytes, and would be moved as often as what holds them.
        let running = R::Authentication::caller(user)
            .and_then(|caller| Ok((caller, incoming.decode(R::try_from_http_request_inner)?)))
            .map(|(caller, request)| Box::pin(handler(context, caller, request)));
        Box::pin(async move { encode(running?.await?) })
    })
}

impl Endpoint {
    /// The method of the endpoint.
    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    /// Whether it ends when the client hangs up.
    #[cfg(test)]
    pub(crate) fn is_read(&self) -> bool {
        self.course != Course::Change
    }

    /// All paths, with ruma's names for their arguments.
    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The field of the query with which it refuses a request.
    pub(crate) fn unserved_query(&self) -> Option<&'static str> {
        self.unserved_query
    }

    /// Whether requests are counted.
    pub(crate) fn is_limited(&self) -> bool {
        self.class.is_some()
    }

    /// The handler's path in this crate, its function last: `client::rooms::send::put`.
    pub(crate) fn handler(&self) -> &'static str {
        let path = self.handler.split_once("::").map_or(self.handler, |(_, path)| path);
        // A module named like a keyword.
        path.trim_start_matches("r#")
    }

    /// Registers the endpoint under all its paths.
    pub(crate) fn mount(self, router: Router, app: &Arc<App>) -> Router {
        // The specification's methods are all known to axum.
        let filter = MethodFilter::try_from(self.method.clone()).expect("ruma's endpoints use standard methods");
        let paths = self.paths.clone();
        let endpoint = Arc::new(self);
        paths.into_iter().fold(router, |router, path| {
            let (endpoint, app) = (Arc::clone(&endpoint), Arc::clone(app));
            let serve = move |request: Request| {
                let (endpoint, app) = (Arc::clone(&endpoint), Arc::clone(&app));
                async move { endpoint.serve(app, request).await }
            };
            router.route(&by_position(&path), on(filter, serve))
        })
    }
}

/// A path whose arguments are named by their place. The router wants one name for the same place in all paths, and
/// ruma calls it `room_id` in one and `room_id_or_alias` in the other.
fn by_position(path: &str) -> String {
    let mut place = 0;
    let segments = path.split('/').map(|segment| {
        if !segment.starts_with('{') {
            return segment.to_owned();
        }
        place += 1;
        format!("{{p{place}}}")
    });
    segments.collect::<Vec<_>>().join("/")
}
