//! `GET /_matrix/static/client/login/`: the whole login as a page, for clients that know no way to log in.
//! <https://spec.matrix.org/v1.19/client-server-api/#login-fallback>

use ruma::api::{IncomingRequest, client::session::login_fallback::Request, error::DeserializationError};

use crate::{
    caller::Anyone,
    error::Error,
    page::Page,
    route::{Context, described_as},
};

/// Logs in as any client does, with what the address of the page says besides, and hands the answer on.
const SCRIPT: &str = "const form = document.forms[0], said = document.querySelector('[role=alert]');
form.addEventListener('submit', async (event) => {
  event.preventDefault();
  said.textContent = '';
  const body = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: form.elements.user.value },
    password: form.elements.password.value,
  };
  const query = new URLSearchParams(location.search);
  for (const name of ['device_id', 'initial_device_display_name']) {
    if (query.has(name)) body[name] = query.get(name);
  }
  if (query.get('refresh_token') === 'true') body.refresh_token = true;
  try {
    const response = await fetch('/_matrix/client/v3/login', { method: 'POST', body: JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) {
      said.textContent = answer.error || 'This did not work.';
    } else if (window.matrixLogin && window.matrixLogin.onLogin) {
      window.matrixLogin.onLogin(answer);
    } else {
      said.textContent = 'You are logged in, but no client waits for it here.';
    }
  } catch {
    said.textContent = 'The server cannot be reached.';
  }
});";

/// The form. Without the script it sends nothing: a password must not end up in an address.
const FORM: &str = "<form method=\"post\">\
    <label>User name <input name=\"user\" autocomplete=\"username\" required></label>\
    <label>Password <input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>\
    <button>Log in</button></form><p role=\"alert\"></p>";

/// `GET /_matrix/static/client/login/`
pub async fn get(context: Context, _: Anyone, _: Show) -> Result<Page, Error> {
    let server = &context.app.server;
    if !context.app.config.accounts.password_login {
        return Ok(Page::new("Log in", "<p>Nobody logs in with a password here.</p>".to_owned()));
    }
    let page = Page::new(&format!("Log in to {}", server.base.name), FORM.to_owned());
    Ok(page.with_script(server.base.random.secret(), SCRIPT))
}

/// The request of [`get`]. ruma's response has no place for the headers of a page.
pub struct Show;

described_as!(Show: Request, limited: true);

impl IncomingRequest for Show {
    type EndpointError = <Request as IncomingRequest>::EndpointError;
    type OutgoingResponse = Page;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        Request::try_from_http_request_inner(request, path).map(|_| Self)
    }
}
