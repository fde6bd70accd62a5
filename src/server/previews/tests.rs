//! Previews over a web of the test's own.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use depesche_config::Config;
use depesche_store::Options;
use ruma::{MxcUri, server_name, user_id};
use serde_json::json;
use tokio::sync::Notify;

use super::*;
use crate::{
    keyspace::PREVIEW_PICTURE,
    media::{
        FindError, ImageFormat,
        memory::MemoryBlobs,
        thumbnails::{Made, Order, Source, Thumbnailer, Unmade},
    },
    testing::{Fixture, engine},
    verify::verify,
};

/// Has a page at `/page`, which names the picture `/picture`, and so on.
#[derive(Default)]
struct Paper {
    asked: AtomicUsize,
    /// What lies at `/slow` is there when it is told.
    gate: Notify,
}

impl Web for Paper {
    fn get<'a>(&'a self, url: &'a Url, wanted: Wanted) -> BoxFuture<'a, Result<Found, Unfetched>> {
        async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let page = |text: &'static str| Body::Page(Bytes::from_static(text.as_bytes()));
            let body = match url.path() {
                "/page" => page("<title>Page</title><meta property=og:image content=/picture>"),
                "/broken" => page("<title>Page</title><meta property=og:image content=/text>"),
                "/bare" => page("<title>Page</title><meta property=og:image content=/gone>"),
                "/slow" => {
                    self.gate.notified().await;
                    page("<title>Slow</title>")
                }
                "/picture" => Body::Picture(Bytes::from_static(b"picture")),
                "/text" => Body::Picture(Bytes::from_static(b"text")),
                "/file" => Body::Other,
                "/panic" => panic!("as a test wants it"),
                "/denied" => return Err(Unfetched::NotAllowed("so it is")),
                _ => return Err(Unfetched::Failed("nobody is there".to_owned())),
            };
            assert!(wanted == Wanted::Any || matches!(body, Body::Picture(_)), "{url}");
            Ok(Found { url: url.clone(), content_type: None, body })
        }
        .boxed()
    }
}

/// Takes all but one for pictures.
struct Ruler;

impl Thumbnailer for Ruler {
    fn make(&self, _: Source, _: Order) -> BoxFuture<'_, Result<Made, Unmade>> {
        async { Err(Unmade::Unfit) }.boxed()
    }

    fn measure(&self, source: Source) -> BoxFuture<'_, Result<Measured, Unmade>> {
        let is_text = source.size == 4;
        async move {
            if is_text { Err(Unmade::Unfit) } else { Ok(Measured { format: ImageFormat::Png, width: 3, height: 2 }) }
        }
        .boxed()
    }
}

struct Home {
    fixture: Fixture,
    media: Arc<Media>,
    previews: Arc<Previews>,
    blobs: MemoryBlobs,
    paper: Arc<Paper>,
}

impl Home {
    fn new(config: &str) -> Self {
        let config = format!("[server]\nname = \"agency.test\"\n[media.previews]\nenabled = true\n{config}");
        let fixture = Fixture::configured(engine(Options::default()), Config::parse(&config).unwrap());
        let (blobs, paper) = (MemoryBlobs::default(), Arc::new(Paper::default()));
        let media = Media::new(Arc::clone(&fixture.base), Arc::new(blobs.clone()), Arc::new(Ruler));
        let previews = Previews::new(Arc::clone(&fixture.base), Arc::clone(&media));
        previews.look_through(Arc::<Paper>::clone(&paper));
        Self { fixture, media, previews, blobs, paper }
    }

    async fn of(&self, path: &str) -> Outcome {
        self.for_user("alice", path).await
    }

    async fn for_user(&self, name: &str, path: &str) -> Outcome {
        let user = UserId::parse(format!("@{name}:agency.test")).unwrap();
        self.previews.of(&user, &format!("https://a.test{path}")).await
    }

