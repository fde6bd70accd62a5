//! Thumbnails: which sizes there are, who makes them, and how they are kept.
//!
//! Making them is work: so many wait at a time, of each asker fewer, and of those a few are in the making
//! ([`queue`]), so that who asks for much waits for themselves.
//!
//! A client's wish is rounded up to one of a few sizes ([`Order::of`]), because the specification lets a thumbnail be
//! larger than asked and never smaller. What was made is kept as a blob, under the blob it was made of, so files with
//! the same bytes share it. Those who want the same thumbnail at the same time wait for one making, and what could not
//! be made is not tried again for a while.
//!
//! The making itself is behind [`Thumbnailer`]: it decodes what strangers sent, and `main` gives us one that does so in
//! another process.
//!
//! Spec: [thumbnails](https://spec.matrix.org/v1.19/client-server-api/#thumbnails).

mod queue;

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use depesche_rules::bounds::{MAX_THUMBNAIL_DIMENSION, MAX_THUMBNAIL_SOURCE_BYTES, MAX_THUMBNAILS_PER_FILE};
use depesche_store::Mutex;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
};
use sha2::{Digest, Sha256};

use self::queue::{Place, Queue};
use super::{
    Media,
    blobs::{BlobError, BlobName, ByteStream},
    upload::Received,
};
use crate::{
    Fault,
    keyspace::{BLOB, THUMBNAIL},
    records::media::{Content, ImageFormat, Thumbnail},
    tx::Tx,
};

/// Makes pictures smaller.
pub trait Thumbnailer: Send + Sync + 'static {
    /// A thumbnail of these bytes, whatever they are.
    fn make(&self, source: Source, order: Order) -> BoxFuture<'_, Result<Made, Unmade>>;

    /// What these bytes are and how large, whatever they are said to be.
    fn measure(&self, source: Source) -> BoxFuture<'_, Result<Measured, Unmade>>;
}

/// What a picture is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Measured {
    /// Its format, by its bytes.
    pub format: ImageFormat,
    /// Pixels, as one sees it.
    pub width: u32,
    /// Pixels, as one sees it.
    pub height: u32,
}

/// Bytes to make a thumbnail of.
pub struct Source {
    /// Them.
    pub bytes: ByteStream,
    /// How many.
    pub size: u64,
}

/// A thumbnail, or the advice to do without.
#[derive(Clone, Debug)]
pub enum Made {
    /// A smaller picture.
    Picture {
        /// Its bytes.
        bytes: Bytes,
        /// Their format.
        format: ImageFormat,
    },
    /// The picture is not larger than what is wanted, and moves only if it may.
    Original(ImageFormat),
}

/// Why there is no thumbnail.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unmade {
    /// The bytes are no picture, or a broken one.
    #[error("this is no picture that the server can make smaller")]
    Unfit,
    /// It would take more time or memory than the operator allows.
    #[error("the picture is too large to be made smaller")]
    TooLarge,
    /// Nothing to do with the picture.
    #[error("no thumbnail could be made: {0}")]
    Failed(String),
}

/// What a client wants.
#[derive(Clone, Copy, Debug)]
pub struct Dimensions {
    /// At least so many pixels, if the picture has them.
    pub width: u32,
    /// At least so many pixels, if the picture has them.
    pub height: u32,
    /// Cuts off what does not have the ratio of the two, instead of showing all.
    pub crop: bool,
    /// May move.
    pub animated: bool,
}

/// What is made: a [`Dimensions`] rounded up.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Order {
    /// The least width: the thumbnail has less only if the picture does.
    pub width: u32,
    /// The least height.
    pub height: u32,
    /// Exactly this ratio, the rest cut off on both sides.
    pub crop: bool,
    /// May move.
    pub animated: bool,
}

/// Whole pictures are made to cover one of these. The specification names 320x240, 640x480 and 800x600.
const SCALED: [(u32, u32); 9] = [
    (32, 32),
    (96, 96),
    (320, 240),
    (640, 480),
    (800, 600),
    (1600, 1200),
    (2400, 1800),
    (3200, 2400),
    (MAX_THUMBNAIL_DIMENSION, MAX_THUMBNAIL_DIMENSION),
];
/// Cut ones have this as the longer of their sides. The specification names 32x32 and 96x96.
const CROPPED: [u32; 10] = [32, 96, 160, 320, 640, 800, 1600, 2400, 3200, MAX_THUMBNAIL_DIMENSION];
/// Their shorter side is a multiple of the longer one's part by this, so that there are not as many thumbnails of a
/// picture as there are ratios. The usual ones (1:1, 5:4, 4:3, 3:2, 16:9) are met, or missed by less than a hundredth.
const RATIOS: u32 = 48;

impl Order {
    /// The size to make for a wish; `None` if it wishes for nothing. Who wishes for more than any screen shows gets the
    /// most there is, or the picture itself.
    pub fn of(wanted: Dimensions) -> Option<Self> {
        let Dimensions { width, height, crop, animated } = wanted;
        if width == 0 || height == 0 {
            return None;
        }
        let (width, height) = (width.min(MAX_THUMBNAIL_DIMENSION), height.min(MAX_THUMBNAIL_DIMENSION));
        let (width, height) = if crop { round_cropped(width, height) } else { round_scaled(width, height) };
        Some(Self { width, height, crop, animated })
    }
}

