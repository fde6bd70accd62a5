//! How pages are fetched: implemented outside, as everything that goes out is.

use bytes::Bytes;
use futures::future::BoxFuture;
use url::Url;

/// Fetches what lies on the web, within the operator's bounds.
pub trait Web: Send + Sync + 'static {
    /// What lies there, behind all redirects. Goes to nobody whom the operator does not allow.
    fn get<'a>(&'a self, url: &'a Url, wanted: Wanted) -> BoxFuture<'a, Result<Found, Unfetched>>;
}

/// What is read of what is found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// A page or a picture.
    Any,
    /// A picture alone.
    Picture,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where, behind the redirects.
    pub url: Url,
    /// What it says it is.
    pub content_type: Option<String>,
    /// It.
    pub body: Body,
}

/// What lies at an address, by its own word.
#[derive(Clone, Debug)]
pub enum Body {
    /// The beginning of a page.
    Page(Bytes),
    /// A picture, whole.
    Picture(Bytes),
    /// Something else, of which nothing was read.
    Other,
}

/// Why nothing was fetched. Names no address: those are their user's secret.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unfetched {
    /// The operator does not allow it.
    #[error("this server does not look there: {0}")]
    NotAllowed(&'static str),
    /// It has more bytes than are read.
    #[error("what lies there is too large")]
    TooLarge,
    /// Nobody is there, or says what cannot be used.
    #[error("nothing could be fetched: {0}")]
    Failed(String),
}
