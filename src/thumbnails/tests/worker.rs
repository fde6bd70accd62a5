//! Real processes: what they make, and how they end.

use std::{
    io::Cursor,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use depesche_server::media::{
    ImageFormat,
    blobs::BlobError,
    thumbnails::{Made, Measured, Order, Source, Thumbnailer, Unmade},
};
use depesche_thumbnails::{Bounds, Workers};
use futures::{StreamExt, stream};
use image::{DynamicImage, ImageReader};

const BOUNDS: Bounds = Bounds { megapixels: 10, frames: 20, memory_mb: 128, time: Duration::from_secs(30) };
const ORDER: Order = Order { width: 32, height: 32, crop: true, animated: false };

fn workers(bounds: Bounds) -> Workers {
    Workers::of(PathBuf::from(env!("CARGO_BIN_EXE_depesche-thumbnail-worker")), 2, bounds)
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::new_rgb8(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn source(bytes: &[u8]) -> Source {
    let pieces: Vec<_> = bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Source { bytes: stream::iter(pieces).boxed(), size: bytes.len() as u64 }
}

#[tokio::test]
async fn a_process_makes_a_thumbnail() {
    let workers = workers(BOUNDS);
    let bytes = png(1000, 1000);
    let made = futures::future::join_all((0..5).map(|_| workers.make(source(&bytes), ORDER))).await;
    for made in made {
        let Ok(Made::Picture { bytes, format: ImageFormat::Png }) = made else { panic!("{made:?}") };
        let picture = ImageReader::new(Cursor::new(bytes)).with_guessed_format().unwrap().decode().unwrap();
        assert_eq!((picture.width(), picture.height()), (32, 32));
    }
    let made = workers.make(source(&png(20, 20)), ORDER).await;
    assert!(matches!(made, Ok(Made::Original(ImageFormat::Png))), "{made:?}");
}

#[tokio::test]
async fn a_process_measures_a_picture() {
    let workers = workers(BOUNDS);
    let measured = workers.measure(source(&png(30, 20))).await;
    assert!(matches!(measured, Ok(Measured { format: ImageFormat::Png, width: 30, height: 20 })), "{measured:?}");
    assert!(matches!(workers.measure(source(b"hello")).await, Err(Unmade::Unfit)));
    assert!(matches!(workers.measure(source(&png(4000, 3000))).await, Err(Unmade::TooLarge)));
}

#[tokio::test]
async fn what_is_no_picture_is_refused() {
    let workers = workers(BOUNDS);
    let whole = png(500, 500);
    for bytes in [&b""[..], b"hello", &whole[..whole.len() / 2]] {
        let made = workers.make(source(bytes), ORDER).await;
        assert!(matches!(made, Err(Unmade::Unfit)), "{made:?}");
    }
}

#[tokio::test]
async fn a_process_that_wants_too_much_memory_is_no_harm() {
    // Ten million pixels need thirty megabytes and more; the decoder's own bound is far above what the process has.
    let hungry = workers(Bounds { memory_mb: 16, ..BOUNDS });
    let made = hungry.make(source(&png(3000, 3000)), ORDER).await;
    assert!(matches!(made, Err(Unmade::TooLarge)), "{made:?}");
}

#[test]
fn a_process_is_the_first_to_go_where_memory_runs_out() {
    // It waits for its picture: 32 by 32, of so many pixels, frames, megabytes and seconds.
    let mut waiting = Command::new(env!("CARGO_BIN_EXE_depesche-thumbnail-worker"))
        .args(["32", "32", "1", "0", "10", "20", "128", "30"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/oom_score_adj", waiting.id());
    let until = Instant::now() + Duration::from_secs(20);
    while std::fs::read_to_string(&path).unwrap().trim() != "1000" {
        assert!(Instant::now() < until && waiting.try_wait().unwrap().is_none(), "it does not stand forward");
        std::thread::yield_now();
    }
    drop(waiting.stdin.take());
    waiting.wait().unwrap();
}

#[tokio::test]
async fn a_process_that_takes_too_long_is_killed() {
    let slow = Workers::of("/bin/sleep".into(), 1, Bounds { time: Duration::from_millis(300), ..BOUNDS });
    let began = Instant::now();
    let made = slow.make(source(&png(500, 500)), Order { width: 100, ..ORDER }).await;
    assert!(matches!(made, Err(Unmade::TooLarge)), "{made:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_source_that_fails_is_nobodys_fault() {
    let workers = workers(BOUNDS);
    let start = Bytes::from(png(500, 500)).slice(..100);
    let broken = stream::iter([Ok(start), Err(BlobError::Missing)]).boxed();
    let made = workers.make(Source { bytes: broken, size: 1000 }, ORDER).await;
    assert!(matches!(made, Err(Unmade::Failed(_))), "{made:?}");
}
