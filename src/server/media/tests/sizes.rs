//! Which thumbnails there are, and that each is made once.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use depesche_rules::bounds::{
    MAX_THUMBNAIL_SOURCE_BYTES, MAX_THUMBNAILS_ASKED, MAX_THUMBNAILS_ASKED_BY_ONE, MAX_THUMBNAILS_MADE,
    MAX_THUMBNAILS_MADE_FOR_ONE, MAX_THUMBNAILS_PER_FILE,
};
use futures::FutureExt;
use ruma::user_id;
use tokio::sync::Notify;

use super::{Fake, Home};
use crate::{
    keyspace::THUMBNAIL,
    media::{
        Content, Dimensions, ImageFormat, ThumbnailError,
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
        (whole(1601, 1), (2400, 1800)),
        (whole(4096, 10), (4096, 4096)),
        (whole(4097, 1), (4096, 4096)),
        (whole(u32::MAX, u32::MAX), (4096, 4096)),
        (cut(32, 32), (32, 32)),
        (cut(96, 96), (96, 96)),
        (cut(40, 40), (96, 96)),
        (cut(40, 20), (96, 48)),
        (cut(30, 10), (32, 11)),
        (cut(1600, 900), (1600, 900)),
        (cut(801, 800), (1600, 1600)),
        (cut(1, 4096), (86, 4096)),
        (cut(5000, 2000), (4096, 2048)),
    ] {
        let order = Order::of(wanted).unwrap();
        assert_eq!((order.width, order.height), made, "{wanted:?}");
        assert!(order.width >= wanted.width.min(4096) && order.height >= wanted.height.min(4096));
    }
    let every: BTreeSet<_> = (1..=4096)
        .flat_map(|height| [cut(4096, height), cut(height, 4096), whole(4096, height)])
        .filter_map(Order::of)
        .map(|order| (order.width, order.height))
        .collect();
    assert!(every.len() < 100, "{}", every.len());
    for none in [whole(0, 1), whole(1, 0), cut(1, 0)] {
        assert!(Order::of(none).is_none(), "{none:?}");
    }
}

#[tokio::test]
async fn a_thumbnail_is_made_once_and_goes_with_its_file() {
    let home = Home::new("");
    let alice = user_id!("@alice:agency.test");
    let id = home.upload(alice, "picture").await.unwrap();
    let content = home.content(&id).await;
    let shown = home.thumbnail(&content, cut(30, 30)).await.unwrap();
    assert!(matches!(&shown.bytes, ShownBytes::Fresh(bytes) if &bytes[..] == b"32x32"));
    // The same bytes in another file, and another wish that comes to the same.
    let again = home.content(&home.upload(alice, "picture").await.unwrap()).await;
    let shown = home.thumbnail(&again, cut(32, 32)).await.unwrap();
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
        let shown = home.thumbnail(&content, whole(100, 100)).await.unwrap();
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
        let outcome = home.thumbnail(&content, whole(100, 100)).await;
        assert!(matches!(outcome, Err(ThumbnailError::Unmade(Unmade::Unfit))));
        assert_eq!(home.fake.made.load(Ordering::Relaxed), tried);
        home.fixture.hand.fetch_add(6 * 60 * 1000, Ordering::Relaxed);
    }
    let outcome = home.thumbnail(&content, whole(0, 0)).await;
    assert!(matches!(outcome, Err(ThumbnailError::Dimensions)));
}

