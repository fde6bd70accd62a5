//! `GET` and `POST /_matrix/client/v3/auth/{authType}/fallback/web`: a stage of user-interactive authentication as a page.
//! <https://spec.matrix.org/v1.19/client-server-api/#fallback>

use std::fmt::Write;

use depesche_server::accounts::{StageError, fallback::Asked};
use http::{Method, StatusCode};
use ruma::api::{
    IncomingRequest, Metadata, client::uiaa::AuthType, client::uiaa::get_uiaa_fallback_page::v3::Request,
    error::DeserializationError,
};
use serde::Deserialize;

use crate::{
    caller::Anyone,
    error::Error,
    page::{Page, escape},
    route::{Context, described_as},
};

/// Tells the client, in the words of the specification, that the stage has been passed.
const DONE: &str = "if (window.onAuthDone) { window.onAuthDone(); } \
                    else if (window.opener && window.opener.postMessage) \
                    { window.opener.postMessage(\"authDone\", \"*\"); }";

/// `GET /_matrix/client/v3/auth/{authType}/fallback/web`
pub async fn get(context: Context, _: Anyone, Show(request): Show) -> Result<Page, Error> {
    let Request { auth_type, session } = request;
    Ok(match context.app.server.accounts.asked_on_page(&session, &auth_type) {
        Ok(None) => done(&context),
        Ok(Some(asked)) => question(&session, &asked, None),
        Err(error) => refusal(error),
    })
}

/// `POST /_matrix/client/v3/auth/{authType}/fallback/web`: what the page of [`get`] sends.
pub async fn post(context: Context, _: Anyone, request: Sent) -> Result<Page, Error> {
    let Sent { auth_type, form: Form { session, token } } = request;
    let accounts = &context.app.server.accounts;
    match accounts.pass_on_page(&session, &auth_type, token.trim()).await? {
        Ok(()) => Ok(done(&context)),
        Err(error @ StageError::InvalidRegistrationToken) => {
            Ok(question(&session, &Asked::RegistrationToken, Some(error)))
        }
        Err(error) => Ok(refusal(error)),
    }
}

/// The end of a stage, however often it is asked for.
fn done(context: &Context) -> Page {
    let body = "<p>Thank you. You may close this window and go back to your client.</p>".to_owned();
    Page::new("Done", body).with_script(context.app.server.base.random.secret(), DONE)
}

/// The form of a stage. It is sent to the address of the page.
fn question(session: &str, asked: &Asked, error: Option<StageError>) -> Page {
    let (title, mut fields) = match asked {
        Asked::Dummy => ("Go on", String::new()),
        Asked::Terms(terms) => {
            let mut list = "<p>To register you agree to these documents:</p><ul>".to_owned();
            for term in terms {
                let (url, name) = (escape(term.url.as_str()), escape(&term.name));
                let _ = write!(list, "<li><a href=\"{url}\" target=\"_blank\" rel=\"noopener\">{name}</a></li>");
            }
            ("Terms", list + "</ul>")
        }
        Asked::RegistrationToken => {
            let field = "<label>Registration token <input name=\"token\" autocomplete=\"off\" required></label>";
            ("Registration token", field.to_owned())
        }
    };
    if let Some(error) = error {
        let _ = write!(fields, "<p role=\"alert\">{}</p>", escape(&error.to_string()));
    }
    let (session, action) = (escape(session), if matches!(asked, Asked::Terms(_)) { "I agree" } else { "Go on" });
    let body = format!(
        "<form method=\"post\"><input type=\"hidden\" name=\"session\" value=\"{session}\">{fields}\
         <button>{action}</button></form>"
    );
    Page::new(title, body)
}

fn refusal(error: StageError) -> Page {
    let words = match error {
        StageError::UnknownSession => "This page has expired. Go back to your client and begin again.",
        _ => "This step cannot be done here. Go back to your client.",
    };
    Page::refusal(StatusCode::BAD_REQUEST, words)
}

/// The request of [`get`]. ruma's response has no place for the headers of a page.
pub struct Show(Request);

described_as!(Show: Request, limited: true);

impl IncomingRequest for Show {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Page;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        Request::try_from_http_request_inner(request, path).map(Self)
    }
}

/// The request of [`post`].
pub struct Sent {
    auth_type: AuthType,
    form: Form,
}

/// The fields of the form.
#[derive(Deserialize)]
struct Form {
    session: String,
    #[serde(default)]
    token: String,
}

impl Metadata for Sent {
    const METHOD: Method = Method::POST;
    // A registration token can be guessed here.
    const RATE_LIMITED: bool = true;
    type Authentication = <Request as Metadata>::Authentication;
    type PathBuilder = <Request as Metadata>::PathBuilder;
    const PATH_BUILDER: Self::PathBuilder = Request::PATH_BUILDER;
}

impl IncomingRequest for Sent {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Page;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let auth_type = AuthType::from(path.first().copied().unwrap_or_default());
        Ok(Self { auth_type, form: serde_html_form::from_bytes(request.body())? })
    }
}
