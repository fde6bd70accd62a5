//! Web pages: the few that the specification has a server show. Plain HTML; nothing is loaded from elsewhere, and the one
//! script of a page is named by a number that nobody can foresee.

use std::fmt::Write;

use bytes::BufMut;
use http::{HeaderValue, StatusCode, header};
use ruma::api::{OutgoingBody, OutgoingResponse, error::IntoHttpError};

/// How pages look.
const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:32em;margin:3em auto;padding:0 1em}\
                     input,button{font:inherit;padding:.4em .8em;margin:.3em 0}label{display:block}";

/// A page.
pub struct Page {
    status: StatusCode,
    title: String,
    body: String,
    script: Option<Script>,
}

struct Script {
    nonce: String,
    text: &'static str,
}

impl Page {
    /// A page with a title, which is text, and a body, which is HTML.
    pub fn new(title: &str, body: String) -> Self {
        Self { status: StatusCode::OK, title: title.to_owned(), body, script: None }
    }

    /// Says that something did not work.
    pub fn refusal(status: StatusCode, words: &str) -> Self {
        let body = format!("<p>{}</p>", escape(words));
        Self { status, ..Self::new("This did not work", body) }
    }

    /// Runs this script. The nonce is a secret of this one answer.
    pub fn with_script(mut self, nonce: String, text: &'static str) -> Self {
        self.script = Some(Script { nonce, text });
        self
    }

    fn html(&self) -> String {
        let title = escape(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
             <body><h1>{title}</h1>{}",
            self.body
        );
        if let Some(Script { nonce, text }) = &self.script {
            let _ = write!(html, "<script nonce=\"{nonce}\">{text}</script>");
        }
        html.push_str("</body></html>\n");
        html
    }

    /// What the page may do: show itself, send its form here and run its own script, which may ask this server.
    fn policy(&self) -> String {
        let mut policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; \
                          frame-ancestors 'none'"
            .to_owned();
        if let Some(Script { nonce, .. }) = &self.script {
            let _ = write!(policy, "; script-src 'nonce-{nonce}'; connect-src 'self'");
        }
        policy
    }
}

impl OutgoingResponse for Page {
    type Body = Html;

    fn try_into_http_response_inner(self) -> Result<http::Response<Html>, IntoHttpError> {
        let mut response = http::Response::new(Html(self.html()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(self.policy())?);
        for (name, value) in [
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }
}

/// The body of a [`Page`].
pub struct Html(String);

impl OutgoingBody for Html {
    type Error = IntoHttpError;

    fn content_type(&self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static("text/html; charset=utf-8"))
    }

    fn try_into_buf<T: Default + BufMut + AsRef<[u8]>>(self) -> Result<T, IntoHttpError> {
        let mut buffer = T::default();
        buffer.put_slice(self.0.as_bytes());
        Ok(buffer)
    }
}

/// Text as HTML, also within an attribute in double quotes.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, c| {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
        html
    })
}
