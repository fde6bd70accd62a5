//! The life of files on the memory engine and the memory store.

mod life;
mod sizes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use depesche_config::Config;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use ruma::{OwnedMxcUri, UserId};
use tokio::sync::Notify;

use super::{
    BrokenBody, Content, Dimensions, Media, NewFile, Shown, ThumbnailError, UploadError,
    blobs::BlobName,
    memory::MemoryBlobs,
    thumbnails::{Made, Measured, Order, Source, Thumbnailer, Unmade},
};
use crate::{Base, records::media::ImageFormat, testing::Fixture, verify::verify};

/// Makes the text of the order, when it is let.
#[derive(Default)]
struct Fake {
    made: AtomicUsize,
    /// Waits for a permit before it goes on, if this says so.
    gate: Option<Arc<Notify>>,
}

impl Thumbnailer for Fake {
    fn make(&self, mut source: Source, order: Order) -> BoxFuture<'_, Result<Made, Unmade>> {
        async move {
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            self.made.fetch_add(1, Ordering::Relaxed);
            let first = source.bytes.next().await.expect("a piece").expect("readable");
            match &first[..] {
                b"small" => Ok(Made::Original(ImageFormat::Gif)),
                b"text" => Err(Unmade::Unfit),
                b"panic" => panic!("as a test wants it"),
                _ => Ok(Made::Picture {
                    bytes: format!("{}x{}", order.width, order.height).into(),
                    format: ImageFormat::Png,
                }),
            }
        }
        .boxed()
    }

    fn measure(&self, source: Source) -> BoxFuture<'_, Result<Measured, Unmade>> {
        let height = u32::try_from(source.size).unwrap();
        async move { Ok(Measured { format: ImageFormat::Png, width: 1, height }) }.boxed()
    }
}

struct Home {
    fixture: Fixture,
    blobs: MemoryBlobs,
    fake: Arc<Fake>,
    media: Arc<Media>,
}

impl Home {
    fn new(config: &str) -> Self {
        Self::with(config, Fake::default())
    }

    fn with(config: &str, fake: Fake) -> Self {
        let fixture = Fixture::new();
        let config = Config::parse(&format!("[server]\nname = \"agency.test\"\n[media]\n{config}")).unwrap();
        let old = &fixture.base;
        let (engine, clock, random) = (Arc::clone(&old.engine), old.clock.clone(), old.random.clone());
        let base = Arc::new(Base::new(engine, clock, random, Arc::new(config), old.stopping.clone()));
        let (blobs, fake) = (MemoryBlobs::default(), Arc::new(fake));
        let media = Media::new(base, Arc::new(blobs.clone()), Arc::<Fake>::clone(&fake));
        Self { fixture, blobs, fake, media }
    }

    async fn upload(&self, user: &UserId, text: &'static str) -> Result<String, UploadError> {
        let new = NewFile { content_type: Some("text/plain".into()), ..NewFile::default() };
        Ok(id(&self.media.upload(user, &new, pieces(&[text])).await?))
    }

    async fn content(&self, id: &str) -> Content {
        self.media.find(&self.fixture.base.name, id, Duration::ZERO).await.unwrap()
    }

    async fn thumbnail(&self, content: &Content, wanted: Dimensions) -> Result<Shown, ThumbnailError> {
        self.media.thumbnail(content, wanted, "@alice:agency.test").await
    }

    async fn text(&self, id: &str) -> String {
        let content = self.content(id).await;
        let pieces = self.media.read(BlobName(content.blob), 0..content.size).await.unwrap();
        let bytes: Vec<Bytes> = pieces.map(Result::unwrap).collect().await;
        String::from_utf8(bytes.concat()).unwrap()
    }

    async fn is_sound(&self) {
        let report = verify(&self.fixture.base.view(), |_| ()).await.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    }
}

fn id(uri: &OwnedMxcUri) -> String {
    uri.media_id().unwrap().to_owned()
}

fn pieces(texts: &[&'static str]) -> impl Stream + use<> {
    stream::iter(texts.iter().map(|text| Ok::<_, BrokenBody>(Bytes::from_static(text.as_bytes()))).collect::<Vec<_>>())
}

/// A body.
trait Stream: futures::Stream<Item = Result<Bytes, BrokenBody>> + Unpin + Send {}
impl<S: futures::Stream<Item = Result<Bytes, BrokenBody>> + Unpin + Send> Stream for S {}
