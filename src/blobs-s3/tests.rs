//! On a store in memory. A real one is asked by `live.rs`, and by the black-box cases.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use depesche_server::media::blobs::{BlobError, BlobName, Blobs};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, PutPayload, memory::InMemory, path::Path};
use tempfile::TempDir;

use super::{
    Bucket, S3Blobs,
    draft::{GATHERED, PART},
};

fn home() -> (TempDir, Arc<InMemory>, S3Blobs) {
    let (folder, store) = (tempfile::tempdir().unwrap(), Arc::new(InMemory::new()));
    let blobs = S3Blobs::open(Bucket::over(store.clone(), "/media/"), folder.path(), 0).unwrap();
    (folder, store, blobs)
}

/// How many uploads under way lie on the disk.
fn spooled(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path().join("tmp")).unwrap().count()
}

async fn put(blobs: &S3Blobs, name: BlobName, bytes: &[u8]) {
    let mut draft = blobs.draft().await.unwrap();
    for piece in bytes.chunks(100_000) {
        draft.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    draft.publish(name).await.unwrap();
}

async fn read(blobs: &S3Blobs, name: BlobName, range: Range<u64>) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<Bytes> = blobs.open(name, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn what_is_published_is_read_back_in_one_part_or_several() {
    let (folder, store, blobs) = home();
    let name = BlobName([0xab; 32]);
    // Of a length that divides nothing, so that no two places in a file look alike.
    let pattern: Vec<u8> = (0..251).collect();
    for length in [0, 1, GATHERED, GATHERED + 1, PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 5] {
        let mut bytes = pattern.repeat(length / pattern.len() + 1);
        bytes.truncate(length);
        put(&blobs, name, &bytes).await;
        assert!(blobs.exists(name).await.unwrap());
        assert!(read(&blobs, name, 0..length as u64).await.unwrap() == bytes, "{length}");
    }
    assert_eq!(read(&blobs, name, 250..255).await.unwrap(), [250, 0, 1, 2, 3]);
    assert!(read(&blobs, name, 7..7).await.unwrap().is_empty());
    let object = store.head(&Path::from(format!("media/ab/{}", "ab".repeat(32)))).await.unwrap();
    assert_eq!(object.size, 2 * PART as u64 + 5);
    blobs.delete(name).await.unwrap();
    blobs.delete(name).await.unwrap();
    assert!(!blobs.exists(name).await.unwrap());
    assert!(matches!(read(&blobs, name, 0..1).await, Err(BlobError::Missing)));
    assert_eq!(spooled(&folder), 0);
}

#[tokio::test]
async fn what_is_not_published_leaves_nothing() {
    let (folder, store, blobs) = home();
    let mut draft = blobs.draft().await.unwrap();
    draft.write(Bytes::from(vec![1; GATHERED + 1])).await.unwrap();
    assert_eq!(spooled(&folder), 1);
    drop(draft);
    assert_eq!(spooled(&folder), 0);
    let listed = object_store::ObjectStore::list_with_delimiter(&*store, None).await.unwrap();
    assert!(listed.objects.is_empty() && listed.common_prefixes.is_empty());
    std::fs::write(folder.path().join("tmp/depesche-upload-left"), b"x").unwrap();
    drop(blobs);
    S3Blobs::open(Bucket::over(store, ""), folder.path(), 0).unwrap();
    assert_eq!(spooled(&folder), 0);
}

#[tokio::test]
async fn a_small_file_does_not_touch_the_disk() {
    let (folder, _store, blobs) = home();
    let mut draft = blobs.draft().await.unwrap();
    draft.write(Bytes::from(vec![1; GATHERED])).await.unwrap();
    assert_eq!(spooled(&folder), 0);
    draft.publish(BlobName([2; 32])).await.unwrap();
    assert_eq!(read(&blobs, BlobName([2; 32]), 0..3).await.unwrap(), [1, 1, 1]);
}

#[tokio::test]
async fn an_object_that_was_cut_is_an_error_and_not_a_short_answer() {
    let (_folder, store, blobs) = home();
    let name = BlobName([1; 32]);
    put(&blobs, name, b"0123456789").await;
    let path = Path::from(format!("media/01/{}", "01".repeat(32)));
    store.put(&path, PutPayload::from_static(b"0123")).await.unwrap();
    assert!(matches!(read(&blobs, name, 0..10).await, Err(BlobError::Failed(_))));
    assert!(matches!(read(&blobs, name, 5..10).await, Err(BlobError::Failed(_))));
}

#[tokio::test]
async fn a_probe_leaves_nothing() {
    let (_folder, store, blobs) = home();
    blobs.bucket.probe().await.unwrap();
    let left = object_store::ObjectStore::list(&*store, None).try_collect::<Vec<_>>().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_prefix_is_a_folder_and_need_not_be_there() {
    let store = Arc::new(InMemory::new());
    let at = |prefix| Bucket::over(store.clone(), prefix).path(BlobName([1; 32]));
    assert_eq!(at(""), Path::from(format!("01/{}", "01".repeat(32))));
    assert_eq!(at("/a/b"), Path::from(format!("a/b/01/{}", "01".repeat(32))));
}
