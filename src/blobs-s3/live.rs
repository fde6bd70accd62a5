//! On a store that speaks the protocol, whose URL is in `DEPESCHE_OBJECT_STORE`. It has an empty bucket `depesche` and
//! believes everybody.

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use depesche_blobs_s3::{AccessKey, Bucket, S3Blobs};
use depesche_config::Config;
use depesche_server::media::blobs::{BlobError, BlobName, Blobs};
use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// What is sent in one request.
const PART: usize = 8 << 20;

fn url() -> String {
    std::env::var("DEPESCHE_OBJECT_STORE").expect("DEPESCHE_OBJECT_STORE is not set: the URL of a store to test on")
}

fn bucket(endpoint: &str, bucket: &str, prefix: &str) -> Bucket {
    let text = format!(
        "[server]\nname = \"agency.test\"\n[media.store]\nendpoint = \"{endpoint}\"\nbucket = \"{bucket}\"\n\
         prefix = \"{prefix}\"\naccess_key_id_file = \"/none\"\nsecret_access_key_file = \"/none\"\n"
    );
    let settings = Config::parse(&text).expect("valid").media.store.expect("a store");
    let key = AccessKey { id: "id".to_owned(), secret: "not-to-be-seen".to_owned() };
    Bucket::new(&settings, key).expect("the settings make sense")
}

/// A store of blobs under a prefix of its own.
fn blobs(prefix: &str) -> (TempDir, S3Blobs) {
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = S3Blobs::open(bucket(&url(), "depesche", prefix), folder.path(), 0).expect("opened");
    (folder, blobs)
}

/// Of a pattern whose length divides nothing, so that no two places near each other look alike.
fn bytes(length: usize) -> Vec<u8> {
    let pattern: Vec<u8> = (0..251).collect();
    let mut bytes = pattern.repeat(length / pattern.len() + 1);
    bytes.truncate(length);
    bytes
}

async fn put(blobs: &S3Blobs, name: BlobName, bytes: &[u8]) -> Result<(), BlobError> {
    let mut draft = blobs.draft().await?;
    for piece in bytes.chunks(1 << 20) {
        draft.write(Bytes::copy_from_slice(piece)).await?;
    }
    draft.publish(name).await
}

async fn read(blobs: &S3Blobs, name: BlobName, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<Bytes> = blobs.open(name, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

/// What the store says at this path, asked without the library.
async fn listing(query: &str) -> String {
    let answer = reqwest::get(format!("{}/depesche?{query}", url())).await.expect("an answer");
    answer.text().await.expect("text")
}

#[tokio::test]
async fn what_is_published_is_there_whole_until_it_is_deleted() {
    let (_folder, blobs) = blobs("round");
    let name = BlobName([0xab; 32]);
    for length in [0, 1, 300_000, PART, 2 * PART + 5] {
        let bytes = bytes(length);
        put(&blobs, name, &bytes).await.expect("kept");
        assert!(blobs.exists(name).await.expect("an answer"));
        assert!(read(&blobs, name, 0..length as u64).await.expect("there") == bytes, "{length}");
    }
    let whole = bytes(2 * PART + 5);
    for range in [0..1, 7..100_000, PART - 1..PART + 1, 2 * PART..2 * PART + 5] {
        let part = read(&blobs, name, range.start as u64..range.end as u64).await.expect("there");
        assert!(part == whole[range.clone()], "{range:?}");
    }
    let object = format!("round/ab/{}", "ab".repeat(32));
    assert!(listing("list-type=2&prefix=round/").await.contains(&object), "where other tools look for it");
    blobs.delete(name).await.expect("deleted");
    blobs.delete(name).await.expect("deleted already");
    assert!(!blobs.exists(name).await.expect("an answer"));
    assert!(matches!(read(&blobs, name, 0..1).await, Err(BlobError::Missing)));
}

#[tokio::test]
async fn what_was_cut_is_an_error_and_not_a_short_answer() {
    let (_folder, blobs) = blobs("cut");
    let name = BlobName([1; 32]);
    put(&blobs, name, b"0123").await.expect("kept");
    assert!(matches!(read(&blobs, name, 0..10).await, Err(BlobError::Failed(_))));
    assert!(matches!(read(&blobs, name, 5..10).await, Err(BlobError::Failed(_))));
}

#[tokio::test]
async fn parts_of_an_upload_that_nobody_waits_for_are_given_up() {
    let (_folder, blobs) = blobs("parts");
    let name = BlobName([2; 32]);
    let mut draft = blobs.draft().await.expect("a draft");
    for piece in bytes(6 * PART).chunks(1 << 20) {
        draft.write(Bytes::copy_from_slice(piece)).await.expect("written");
    }
    let begun = async {
        while !listing("uploads").await.contains("parts/02/") {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        biased;
        () = begun => {}
        done = draft.publish(name) => panic!("it was seen when it was done: {done:?}"),
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while listing("uploads").await.contains("parts/02/") {
        assert!(Instant::now() < deadline, "the parts are still there");
        sleep(Duration::from_millis(10)).await;
    }
    assert!(!blobs.exists(name).await.expect("an answer"));
}

#[tokio::test]
async fn a_missing_bucket_is_said_and_nothing_is_taken_for_missing() {
    let bucket = bucket(&url(), "no-such-bucket", "");
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = S3Blobs::open(bucket.clone(), folder.path(), 0).expect("opened");
    let name = BlobName([3; 32]);
    for failed in [
        put(&blobs, name, b"small").await,
        put(&blobs, name, &bytes(PART + 1)).await,
        read(&blobs, name, 0..1).await.map(drop),
        blobs.delete(name).await,
        bucket.probe().await,
    ] {
        let Err(BlobError::Failed(why)) = failed else { panic!("{failed:?}") };
        assert!(why.contains("NoSuchBucket") && !why.contains("not-to-be-seen"), "{why}");
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_given_up_soon() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let closed = format!("http://{}", closed.expect("an address"));
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = S3Blobs::open(bucket(&closed, "depesche", ""), folder.path(), 0).expect("opened without asking");
    let name = BlobName([4; 32]);
    let all = async {
        assert!(matches!(put(&blobs, name, b"small").await, Err(BlobError::Failed(_))));
        assert!(matches!(read(&blobs, name, 0..1).await, Err(BlobError::Failed(_))));
        assert!(matches!(blobs.exists(name).await, Err(BlobError::Failed(_))));
        assert!(matches!(blobs.delete(name).await, Err(BlobError::Failed(_))));
    };
    timeout(Duration::from_mins(1), all).await.expect("nobody waits for minutes");
}

#[tokio::test]
async fn a_bucket_that_works_is_told_from_one_that_does_not() {
    let bucket = bucket(&url(), "depesche", "probed");
    bucket.probe().await.expect("it works");
    assert!(!listing("list-type=2&prefix=probed/").await.contains("<Key>"), "the probe is still there");
}
