//! Previews: what a link leads to, for those who are sent it.
//!
//! The server fetches the page ([`web`], implemented outside), reads what it says of itself ([`page`]) and keeps a copy of
//! its picture, so that no reader's client has to go there. Answers are kept in memory for a while, and so is that there
//! is none; nobody's asking makes the server fetch the same address twice at a time, and only so many pages are
//! fetched at once. What was told lasts as long as the operator says; the point in time that a client may wish for is
//! not looked at, as the specification allows.
//!
//! A picture is a file of nobody's, so it counts for no user. It ends by itself (`media::preview`).
//!
//! Spec: [`GET /media/preview_url`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url).

pub mod page;
#[cfg(test)]
mod tests;
pub mod web;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use depesche_rules::bounds::{MAX_PREVIEW_URL_BYTES, MAX_PREVIEWS_WAITING, MAX_PREVIEWS_WAITING_FOR_ONE};
use depesche_store::Mutex;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use ruma::{OwnedUserId, UserId};
use serde_json::Value;
use tokio::{sync::Semaphore, task::spawn_blocking};
use url::Url;

use self::web::{Body, Found, Unfetched, Wanted, Web};
use crate::{
    Base, Fault,
    media::{Media, thumbnails::Measured},
};

/// For how long what failed is not tried again.
const FAILED_MS: u64 = 5 * 60 * 1000;

/// What is told of an address: properties of the Open Graph protocol, those of the picture as Matrix has them.
pub type Preview = Arc<BTreeMap<String, Value>>;