    async fn told(&self, path: &str) -> Value {
        json!(*self.of(path).await.unwrap())
    }

    fn asked(&self) -> usize {
        self.paper.asked.load(Ordering::Relaxed)
    }

    fn later(&self, time: Duration) {
        self.fixture.hand.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
    }

    async fn pictures(&self) -> usize {
        self.fixture.base.view().scan(&PREVIEW_PICTURE, PREVIEW_PICTURE.under(&()), 100).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_page_is_told_with_a_copy_of_its_picture() {
    let home = Home::new("");
    let mut told = home.told("/page").await;
    let uri = told["og:image"].take();
    let expected = json!({
        "og:title": "Page", "og:image": null, "og:image:type": "image/png", "og:image:width": 3,
        "og:image:height": 2, "matrix:image:size": 7,
    });
    assert_eq!(told, expected);
    let uri: &MxcUri = uri.as_str().unwrap().into();
    let kept = home.media.find(server_name!("agency.test"), uri.media_id().unwrap(), Duration::ZERO).await.unwrap();
    assert_eq!((kept.size, kept.content_type.as_deref()), (7, Some("image/png")));
    let told = home.told("/picture").await;
    assert_eq!((&told["og:image:type"], &told["og:title"]), (&json!("image/png"), &Value::Null));
    assert_eq!(home.blobs.count(), 1, "the same bytes are kept once");
}

#[tokio::test]
async fn what_is_no_picture_is_left_out() {
    let home = Home::new("");
    for path in ["/broken", "/bare"] {
        assert_eq!(home.told(path).await, json!({ "og:title": "Page" }), "{path}");
    }
    for path in ["/text", "/file"] {
        assert_eq!(home.told(path).await, json!({}), "{path}");
    }
    assert_eq!((home.pictures().await, home.blobs.count()), (0, 0));
}

#[tokio::test]
async fn an_address_is_fetched_once_in_its_time() {
    let home = Home::new("keep_for = \"10m\"");
    assert_eq!(home.told("/bare").await, home.told("/bare#part").await);
    assert_eq!(home.asked(), 2, "the page and its picture");
    home.later(Duration::from_mins(10));
    home.told("/bare").await;
    assert_eq!(home.asked(), 4);
    for _ in 0..3 {
        assert!(matches!(home.of("/gone").await, Err(PreviewError::Unfetched(Unfetched::Failed(_)))));
        assert!(matches!(home.of("/denied").await, Err(PreviewError::Unfetched(Unfetched::NotAllowed(_)))));
    }
    assert_eq!(home.asked(), 6, "what failed is not tried again");
    home.later(Duration::from_millis(FAILED_MS));
    assert!(home.of("/gone").await.is_err());
    assert_eq!(home.asked(), 7, "for a while");
}

#[tokio::test]
async fn only_so_many_are_remembered() {
    let home = Home::new("keep = 10");
    for n in 0..11 {
        home.told(&format!("/file?{n}")).await;
    }
    home.told("/file?10").await;
    home.told("/file?1").await;
    assert_eq!(home.asked(), 11);
    home.told("/file?0").await;
    assert_eq!(home.asked(), 12, "the oldest is forgotten");
    let kept = home.previews.kept.lock();
    assert_eq!((kept.told.len(), kept.order.len(), kept.under_way.len()), (10, 10, 0));
}

#[tokio::test]
async fn those_who_want_the_same_wait_for_one_making() {
    let home = Home::new("concurrency = 1");
    let (first, second, other) = (home.told("/slow"), home.told("/slow"), home.told("/file"));
    let gate = async {
        tokio::task::yield_now().await;
        assert_eq!(home.asked(), 1, "the other one waits for its place");
        home.paper.gate.notify_one();
    };
    let (first, second, other, ()) = tokio::join!(first, second, other, gate);
    assert_eq!((first["og:title"].as_str(), &first), (Some("Slow"), &second));
    assert_eq!((other, home.asked()), (json!({}), 2));
}

#[tokio::test]
async fn too_many_that_wait_are_refused_of_one_and_of_all() {
    let home = Home::new("concurrency = 1");
    let waiting: Vec<_> = (0..MAX_PREVIEWS_WAITING)
        .map(|n| (format!("user{}", n / MAX_PREVIEWS_WAITING_FOR_ONE), format!("/slow?{n}")))
        .collect();
    let mut asking = Vec::new();
    for (n, (user, path)) in waiting.iter().enumerate() {
        let mut one = home.for_user(user, path).boxed();
        assert!((&mut one).now_or_never().is_none());
        asking.push(one);
        if n + 1 == MAX_PREVIEWS_WAITING_FOR_ONE {
            assert!(matches!(home.for_user(user, "/file").await, Err(PreviewError::Busy)));
        }
    }
    assert!(matches!(home.of("/file").await, Err(PreviewError::Busy)));
    let joins = home.of("/slow?0").now_or_never();
    assert!(joins.is_none(), "what is being made anyway is no place more");
}

#[tokio::test]
async fn one_that_panics_is_not_in_the_making_for_ever() {
    let home = Home::new("");
    for _ in 0..2 {
        assert!(matches!(home.of("/panic").await, Err(PreviewError::Fault(_))));
    }
}

#[tokio::test]
async fn what_is_no_address_of_the_web_is_refused() {
    let home = Home::new("");
    let long = format!("https://a.test/{}", "x".repeat(MAX_PREVIEW_URL_BYTES));
    for address in ["", "a.test", "/page", "ftp://a.test/page", "file:///page", "data:text/html,x", "https://", &long] {
        assert!(
            matches!(home.previews.of(user_id!("@alice:agency.test"), address).await, Err(PreviewError::NoAddress)),
            "{address}"
        );
    }
    assert!(home.previews.of(user_id!("@alice:agency.test"), "https://user:pass@a.test/file").await.is_ok());
    home.told("/file").await;
    assert_eq!(home.asked(), 1, "it is the same without the user");
}

#[tokio::test]
async fn without_an_operators_word_nobody_looks() {
    let home = Home::new("");
    let config = Config::named(server_name!("agency.test"));
    let off = Fixture::configured(engine(Options::default()), config);
    let previews = Previews::new(Arc::clone(&off.base), Arc::clone(&home.media));
    previews.look_through(Arc::<Paper>::clone(&home.paper));
    assert!(matches!(previews.of(user_id!("@alice:agency.test"), "https://a.test/page").await, Err(PreviewError::Off)));
    assert_eq!(home.asked(), 0);
}

#[tokio::test]
async fn pictures_end_by_themselves() {
    let home = Home::new("picture_keep_for = \"2d\"\nkeep_for = \"1h\"");
    let first = home.told("/page").await["og:image"].as_str().unwrap().to_owned();
    let id = first.rsplit('/').next().unwrap().to_owned();
    home.later(Duration::from_hours(24));
    home.told("/page").await;
    assert_eq!((home.pictures().await, home.blobs.count()), (2, 1));
    home.later(Duration::from_hours(24));
    home.told("/page").await;
    assert_eq!((home.pictures().await, home.blobs.count()), (2, 1), "the first is over");
    let found = home.media.find(server_name!("agency.test"), &id, Duration::ZERO).await;
    assert!(matches!(found, Err(FindError::NotFound)), "{found:?}");
    // One that an operator removed before is over all the same.
    let last = home.fixture.base.view().scan(&PREVIEW_PICTURE, PREVIEW_PICTURE.under(&()), 9).await.unwrap();
    home.media.remove(&last[0].0.1).await.unwrap();
    home.later(Duration::from_hours(48));
    home.told("/picture").await;
    assert_eq!((home.pictures().await, home.blobs.count()), (1, 1));
    let report = verify(&home.fixture.base.view(), |_| ()).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}