#[tokio::test]
async fn those_who_want_the_same_wait_for_one() {
    let gate = Arc::new(Notify::new());
    let home = Home::with("", Fake { gate: Some(Arc::clone(&gate)), ..Fake::default() });
    let id = home.upload(user_id!("@alice:agency.test"), "picture").await.unwrap();
    let content = home.content(&id).await;
    let wishes = (0..20).map(|_| home.thumbnail(&content, whole(100, 100)));
    let open = async { gate.notify_one() };
    let (shown, ()) = tokio::join!(futures::future::join_all(wishes), open);
    assert!(shown.iter().all(Result::is_ok));
    assert_eq!(home.fake.made.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn who_asks_for_much_waits_behind_others_and_who_leaves_has_nothing_made() {
    let gate = Arc::new(Notify::new());
    let home = Home::with("", Fake { gate: Some(Arc::clone(&gate)), ..Fake::default() });
    let content = home.content(&home.upload(user_id!("@alice:agency.test"), "picture").await.unwrap()).await;
    // No two are the same.
    let wishes: Vec<_> = (1..=48).flat_map(|part| [1600, 2400, 3200].map(|side| cut(side, side * part / 48))).collect();
    let (mut all, mut waiting) = (0, Vec::new());
    let mut asker = 0;
    while all < MAX_THUMBNAILS_ASKED {
        asker += 1;
        let name: &'static str = format!("asker {asker}").leak();
        for wish in wishes.iter().take(MAX_THUMBNAILS_ASKED_BY_ONE.min(MAX_THUMBNAILS_ASKED - all)) {
            let mut asking = Box::pin(home.media.thumbnail(&content, *wish, name));
            assert!(asking.as_mut().now_or_never().is_none());
            waiting.push(asking);
            all += 1;
        }
        if asker == 1 {
            let more = home.media.thumbnail(&content, whole(1, 1), name).await;
            assert!(matches!(more, Err(ThumbnailError::Busy)), "as many as one may ask for");
            assert_eq!(home.media.flights.under_way.lock().len(), MAX_THUMBNAILS_MADE_FOR_ONE);
        }
    }
    assert!(home.media.flights.under_way.lock().len() <= MAX_THUMBNAILS_MADE);
    let more = home.media.thumbnail(&content, whole(1, 1), "another").await;
    assert!(matches!(more, Err(ThumbnailError::Busy)), "as many as all may ask for");
    let begun = home.media.flights.under_way.lock().len();
    drop(waiting);
    let another = home.media.thumbnail(&content, whole(1, 1), "another");
    let open = async {
        while home.fake.made.load(Ordering::Relaxed) < begun + 1 {
            gate.notify_one();
            tokio::task::yield_now().await;
        }
    };
    let (shown, ()) = tokio::join!(another, open);
    assert!(shown.is_ok(), "there is room again");
    assert_eq!(home.fake.made.load(Ordering::Relaxed), begun + 1, "nothing is made for those who left");
}

#[tokio::test]
async fn one_that_panics_is_not_in_the_making_for_ever() {
    let home = Home::new("");
    let content = home.content(&home.upload(user_id!("@alice:agency.test"), "panic").await.unwrap()).await;
    for _ in 0..2 {
        let outcome = home.thumbnail(&content, whole(1, 1)).await;
        assert!(matches!(outcome, Err(ThumbnailError::Fault(_))), "{outcome:?}");
    }
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
    let (shown, ()) = tokio::join!(home.thumbnail(&content, whole(100, 100)), remove);
    drop(shown);
    assert_eq!(home.blobs.count(), 0);
    home.is_sound().await;
}

#[tokio::test]
async fn of_one_file_so_many_thumbnails_are_kept() {
    let home = Home::new("");
    let id = home.upload(user_id!("@alice:agency.test"), "picture").await.unwrap();
    let content = home.content(&id).await;
    for side in [1600, 3200] {
        for part in 1..=48 {
            home.thumbnail(&content, cut(side, side * part / 48)).await.unwrap();
        }
    }
    let rows = home.fixture.base.view().scan(&THUMBNAIL, THUMBNAIL.under(&()), 1000).await.unwrap();
    assert_eq!(rows.len(), MAX_THUMBNAILS_PER_FILE);
    home.is_sound().await;
}

#[tokio::test]
async fn a_picture_has_so_many_bytes_and_no_more() {
    let home = Home::new("");
    let id = home.upload(user_id!("@alice:agency.test"), "picture").await.unwrap();
    let of = |size: u64| Bytes::from(vec![0; usize::try_from(size).unwrap()]);
    for (size, fits) in [(MAX_THUMBNAIL_SOURCE_BYTES, true), (MAX_THUMBNAIL_SOURCE_BYTES + 1, false)] {
        // The row says so; whether the file has as many is seen when it is read.
        let content = Content { size, ..home.content(&id).await };
        let refused = home.thumbnail(&content, whole(32, 32)).await;
        let refused = matches!(refused, Err(ThumbnailError::Unmade(Unmade::TooLarge)));
        assert_eq!(refused, !fits, "{size}");
        assert_eq!(home.media.measure(&of(size)).await.is_ok(), fits, "{size}");
    }
}