/// Why there is no preview.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PreviewError {
    /// The operator does not want any.
    #[error("this server makes no previews")]
    Off,
    /// What is asked for is no address on the web.
    #[error("this is no address of the web (https://...)")]
    NoAddress,
    /// The server is busy with others.
    #[error("too many previews are being made; try again shortly")]
    Busy,
    /// Nothing could be fetched.
    #[error(transparent)]
    Unfetched(#[from] Unfetched),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

type Outcome = Result<Preview, PreviewError>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

/// Makes previews and keeps them for a while.
pub struct Previews {
    base: Arc<Base>,
    media: Arc<Media>,
    web: OnceLock<Arc<dyn Web>>,
    places: Semaphore,
    kept: Mutex<Kept>,
}

/// What was told of late, and what is being made.
#[derive(Default)]
struct Kept {
    told: HashMap<Url, (u64, Outcome)>,
    /// The same in the order in which they were told.
    order: VecDeque<(Url, u64)>,
    /// Each with the user who asked first.
    under_way: HashMap<Url, (OwnedUserId, Flight)>,
}

impl Previews {
    /// None yet.
    pub fn new(base: Arc<Base>, media: Arc<Media>) -> Arc<Self> {
        let places = Semaphore::new(base.config.media.previews.concurrency);
        Arc::new(Self { base, media, web: OnceLock::new(), places, kept: Mutex::default() })
    }

    /// From now on pages are fetched through this. Said once.
    pub fn look_through(&self, web: Arc<dyn Web>) {
        // Said twice, the first holds.
        let _ = self.web.set(web);
    }

    /// What lies at this address, for this user. Its making goes on when those who wait for it leave.
    pub async fn of(self: &Arc<Self>, user: &UserId, address: &str) -> Outcome {
        let web = match self.web.get() {
            Some(web) if self.base.config.media.previews.enabled => Arc::clone(web),
            _ => return Err(PreviewError::Off),
        };
        let url = named(address).ok_or(PreviewError::NoAddress)?;
        let flight = {
            let mut kept = self.kept.lock();
            if let Some(outcome) = kept.told(&url, self.base.clock.now_ms()) {
                return outcome;
            }
            match kept.under_way.get(&url) {
                Some((_, flight)) => flight.clone(),
                None if kept.is_busy(user) => return Err(PreviewError::Busy),
                None => self.fly(&mut kept, user, url, web),
            }
        };
        flight.await
    }

    fn fly(self: &Arc<Self>, kept: &mut Kept, user: &UserId, url: Url, web: Arc<dyn Web>) -> Flight {
        let (previews, of) = (Arc::clone(self), url.clone());
        let flight = async move {
            let making = AssertUnwindSafe(previews.make(&of, web.as_ref())).catch_unwind().await;
            // Else those who wait would do so for ever, and their places be taken.
            let outcome = making.unwrap_or_else(|_| Err(Fault::Bug("the making of a preview panicked".into()).into()));
            previews.kept.lock().land(&of, &outcome, &previews.base);
            outcome
        };
        let flight = flight.boxed().shared();
        kept.under_way.insert(url, (user.to_owned(), flight.clone()));
        tokio::spawn(flight.clone());
        flight
    }

    async fn make(&self, url: &Url, web: &dyn Web) -> Outcome {
        let gone = |_| Fault::Bug("the places of previews are closed".to_owned());
        let _place = self.places.acquire().await.map_err(gone)?;
        let Found { url, content_type, body } = web.get(url, Wanted::Any).await?;
        let mut properties = BTreeMap::new();
        match body {
            Body::Page(bytes) => {
                let page = read(bytes, content_type, url).await?;
                properties.extend(page.properties.into_iter().map(|(name, text)| (name, Value::from(text))));
                if let Some(at) = page.picture {
                    self.add_picture_at(&at, web, &mut properties).await;
                }
            }
            Body::Picture(bytes) => self.add_picture(bytes, &mut properties).await,
            Body::Other => {}
        }
        Ok(Arc::new(properties))
    }

    /// Adds a page's picture. A page without one is better than none.
    async fn add_picture_at(&self, at: &Url, web: &dyn Web, properties: &mut BTreeMap<String, Value>) {
        match web.get(at, Wanted::Picture).await {
            Ok(Found { body: Body::Picture(bytes), .. }) => self.add_picture(bytes, properties).await,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the picture of a page could not be fetched"),
        }
    }

    /// Keeps a picture and adds what is told of it. What is none, whatever it says it is, is not kept.
    async fn add_picture(&self, bytes: Bytes, properties: &mut BTreeMap<String, Value>) {
        let size = bytes.len();
        let Measured { format, width, height } = match self.media.measure(&bytes).await {
            Ok(measured) => measured,
            Err(error) => return tracing::debug!(%error, "what a page calls its picture is not kept"),
        };
        match self.media.keep_for_preview(bytes, format).await {
            Ok(uri) => properties.extend([
                ("og:image".to_owned(), Value::from(uri.to_string())),
                ("og:image:type".to_owned(), Value::from(format.content_type())),
                ("og:image:width".to_owned(), Value::from(width)),
                ("og:image:height".to_owned(), Value::from(height)),
                ("matrix:image:size".to_owned(), Value::from(size)),
            ]),
            Err(error) => tracing::warn!(%error, "the picture of a page could not be kept"),
        }
    }
}

impl Kept {
    /// Whether all places are taken, or all that one user may have.
    fn is_busy(&self, user: &UserId) -> bool {
        let of_user = || self.under_way.values().filter(|(asker, _)| asker == user).count();
        self.under_way.len() >= MAX_PREVIEWS_WAITING || of_user() >= MAX_PREVIEWS_WAITING_FOR_ONE
    }

    fn told(&self, url: &Url, now_ms: u64) -> Option<Outcome> {
        self.told.get(url).filter(|(until_ms, _)| now_ms < *until_ms).map(|(_, outcome)| outcome.clone())
    }

    /// A preview was made: it is told from now on, until it is too old or there are too many.
    fn land(&mut self, url: &Url, outcome: &Outcome, base: &Base) {
        self.under_way.remove(url);
        let config = &base.config.media.previews;
        let keep_ms = match outcome {
            Ok(_) => u64::try_from(config.keep_for.as_millis()).unwrap_or(u64::MAX),
            Err(PreviewError::Unfetched(_)) => FAILED_MS,
            Err(_) => return,
        };
        let until_ms = base.clock.now_ms().saturating_add(keep_ms);
        self.told.insert(url.clone(), (until_ms, outcome.clone()));
        self.order.push_back((url.clone(), until_ms));
        while self.order.len() > config.keep
            && let Some((oldest, until_ms)) = self.order.pop_front()
        {
            // It may have been told anew since.
            if self.told.get(&oldest).is_some_and(|(until, _)| *until == until_ms) {
                self.told.remove(&oldest);
            }
        }
    }
}

/// The address that is looked at: without what is for the browser or the user alone.
fn named(address: &str) -> Option<Url> {
    if address.len() > MAX_PREVIEW_URL_BYTES {
        return None;
    }
    let mut url = Url::parse(address).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    url.set_fragment(None);
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(url)
}

/// Reads a page where it holds up nobody: that takes milliseconds.
async fn read(bytes: Bytes, content_type: Option<String>, url: Url) -> Result<page::Page, Fault> {
    let read = spawn_blocking(move || page::read(&bytes, content_type.as_deref(), &url)).await;
    read.map_err(|error| Fault::Bug(format!("a page could not be read: {error}")))
}
