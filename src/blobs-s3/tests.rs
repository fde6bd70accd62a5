//! On a store in memory; a real one is asked by the black-box cases (`dev/test`, the part `s3`).

use std::sync::Arc;

use bytes::Bytes;
use depesche_server::media::blobs::{BlobError, BlobName, Blobs};
use futures::TryStreamExt;
use object_store::{ObjectStoreExt, memory::InMemory, path::Path};

use super::{PART, S3Blobs};

async fn put(blobs: &S3Blobs, name: BlobName, bytes: &[u8]) {
    let mut draft = blobs.draft().await.unwrap();
    for piece in bytes.chunks(1 << 20) {
        draft.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    draft.publish(name).await.unwrap();
}

async fn read(blobs: &S3Blobs, name: BlobName, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<Bytes> = blobs.open(name, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn what_is_published_is_read_back_in_one_part_or_several() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(InMemory::new());
    let blobs = S3Blobs::over(store.clone(), "/media/", folder.path()).unwrap();
    let name = BlobName([0xab; 32]);
    for length in [0, 1, PART - 1, PART, 2 * PART + 5] {
        let bytes: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        put(&blobs, name, &bytes).await;
        assert!(blobs.exists(name).await.unwrap());
        assert!(read(&blobs, name, 0..length as u64).await.unwrap() == bytes, "{length}");
    }
    let middle = read(&blobs, name, 250..255).await.unwrap();
    assert_eq!(middle, [250, 0, 1, 2, 3]);
    let object = store.head(&Path::from(format!("media/ab/{}", "ab".repeat(32)))).await.unwrap();
    assert_eq!(object.size, 2 * PART as u64 + 5);
    blobs.delete(name).await.unwrap();
    blobs.delete(name).await.unwrap();
    assert!(!blobs.exists(name).await.unwrap());
    assert!(matches!(read(&blobs, name, 0..1).await, Err(BlobError::Missing)));
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_not_published_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = S3Blobs::over(Arc::new(InMemory::new()), "", folder.path()).unwrap();
    let mut draft = blobs.draft().await.unwrap();
    draft.write(Bytes::from_static(b"half")).await.unwrap();
    drop(draft);
    assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(blobs.path(BlobName([1; 32])), Path::from(format!("01/{}", "01".repeat(32))));
}
