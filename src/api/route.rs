//! ruma's endpoint types on axum's router, type-erased.
//!
//! An [`Endpoint`] is made from a handler alone: its request type knows method, paths and authentication. Per endpoint
//! only decoding, the handler and encoding are compiled anew ([`erase`]); what surrounds them is one function for all
//! ([`Endpoint::answer`]): path arguments, caller, rate limit, body, checks, errors.

mod own;
mod query;

use std::{future::Future, net::IpAddr, sync::Arc};

use axum::{
    RequestPartsExt, Router,
    body::Body,
    extract::{RawPathParams, Request},
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
use bytes::Bytes;
use depesche_config::Config;
use depesche_rules::bounds::{INVITES_PER_REQUEST, MAX_BODY_BYTES, MAX_KEYS_BODY_BYTES, MAX_PLAIN_BODY_BYTES};
use futures::future::BoxFuture;
use http::{HeaderMap, Method, header, request::Parts};
use ruma::api::{
    IncomingRequest, OutgoingResponse, OutgoingResponseExt,
    error::{DeserializationError, ErrorKind, HeaderDeserializationError},
    path_builder::PathBuilder,
};

pub(crate) use self::own::described_as;
pub use self::own::{Answering, JsonResponse, MaybeOfService};
use crate::{
    App, body,
    caller::{self, Admission, AnsweredTo, Scheme, User},
    error::Error,
    rate_limit::{Class, Who},
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

/// ruma's reader of a request type.
type Decode<R> = fn(http::Request<&[u8]>, &[&str]) -> Result<R, DeserializationError>;

/// A request that has arrived whole, its body checked to be JSON where it is.
struct Incoming {
    head: Parts,
    body: Bytes,
    /// The body instead, where it has not been read.
    unread: body::Unread,
    path_args: Vec<String>,
    missing_field: ErrorKind,
    wrong_value: ErrorKind,
    optional_body: bool,
}

/// A request as it came over the network, for handlers that read the body themselves.
pub struct Raw {
    /// The headers.
    pub headers: HeaderMap,
    /// The body, which may be large.
    pub body: body::Unread,
}

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

impl Incoming {
    fn decode<R>(self, read: Decode<R>) -> Result<R, Error> {
        let path_args: Vec<&str> = self.path_args.iter().map(String::as_str).collect();
        let body: &[u8] = if self.body.is_empty() && self.optional_body { b"{}" } else { &self.body };
        let request = http::Request::from_parts(self.head, body);
        read(request, &path_args)
            .map_err(|error| refuse(error, self.body.is_empty(), self.missing_field, self.wrong_value))
    }
}

/// Why a request could not be read as what its endpoint expects. The readers of path, query and body say what is wrong
/// only in words, so the words are asked whether something is missing.
fn refuse(error: DeserializationError, no_body: bool, missing_field: ErrorKind, wrong_value: ErrorKind) -> Error {
    let message = error.to_string();
    let missing = message.starts_with("missing field");
    let kind = match error {
        // An empty body stands for an empty object where nothing is required, and is no JSON elsewhere.
        DeserializationError::Json(_) if no_body => ErrorKind::NotJson,
        DeserializationError::Json(_) if missing => missing_field,
        DeserializationError::Json(error) if error.is_data() => wrong_value,
        DeserializationError::Json(_) => ErrorKind::NotJson,
        DeserializationError::Query(_) if missing => ErrorKind::MissingParam,
        DeserializationError::Header(HeaderDeserializationError::MissingHeader(_)) => ErrorKind::MissingParam,
        _ => ErrorKind::InvalidParam,
    };
    Error::bad_request(kind, message)
}

fn encode<T: OutgoingResponse>(response: T) -> Result<Response, Error> {
    let response = response.try_into_http_response::<Vec<u8>>().map_err(Error::internal)?;
    Ok(response.map(Body::from))
}

impl Endpoint {
    /// Takes a missing body for an empty object, as every `POST` does.
    pub fn optional_body(mut self) -> Self {
        self.optional_body = true;
        self
    }

    /// Ends when the client hangs up, as every `GET` does: it asks with a body, and changes nothing.
    pub fn reads(mut self) -> Self {
        self.course = Course::Read;
        self
    }

    /// Takes turns, as its answer may be large: one of each user is made at a time, a few of all.
    pub fn large_answer(mut self) -> Self {
        self.course = Course::LargeRead;
        self
    }

    /// Lets the body be as large as uploads of many keys or messages are.
    pub fn large_body(mut self) -> Self {
        self.body_limit = MAX_KEYS_BODY_BYTES;
        self
    }

    /// Refuses a body without a required field with `M_MISSING_PARAM`, as some endpoints have it, and not with
    /// `M_BAD_JSON`, the common code.
    pub fn missing_is_a_parameter(mut self) -> Self {
        self.missing_field = ErrorKind::MissingParam;
        self
    }

    /// Refuses a value of a wrong type or form with `M_INVALID_PARAM`, as some endpoints have it, and not with
    /// `M_BAD_JSON`, the common code.
    pub fn wrong_is_a_parameter(mut self) -> Self {
        self.wrong_value = ErrorKind::InvalidParam;
        self
    }

    /// Adds to a body what the endpoint's type requires and the specification does not.
    pub fn completes_the_body(mut self, complete: fn(Bytes) -> Bytes) -> Self {
        self.complete = complete;
        self
    }

    /// Takes the body of an HTML form, which is not JSON.
    pub fn form(mut self) -> Self {
        self.form = true;
        self
    }

    /// Takes `true` or `false` alone for an object with this one field, as some clients send it.
    pub fn flag_may_be_bare(mut self, field: &'static str) -> Self {
        self.bare_flag = Some(field);
        self
    }

    /// Refuses a body without this field before it is read as the endpoint's type: for types whose reader would panic.
    pub fn needs(mut self, field: &'static str) -> Self {
        self.needed_field = Some(field);
        self
    }

    /// Passes over values of these fields of the query that are no server names: they only hint at servers to ask.
    pub fn hints_at_servers(mut self, fields: &'static [&'static str]) -> Self {
        self.server_hints = fields;
        self
    }

    /// Refuses a request with this field in its query, of a proposal that is not served: without it, the request would
    /// be another.
    pub fn without(mut self, field: &'static str) -> Self {
        self.unserved_query = Some(field);
        self
    }

    /// Also serves the paths whose last argument is empty, with and without the slash before it. axum matches no empty
    /// segment, but clients ask for state with an empty key in both ways.
    pub fn last_may_be_empty(mut self) -> Self {
        let shortened = |path: &String| path.rfind("/{").map(|at| [path[..at].to_owned(), format!("{}/", &path[..at])]);
        let shorter: Vec<String> = self.paths.iter().filter_map(shortened).flatten().collect();
        self.paths.extend(shorter);
        self
    }

    /// Also serves accounts that an operator has locked, and who shows an access token that has expired.
    pub fn for_leaving(mut self) -> Self {
        self.admission.ends = true;
        self
    }

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

    /// The answer to a request, whatever happens.
    async fn serve(&self, app: Arc<App>, request: Request) -> Response {
        let (head, mut body) = request.into_parts();
        let expects_continue = head.headers.contains_key(header::EXPECT);
        let mut answered_to = None;
        let config = Arc::clone(&app.config);
        let mut response = match self.answer(app, head, &mut body, &mut answered_to).await {
            Ok(response) => response,
            Err(error) => {
                error.log();
                // A client that waits for "100 Continue" has not sent its body, and need not.
                if !expects_continue {
                    body::drain(&mut body).await;
                }
                error.about_limits(|| support_page(&config)).into_response()
            }
        };
        if let Some(user) = answered_to {
            response.extensions_mut().insert(user);
        }
        response
    }

    /// Caller first, then body: a stranger cannot make us read megabytes.
    async fn answer(
        &self,
        app: Arc<App>,
        mut head: Parts,
        body: &mut Body,
        answered_to: &mut Option<AnsweredTo>,
    ) -> Result<Response, Error> {
        let path_args = path_args(&mut head).await?;
        let client_address = caller::client_address(&head, &app.config.server.trusted_proxies, &app.told_of_a_proxy);
        let user = caller::authenticate(&app.server, self.admission, &head, client_address).await?;
        *answered_to = user.as_ref().map(|user| AnsweredTo(user.user_id.clone()));
        if let Some(class) = self.class {
            app.count(class, user.as_ref(), client_address)?;
        }
        if let Some(field) = self.unserved_query.filter(|field| query::has(&head, field)) {
            return Err(Error::bad_request(ErrorKind::Unrecognized, format!("`{field}` is not served here")));
        }
        query::without_unreadable_servers(&mut head, self.server_hints);
        let unread = if self.is_raw {
            body::Unread::new(std::mem::take(body), &head.headers, app.config.media.max_upload_bytes())
        } else {
            body::Unread::default()
        };
        // Of a raw endpoint nothing is left to read.
        let who = who(user.as_ref(), client_address);
        let (body, held) = app.bodies.read(body, self.most_bytes(user.is_some()), who).await?;
        let body = self.bare_flag.and_then(|field| body::of_bare_flag(&body, field)).unwrap_or(body);
        if !body.is_empty() && !matches!(self.method, Method::GET) && !self.form {
            body::check_json(&body)?;
        }
        // ruma's readers take nothing for an empty object.
        if body.is_empty() && self.method == Method::PUT && !self.optional_body && !self.is_raw {
            return Err(Error::bad_request(ErrorKind::NotJson, "The request has no body"));
        }
        if let Some(field) = self.needed_field
            && !body::has_field(&body, field)
        {
            // As everywhere where something is required: an empty body is no JSON.
            let kind = if body.is_empty() { ErrorKind::NotJson } else { self.missing_field.clone() };
            return Err(Error::bad_request(kind, format!("missing field `{field}`")));
        }
        let body = (self.complete)(body);
        let incoming = Incoming {
            head,
            body,
            unread,
            path_args,
            missing_field: self.missing_field.clone(),
            wrong_value: self.wrong_value.clone(),
            optional_body: self.optional_body,
        };
        let asking = user.as_ref().map(|user| user.user_id.clone());
        let answer = (self.call)(Context { app: Arc::clone(&app), client_address }, user, incoming);
        match self.course {
            Course::Read => answer.await,
            Course::LargeRead => {
                let _turn = app.large.turn(asking.as_deref()).await;
                answer.await
            }
            Course::Change => {
                let work = async move {
                    let answer = answer.await;
                    drop(held);
                    answer
                };
                app.carry_out(work).await
            }
        }
    }

    /// How large the body may be: what is read for nothing, or for strangers, is small.
    fn most_bytes(&self, is_known: bool) -> usize {
        let is_plain = self.method.is_safe() || !is_known;
        if is_plain { self.body_limit.min(MAX_PLAIN_BODY_BYTES) } else { self.body_limit }
    }
}

impl App {
    /// Counts a request of a class: as its user's where there is one, else as its address's.
    pub(crate) fn count(&self, class: Class, user: Option<&User>, address: Option<IpAddr>) -> Result<(), Error> {
        let now_ms = self.server.base.clock.now_ms();
        let Some(who) = self.counted(user, address) else { return Ok(()) };
        self.rate_limits.count(class, who, now_ms).map_err(Error::too_often)
    }

    /// Counts the invites of one request: the first few are in its own count.
    pub(crate) fn count_invites(&self, invites: usize, user: &User) -> Result<(), Error> {
        let requests = u64::try_from(invites / INVITES_PER_REQUEST).unwrap_or(u64::MAX);
        let now_ms = self.server.base.clock.now_ms();
        let Some(who) = self.counted(Some(user), None) else { return Ok(()) };
        self.rate_limits.count_more(Class::Joins, requests, who, now_ms).map_err(Error::too_often)
    }

    /// Who is counted, if anybody is.
    fn counted<'a>(&self, user: Option<&'a User>, address: Option<IpAddr>) -> Option<Who<'a>> {
        let is_exempt = user.is_some_and(|user| user.admin) && !self.rate_limits.counts_admins();
        who(user, address).filter(|_| !is_exempt)
    }

    /// Counts a request that was let through as so many more: it turned out to cost as much as they.
    pub(crate) fn charge(&self, class: Class, user: &User, more: usize) {
        if let Some(who) = self.counted(Some(user), None).filter(|_| more > 0) {
            self.rate_limits.charge(class, who, more, self.server.base.clock.now_ms());
        }
    }
}

/// Who is to be told from others: the user, or else where the request came from.
fn who(user: Option<&User>, address: Option<IpAddr>) -> Option<Who<'_>> {
    user.map(|user| Who::User(&user.user_id)).or(address.map(Who::Address))
}

/// Where a user reads about a limit: the operator's page, or else whom the server names for help.
fn support_page(config: &Config) -> String {
    match &config.support.page {
        Some(page) => page.to_string(),
        None => format!("https://{}/.well-known/matrix/support", config.server.name),
    }
}

/// The arguments in the path, percent-decoded.
async fn path_args(head: &mut Parts) -> Result<Vec<String>, Error> {
    let params = head
        .extract::<RawPathParams>()
        .await
        .map_err(|error| Error::invalid_param("The path is not valid UTF-8").caused_by(error))?;
    Ok(params.iter().map(|(_, value)| value.to_owned()).collect())
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

/// 404 for a path that is not ours, 405 for a method that a path does not have; both `M_UNRECOGNIZED`.
pub(crate) async fn unrecognized(status: http::StatusCode, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    if !head.headers.contains_key(header::EXPECT) {
        body::drain(&mut body).await;
    }
    Error::new(status, ErrorKind::Unrecognized, "Unrecognized request").into_response()
}
