//! Which thumbnails there are, and that each is made once.

use std::sync::{Arc, atomic::Ordering};

use depesche_rules::bounds::MAX_THUMBNAILS_PER_FILE;
use ruma::user_id;
use tokio::sync::Notify;

use super::{Fake, Home};
use crate::{
    keyspace::THUMBNAIL,
    media::{
        Dimensions, ImageFormat, ThumbnailError,
        thumbnails::{Order, ShownBytes, Unmade},
    },
};

fn whole(width: u32, height: u32) -> Dimensions {
    Dimensions { width, height, crop: false, animated: false }
}

fn cut(width: u32, height: u32) -> Dimensions {
    Dimensions { crop: true, ..whole(width, height) }
}

#[test]
fn sizes_are_rounded_up() {
    for (wanted, made) in [
        (whole(32, 32), (32, 32)),
        (whole(33, 1), (96, 96)),
        (whole(320, 240), (320, 240)),
        (whole(240, 320), (640, 480)),
        (whole(640, 480), (640, 480)),
        (whole(800, 600), (800, 600)),
        (whole(801, 1), (1600, 1200)),
        (whole(4096, 10), (4096, 10)),
        (cut(32, 32), (32, 32)),
        (cut(96, 96), (96, 96)),
        (cut(40, 40), (96, 96)),
        (cut(40, 20), (96, 48)),
        (cut(30, 10), (32, 11)),
        (cut(1, 4096), (1, 4096)),
    ] {
        let order = Order::of(wanted).unwrap();
        assert_eq!((order.width, order.height), made, "{wanted:?}");
        assert!(order.width >= wanted.width && order.height >= wanted.height);
    }
    for none in [whole(0, 1), whole(1, 0), whole(4097, 1), cut(1, 4097)] {
        assert!(Order::of(none).is_none(), "{none:?}");
    }
}

#[tokio::test]
async fn a_thumbnail_is_made_once_and_goes_with_its_file() {
    let home = Home::new("");
    let alice = user_id!("@alice:agency.test");
    let id = home.upload(alice, "picture").await.unwrap();
    let content = home.content(&id).await;
    let shown = home.media.thumbnail(&content, cut(30, 30)).await.unwrap();
    assert!(matches!(&shown.bytes, ShownBytes::Fresh(bytes) if &bytes[..] == b"32x32"));
    // The same bytes in another file, and another wish that comes to the same.
    let again = home.content(&home.upload(alice, "picture").await.unwrap()).await;
    let shown = home.media.thumbnail(&again, cut(32, 32)).await.unwrap();
    assert!(matches!(shown.bytes, ShownBytes::Blob(_, 5)));
    assert_eq!((shown.format, home.fake.made.load(Ordering::Relaxed)), (ImageFormat::Png, 1));
    assert_eq!(home.blobs.count(), 2);
    home.is_sound().await;
    for file in home.media.list(alice, None, 10).await.unwrap() {
        home.media.remove(&file.id).await.unwrap();
    }
    assert_eq!(home.blobs.count(), 0);
    home.is_sound().await;
}

#[tokio::test]
async fn a_picture_that_is_small_is_its_own_thumbnail() {
    let home = Home::new("");
    let id = home.upload(user_id!("@alice:agency.test"), "small").await.unwrap();
    let content = home.content(&id).await;
    for _ in 0..2 {
        let shown = home.media.thumbnail(&content, whole(100, 100)).await.unwrap();
        assert!(matches!(shown.bytes, ShownBytes::Blob(name, 5) if name.0 == content.blob));
        assert_eq!(shown.format, ImageFormat::Gif);
    }
    assert_eq!((home.fake.made.load(Ordering::Relaxed), home.blobs.count()), (1, 1));
}

#[tokio::test]
async fn what_is_no_picture_is_tried_again_after_a_while() {
    let home = Home::new("");
    let id = home.upload(user_id!("@alice:agency.test"), "text").await.unwrap();
    let content = home.content(&id).await;
    for tried in [1, 1, 2] {
        let outcome = home.media.thumbnail(&content, whole(100, 100)).await;
        assert!(matches!(outcome, Err(ThumbnailError::Unmade(Unmade::Unfit))));
        assert_eq!(home.fake.made.load(Ordering::Relaxed), tried);
        home.fixture.hand.fetch_add(6 * 60 * 1000, Ordering::Relaxed);
    }
    let outcome = home.media.thumbnail(&content, whole(0, 0)).await;
    assert!(matches!(outcome, Err(ThumbnailError::Dimensions)));
}

#[tokio::test]
async fn those_who_want_the_same_wait_for_one() {
    let gate = Arc::new(Notify::new());
    let home = Home::with("", Fake { gate: Some(Arc::clone(&gate)), ..Fake::default() });
    let id = home.upload(user_id!("@alice:agency.test"), "picture").await.unwrap();
    let content = home.content(&id).await;
    let wishes = (0..20).map(|_| home.media.thumbnail(&content, whole(100, 100)));
    let open = async { gate.notify_one() };
    let (shown, ()) = tokio::join!(futures::future::join_all(wishes), open);
    assert!(shown.iter().all(Result::is_ok));
    assert_eq!(home.fake.made.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_file_whose_thumbnail_is_in_the_making_can_go() {
    let gate = Arc::new(Notify::new());
    let home = Home::with("", Fake { gate: Some(Arc::clone(&gate)), ..Fake::default() });
    let id = home.upload(user_id!("@alice:agency.test"), "picture").await.unwrap();
    let content = home.content(&id).await;
    let remove = async {
        home.media.remove(&id).await.unwrap();
        gate.notify_one();
    };
    let (shown, ()) = tokio::join!(home.media.thumbnail(&content, whole(100, 100)), remove);
    drop(shown);
    assert_eq!(home.blobs.count(), 0);
    home.is_sound().await;
}

#[tokio::test]
async fn of_one_file_so_many_thumbnails_are_kept() {
    let home = Home::new("");
    let id = home.upload(user_id!("@alice:agency.test"), "picture").await.unwrap();
    let content = home.content(&id).await;
    for height in 1..=MAX_THUMBNAILS_PER_FILE + 3 {
        let height = u32::try_from(height).unwrap();
        home.media.thumbnail(&content, cut(1600, height)).await.unwrap();
    }
    let rows = home.fixture.base.view().scan(&THUMBNAIL, THUMBNAIL.under(&()), 1000).await.unwrap();
    assert_eq!(rows.len(), MAX_THUMBNAILS_PER_FILE);
    home.is_sound().await;
}
