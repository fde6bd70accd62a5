//! From a request to its answer, the same for all endpoints: path arguments, caller, rate limit, body, checks, the
//! handler, errors.

use std::sync::Arc;

use axum::{
    RequestPartsExt,
    body::Body,
    extract::{RawPathParams, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use depesche_config::Config;
use depesche_rules::bounds::MAX_PLAIN_BODY_BYTES;
use http::{Method, header, request::Parts};
use ruma::api::error::ErrorKind;

use super::{Context, Course, Endpoint, incoming::Incoming, query};
use crate::{
    App, body,
    caller::{self, AnsweredTo},
    error::Error,
    rate_limit::who,
};

impl Endpoint {
    /// The answer to a request, whatever happens.
    pub(super) async fn serve(&self, app: Arc<App>, request: Request) -> Response {
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
        let incoming = Incoming {
            head,
            body: self.checked(body)?,
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

    /// The body as the endpoint's type reads it.
    fn checked(&self, body: Bytes) -> Result<Bytes, Error> {
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
        Ok((self.complete)(body))
    }

    /// How large the body may be: what is read for nothing, or for strangers, is small.
    fn most_bytes(&self, is_known: bool) -> usize {
        let is_plain = self.method.is_safe() || !is_known;
        if is_plain { self.body_limit.min(MAX_PLAIN_BODY_BYTES) } else { self.body_limit }
    }
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

/// 404 for a path that is not ours, 405 for a method that a path does not have; both `M_UNRECOGNIZED`.
pub(crate) async fn unrecognized(status: http::StatusCode, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    if !head.headers.contains_key(header::EXPECT) {
        body::drain(&mut body).await;
    }
    Error::new(status, ErrorKind::Unrecognized, "Unrecognized request").into_response()
}
