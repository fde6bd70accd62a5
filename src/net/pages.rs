//! Pages and pictures of the web, for previews.
//!
//! Users choose where these requests go, and what they go to chooses where they are sent on. So every address is looked
//! at anew, each redirect's too: its scheme, host and port here, and what its name has come to in the [`Guard`]. Nothing
//! that could tell one user from another goes out: no cookies, no credentials, no address that led here. What comes in
//! is bounded in time and bytes; bodies of a type that nobody asked for are not read.

use std::{borrow::Cow, time::Duration};

use bytes::{Bytes, BytesMut};
use depesche_config::{Config, Previews};
use depesche_rules::bounds::MAX_PREVIEW_REDIRECTS;
use depesche_server::previews::web::{Body, Found, Unfetched, Wanted, Web};
use futures::future::BoxFuture;
use reqwest::{
    Client, Response,
    header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION},
    redirect,
};
use url::Url;

use crate::{
    guard::{Guard, NotPublic},
    push::{NoClient, chain},
};

/// The most headers of an answer; their bytes are bounded by the reader of HTTP.
const MAX_HEADERS: usize = 100;
/// The same for HTTP/2, in bytes.
const MAX_HEADER_BYTES: u32 = 64 * 1024;
/// How the server calls itself if the operator has no other name for it.
const USER_AGENT: &str = "Depesche (bot)";

/// Fetches pages and pictures.
pub struct Pages {
    client: Client,
    guard: Guard,
    allowed_hosts: Vec<String>,
    denied_hosts: Vec<String>,
    any_port: bool,
    timeout: Duration,
    page_bytes: usize,
    picture_bytes: usize,
}

impl Pages {
    /// As the operator configured it. Trusts the certificate authorities of the system.
    pub fn new(config: &Config) -> Result<Self, NoClient> {
        let previews = &config.media.previews;
        let guard = Guard::new(previews.allow_networks.clone()).without(previews.deny_networks.clone());
        let client = Client::builder()
            .dns_resolver(guard.clone())
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            // A connection that is kept would outlive what was said of its address.
            .pool_max_idle_per_host(0)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(MAX_HEADER_BYTES)
            .user_agent(previews.user_agent.as_deref().unwrap_or(USER_AGENT))
            .default_headers(headers(previews)?)
            .build()
            .map_err(|why| NoClient(chain(&why)))?;
        let bytes = |most: u64| usize::try_from(most).unwrap_or(usize::MAX);
        Ok(Self {
            client,
            guard,
            allowed_hosts: previews.allowed_hosts.clone(),
            denied_hosts: previews.denied_hosts.clone(),
            any_port: previews.any_port,
            timeout: previews.timeout,
            page_bytes: bytes(previews.page_kb << 10),
            picture_bytes: bytes(previews.picture_mb << 20),
        })
    }

    /// Whether the operator wants a request to go there.
    fn check(&self, url: &Url) -> Result<(), Unfetched> {
        let refuse = |why| Err(Unfetched::NotAllowed(why));
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("it is not on the web");
        }
        if !self.any_port && !matches!(url.port_or_known_default(), Some(80 | 443)) {
            return refuse("its port is none of the web's");
        }
        let Some(host) = url.host_str().map(|host| host.trim_end_matches('.')) else {
            return refuse("it names no host");
        };
        let names = |hosts: &[String]| hosts.iter().any(|pattern| is_named(host, pattern));
        if names(&self.denied_hosts) || (!self.allowed_hosts.is_empty() && !names(&self.allowed_hosts)) {
            return refuse("its host is not allowed");
        }
        self.guard.check(url).or_else(|NotPublic| refuse(NOT_PUBLIC))
    }

    async fn follow(&self, url: &Url, wanted: Wanted) -> Result<Found, Unfetched> {
        let mut url = Cow::Borrowed(url);
        for _ in 0..=MAX_PREVIEW_REDIRECTS {
            self.check(&url)?;
            let answer = self.client.get(Url::clone(&url)).send().await.map_err(failed)?;
            if answer.status().is_redirection() {
                url = Cow::Owned(next(&url, &answer)?);
            } else if answer.status().is_success() {
                return self.read(url.into_owned(), wanted, answer).await;
            } else {
                return Err(Unfetched::Failed(format!("the answer was {}", answer.status())));
            }
        }
        Err(Unfetched::Failed("too many redirects".to_owned()))
    }

    async fn read(&self, url: Url, wanted: Wanted, answer: Response) -> Result<Found, Unfetched> {
        let content_type = answer.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let kind = content_type.as_deref().and_then(|kind| kind.split(';').next()).unwrap_or_default();
        let body = match kind.trim().to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" if wanted == Wanted::Any => {
                Body::Page(beginning(answer, self.page_bytes).await?)
            }
            // A drawing may hold scripts, and is none of what is made smaller.
            "image/svg+xml" => Body::Other,
            kind if kind.starts_with("image/") => Body::Picture(whole(answer, self.picture_bytes).await?),
            _ => Body::Other,
        };
        Ok(Found { url, content_type, body })
    }
}

impl Web for Pages {
    fn get<'a>(&'a self, url: &'a Url, wanted: Wanted) -> BoxFuture<'a, Result<Found, Unfetched>> {
        Box::pin(async move {
            let late = |_| Unfetched::Failed("it takes too long".to_owned());
            tokio::time::timeout(self.timeout, self.follow(url, wanted)).await.map_err(late)?
        })
    }
}

const NOT_PUBLIC: &str = "its address is not public";

fn headers(previews: &Previews) -> Result<HeaderMap, NoClient> {
    let language = HeaderValue::from_str(&previews.accept_language).map_err(|why| NoClient(why.to_string()))?;
    let accept = HeaderValue::from_static("text/html, application/xhtml+xml, image/*;q=0.9, */*;q=0.1");
    Ok(HeaderMap::from_iter([(ACCEPT_LANGUAGE, language), (ACCEPT, accept)]))
}

/// Whether a host has this name, or one below it.
fn is_named(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(above) => host.strip_suffix(above).is_some_and(|label| label.ends_with('.')),
        None => host == pattern,
    }
}

/// Where an answer sends us.
fn next(url: &Url, answer: &Response) -> Result<Url, Unfetched> {
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let mut next = location
        .and_then(|location| url.join(location).ok())
        .ok_or_else(|| Unfetched::Failed("a redirect leads nowhere".to_owned()))?;
    // Whoever redirects does not log us in.
    let _ = next.set_username("");
    let _ = next.set_password(None);
    Ok(next)
}

/// As much of a body as is wanted.
async fn beginning(mut answer: Response, most: usize) -> Result<Bytes, Unfetched> {
    let mut bytes = BytesMut::new();
    while let Some(part) = answer.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&part[..part.len().min(most - bytes.len())]);
        if bytes.len() == most {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// A body, unless it is too large.
async fn whole(mut answer: Response, most: usize) -> Result<Bytes, Unfetched> {
    if answer.content_length().is_some_and(|length| length > most as u64) {
        return Err(Unfetched::TooLarge);
    }
    let mut bytes = BytesMut::new();
    while let Some(part) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + part.len() > most {
            return Err(Unfetched::TooLarge);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

/// What became of a request. The address is a secret of the user's.
fn failed(error: reqwest::Error) -> Unfetched {
    let error = error.without_url();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(why) = cause {
        if why.is::<NotPublic>() {
            return Unfetched::NotAllowed(NOT_PUBLIC);
        }
        cause = why.source();
    }
    Unfetched::Failed(chain(&error))
}

#[cfg(test)]
#[path = "tests/pages.rs"]
mod tests;