fn round_scaled(width: u32, height: u32) -> (u32, u32) {
    let covering = SCALED.iter().find(|(w, h)| *w >= width && *h >= height);
    covering.copied().unwrap_or((width, height))
}

fn round_cropped(width: u32, height: u32) -> (u32, u32) {
    let longer = width.max(height);
    let side = CROPPED.iter().find(|side| **side >= longer).copied().unwrap_or(longer);
    // Rounded up, so that neither side gets shorter than asked. None is above 4096, so nothing overflows.
    let stretched = |length: u32| (side * (length * RATIOS).div_ceil(longer)).div_ceil(RATIOS);
    (stretched(width), stretched(height))
}

/// A thumbnail to be shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its bytes.
    pub bytes: ShownBytes,
    /// Their format.
    pub format: ImageFormat,
}

/// Where the bytes of a thumbnail are.
#[derive(Clone, Debug)]
pub enum ShownBytes {
    /// In the store: which, and how many.
    Blob(BlobName, u64),
    /// Here, because they have just been made.
    Fresh(Bytes),
}

/// Why a thumbnail is not shown.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The size is none.
    #[error("a thumbnail is at least one pixel wide and high")]
    Dimensions,
    /// As many wait, or as many for this asker, as may.
    #[error("too many thumbnails are being made; try again shortly")]
    Busy,
    /// It cannot be made.
    #[error(transparent)]
    Unmade(#[from] Unmade),
    /// The bytes could not be read or written.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Names a thumbnail: of which blob, and what.
type Key = ([u8; 32], u32, u32, u8, u8);
type Flight = Shared<BoxFuture<'static, Result<Shown, ThumbnailError>>>;

/// Thumbnails in the making, those that could not be made of late, and who waits for some.
#[derive(Default)]
pub(super) struct Flights {
    queue: Queue,
    pub(super) under_way: Mutex<HashMap<Key, Flight>>,
    refused: Mutex<HashMap<Key, (u64, Unmade)>>,
}

/// For how long a thumbnail that could not be made is not tried again.
const REFUSED_MS: u64 = 10 * 60 * 1000;
/// How many such are remembered.
const MAX_REFUSED: usize = 4096;

impl Media {
    /// What a picture is that is not kept yet.
    pub async fn measure(&self, bytes: &Bytes) -> Result<Measured, Unmade> {
        let size = bytes.len() as u64;
        if size > MAX_THUMBNAIL_SOURCE_BYTES {
            return Err(Unmade::TooLarge);
        }
        let bytes = futures::stream::iter([Ok(bytes.clone())]).boxed();
        self.thumbnailer.measure(Source { bytes, size }).await
    }

    /// A thumbnail of a file, for whoever has this name: a user, or a stranger's address.
    pub async fn thumbnail(
        self: &Arc<Self>,
        content: &Content,
        wanted: Dimensions,
        asker: &str,
    ) -> Result<Shown, ThumbnailError> {
        let order = Order::of(wanted).ok_or(ThumbnailError::Dimensions)?;
        let key = (content.blob, order.width, order.height, u8::from(order.crop), u8::from(order.animated));
        if let Some(shown) = self.known(&key, content).await? {
            return Ok(shown);
        }
        let asking = self.flights.queue.ask(asker).ok_or(ThumbnailError::Busy)?;
        let under_way = self.flights.under_way.lock().get(&key).cloned();
        if let Some(flight) = under_way {
            return flight.await;
        }
        // Who leaves meanwhile has nothing made.
        let place = asking.place().await;
        match self.known(&key, content).await? {
            Some(shown) => Ok(shown),
            None => self.fly(key, content.clone(), order, place).await,
        }
    }

    /// What is known of a thumbnail without making it.
    async fn known(&self, key: &Key, content: &Content) -> Result<Option<Shown>, ThumbnailError> {
        if let Some(thumbnail) = self.base.view().get(&THUMBNAIL, key).await? {
            return Ok(Some(shown(content, &thumbnail)));
        }
        if content.size > MAX_THUMBNAIL_SOURCE_BYTES {
            return Err(Unmade::TooLarge.into());
        }
        match self.flights.refusal(key, self.base.clock.now_ms()) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(None),
        }
    }

    /// Joins the making of this thumbnail, or begins it. It goes on when those who wait for it leave.
    fn fly(self: &Arc<Self>, key: Key, content: Content, order: Order, place: Place) -> Flight {
        let mut under_way = self.flights.under_way.lock();
        if let Some(flight) = under_way.get(&key) {
            return flight.clone();
        }
        let media = Arc::clone(self);
        let flight = async move {
            let making = AssertUnwindSafe(media.make(key, &content, order)).catch_unwind().await;
            // Else those who wait would do so for ever, and this thumbnail be in the making.
            let outcome =
                making.unwrap_or_else(|_| Err(Fault::Bug("the making of a thumbnail panicked".into()).into()));
            if let Err(ThumbnailError::Unmade(unmade @ (Unmade::Unfit | Unmade::TooLarge))) = &outcome {
                media.flights.refuse(key, media.base.clock.now_ms(), unmade.clone());
            }
            media.flights.under_way.lock().remove(&key);
            drop(place);
            outcome
        };
        let flight = flight.boxed().shared();
        under_way.insert(key, flight.clone());
        tokio::spawn(flight.clone());
        flight
    }

    async fn make(&self, key: Key, content: &Content, order: Order) -> Result<Shown, ThumbnailError> {
        let bytes = self.blobs.open(BlobName(content.blob), 0..content.size).await?;
        let made = self.thumbnailer.make(Source { bytes, size: content.size }, order).await?;
        match made {
            Made::Original(format) => {
                let thumbnail = Thumbnail::Original(format);
                self.base.transact(|tx| async move { note(&tx, key, &Thumbnail::Original(format)).await }).await?;
                Ok(shown(content, &thumbnail))
            }
            Made::Picture { bytes, format } => {
                self.keep_picture(key, &bytes, format).await?;
                Ok(Shown { bytes: ShownBytes::Fresh(bytes), format })
            }
        }
    }

    async fn keep_picture(&self, key: Key, bytes: &Bytes, format: ImageFormat) -> Result<(), ThumbnailError> {
        let range = THUMBNAIL.under(&(key.0,));
        if self.base.view().scan(&THUMBNAIL, range, MAX_THUMBNAILS_PER_FILE).await?.len() >= MAX_THUMBNAILS_PER_FILE {
            // Somebody asks for every ratio there is; each is made, and not kept.
            return Ok(());
        }
        let mut draft = self.blobs.draft().await?;
        draft.write(bytes.clone()).await?;
        let (name, size) = (BlobName(Sha256::digest(bytes).into()), bytes.len() as u64);
        let thumbnail = &Thumbnail::Made { blob: name.0, size, format };
        let kept = self.keep(Received { draft, name, size }, |tx| async move {
            if note(&tx, key, thumbnail).await? { Ok(()) } else { Err(NotKept::Needless) }
        });
        match kept.await {
            Ok(()) | Err(NotKept::Needless) => Ok(()),
            Err(NotKept::Blobs(error)) => Err(error.into()),
            Err(NotKept::Fault(fault)) => Err(fault.into()),
        }
    }
}

