use std::fs;

use bytes::Bytes;
use depesche_server::media::blobs::{BlobError, BlobName, Blobs};
use futures::TryStreamExt;

use super::FileBlobs;

async fn put(blobs: &FileBlobs, name: BlobName, pieces: &[&[u8]]) {
    let mut draft = blobs.draft().await.unwrap();
    for piece in pieces {
        draft.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    draft.publish(name).await.unwrap();
}

async fn read(blobs: &FileBlobs, name: BlobName, range: std::ops::Range<u64>) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<Bytes> = blobs.open(name, range).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[tokio::test]
async fn what_is_published_is_read_back_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    let name = BlobName([0xab; 32]);
    let large: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    {
        let blobs = FileBlobs::open(&path, 0).unwrap();
        put(&blobs, name, &large.chunks(10_000).collect::<Vec<_>>()).await;
        assert_eq!(blobs.path(name), path.join("ab").join("ab".repeat(32)));
    }
    let blobs = FileBlobs::open(&path, 0).unwrap();
    assert!(blobs.exists(name).await.unwrap());
    assert!(read(&blobs, name, 0..700_000).await.unwrap() == large);
    assert!(read(&blobs, name, 5..300_000).await.unwrap() == large[5..300_000]);
    assert!(read(&blobs, name, 7..7).await.unwrap().is_empty());
    // The same bytes once more do no harm.
    put(&blobs, name, &[&large]).await;
    blobs.delete(name).await.unwrap();
    blobs.delete(name).await.unwrap();
    assert!(!blobs.exists(name).await.unwrap());
    assert!(matches!(read(&blobs, name, 0..1).await, Err(BlobError::Missing)));
}

#[tokio::test]
async fn an_empty_file_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path(), 0).unwrap();
    put(&blobs, BlobName([0; 32]), &[]).await;
    assert!(blobs.exists(BlobName([0; 32])).await.unwrap());
    assert!(read(&blobs, BlobName([0; 32]), 0..0).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_was_cut_is_an_error_and_not_a_short_answer() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path(), 0).unwrap();
    let name = BlobName([1; 32]);
    put(&blobs, name, &[b"0123456789"]).await;
    fs::write(blobs.path(name), b"0123").unwrap();
    assert!(matches!(read(&blobs, name, 0..10).await, Err(BlobError::Failed(_))));
}

#[tokio::test]
async fn what_is_not_published_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path(), 0).unwrap();
    let tmp = folder.path().join("tmp");
    let mut draft = blobs.draft().await.unwrap();
    draft.write(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 1);
    drop(draft);
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    // What a crash leaves.
    let mut draft = blobs.draft().await.unwrap();
    draft.write(Bytes::from(vec![0; 1 << 20])).await.unwrap();
    let under_way = fs::read_dir(&tmp).unwrap().next().unwrap().unwrap().path();
    let left = tmp.join(format!("{}x", under_way.file_name().unwrap().to_str().unwrap()));
    fs::write(&left, b"x").unwrap();
    drop((draft, blobs));
    FileBlobs::open(folder.path(), 0).unwrap();
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

#[tokio::test]
async fn a_folder_named_by_mistake_keeps_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("tmp/theirs");
    fs::create_dir_all(&theirs).unwrap();
    fs::write(folder.path().join("tmp/.tmpAbCdEf"), b"x").unwrap();
    let blobs = FileBlobs::open(folder.path(), 0).unwrap();
    put(&blobs, BlobName([1; 32]), &[b"x"]).await;
    assert!(theirs.exists() && folder.path().join("tmp/.tmpAbCdEf").exists());
}

#[test]
fn two_servers_do_not_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = FileBlobs::open(folder.path(), 0).unwrap();
    let refused = FileBlobs::open(folder.path(), 0).unwrap_err().to_string();
    assert!(refused.contains("another server"), "{refused}");
    drop(first);
    FileBlobs::open(folder.path(), 0).unwrap();
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_takes_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FileBlobs::open(folder.path(), u64::MAX).unwrap();
    let refused = blobs.draft().await.err().unwrap();
    assert!(matches!(refused, BlobError::Full(_)));
    let refused = refused.to_string();
    assert!(refused.contains("the disk is full") && refused.contains("Make room"), "{refused}");
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}