/// Why a picture that was made is not kept.
enum NotKept {
    /// What it was made of is gone, or it is there already.
    Needless,
    Blobs(BlobError),
    Fault(Fault),
}

impl From<BlobError> for NotKept {
    fn from(error: BlobError) -> Self {
        Self::Blobs(error)
    }
}

impl From<Fault> for NotKept {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Notes a thumbnail, while its blob is there and has none; false otherwise.
async fn note(tx: &Tx, key: Key, thumbnail: &Thumbnail) -> Result<bool, Fault> {
    if tx.read(&BLOB, &(key.0,)).await?.is_none() || tx.read(&THUMBNAIL, &key).await?.is_some() {
        return Ok(false);
    }
    tx.put(&THUMBNAIL, &key, thumbnail);
    Ok(true)
}

/// Removes the rows of a blob's thumbnails, in the batch that removes the blob's. The blobs of the thumbnails.
pub(super) async fn forget(tx: &Tx, name: BlobName) -> Result<Vec<BlobName>, Fault> {
    let rows = tx.view().scan(&THUMBNAIL, THUMBNAIL.under(&(name.0,)), depesche_store::MAX_SCAN).await?;
    let mut blobs = Vec::new();
    for (key, thumbnail) in rows {
        tx.delete(&THUMBNAIL, &key);
        if let Thumbnail::Made { blob, .. } = thumbnail {
            blobs.push(BlobName(blob));
        }
    }
    Ok(blobs)
}

impl Flights {
    fn refusal(&self, key: &Key, now_ms: u64) -> Option<Unmade> {
        self.refused.lock().get(key).filter(|(until_ms, _)| now_ms < *until_ms).map(|(_, unmade)| unmade.clone())
    }

    fn refuse(&self, key: Key, now_ms: u64, unmade: Unmade) {
        let mut refused = self.refused.lock();
        if refused.len() >= MAX_REFUSED {
            refused.retain(|_, (until_ms, _)| now_ms < *until_ms);
        }
        if refused.len() < MAX_REFUSED {
            refused.insert(key, (now_ms.saturating_add(REFUSED_MS), unmade));
        }
    }
}

fn shown(content: &Content, thumbnail: &Thumbnail) -> Shown {
    match thumbnail {
        Thumbnail::Made { blob, size, format } => {
            Shown { bytes: ShownBytes::Blob(BlobName(*blob), *size), format: *format }
        }
        Thumbnail::Original(format) => {
            Shown { bytes: ShownBytes::Blob(BlobName(content.blob), content.size), format: *format }
        }
    }
}
