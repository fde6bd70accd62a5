//! From the upload to the end of a file.

use std::{
    ops::Range,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use depesche_rules::bounds::{MAX_CONTENT_TYPE_BYTES, MAX_FILENAME_BYTES, MAX_UPLOADS_AT_ONCE};
use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use ruma::{server_name, user_id};

use super::{BlobName, BrokenBody, Fake, Home, NewFile, UploadError, id, pieces};
use crate::{
    keyspace::{BLOB, LOOSE_BLOB},
    media::{
        FindError, Media, ReadError, RemoveError,
        blobs::{BlobError, Blobs, ByteStream, Draft},
        memory::MemoryBlobs,
    },
};

#[tokio::test]
async fn the_names_of_an_upload_have_so_many_bytes_and_no_more() {
    let home = Home::new("");
    let named = async |content_type: usize, filename: usize| {
        let name = |length: usize| Some("a".repeat(length));
        let new = NewFile { content_type: name(content_type), filename: name(filename), ..NewFile::default() };
        let outcome = home.media.upload(user_id!("@alice:agency.test"), &new, pieces(&["x"])).await;
        assert!(matches!(outcome, Ok(_) | Err(UploadError::NameTooLong(_))));
        outcome.is_ok()
    };
    assert!(named(MAX_CONTENT_TYPE_BYTES, MAX_FILENAME_BYTES).await);
    assert!(!named(MAX_CONTENT_TYPE_BYTES + 1, MAX_FILENAME_BYTES).await);
    assert!(!named(MAX_CONTENT_TYPE_BYTES, MAX_FILENAME_BYTES + 1).await);
}

#[tokio::test]
async fn the_same_bytes_are_kept_once_and_until_their_last_file_goes() {
    let home = Home::new("");
    let (alice, bob) = (user_id!("@alice:agency.test"), user_id!("@bob:agency.test"));
    let first = home.upload(alice, "hello").await.unwrap();
    let second = home.upload(bob, "hello").await.unwrap();
    let other = home.upload(bob, "other").await.unwrap();
    assert_ne!(first, second);
    assert_eq!((home.blobs.count(), home.text(&second).await.as_str()), (2, "hello"));
    home.is_sound().await;

    home.media.remove(&first).await.unwrap();
    assert_eq!((home.blobs.count(), home.text(&second).await.as_str()), (2, "hello"));
    assert!(matches!(home.media.remove(&first).await, Err(RemoveError::NotFound)));
    assert!(home.media.list(alice, None, 10).await.unwrap().is_empty());
    let files = home.media.list(bob, None, 1).await.unwrap();
    let rest = home.media.list(bob, files.last().map(|file| (file.created_ms, file.id.as_str())), 10).await.unwrap();
    assert_eq!((files.len(), rest.len()), (1, 1));

    home.media.remove(&second).await.unwrap();
    assert_eq!((home.blobs.count(), home.text(&other).await.as_str()), (1, "other"));
    home.is_sound().await;
}

#[tokio::test]
async fn bytes_without_a_row_are_deleted_at_the_start_and_no_others() {
    let home = Home::new("");
    let kept = home.upload(user_id!("@alice:agency.test"), "kept").await.unwrap();
    let (left, foreign) = (BlobName([1; 32]), BlobName([2; 32]));
    home.blobs.blobs().insert(left, "left by a crash".into());
    home.blobs.blobs().insert(foreign, "put there by somebody else".into());
    let tx = home.fixture.base.tx();
    tx.put(&LOOSE_BLOB, &(left.0,), &1);
    tx.put(&LOOSE_BLOB, &(home.content(&kept).await.blob,), &1);
    home.fixture.base.commit(&tx).await.unwrap();
    home.media.sweep().await.unwrap();
    assert!(home.blobs.blobs().contains_key(&foreign) && !home.blobs.blobs().contains_key(&left));
    assert_eq!(home.text(&kept).await, "kept");
    let view = home.fixture.base.view();
    assert!(view.scan(&LOOSE_BLOB, LOOSE_BLOB.under(&()), 10).await.unwrap().is_empty());
}

/// A store that deletes nothing, and never says so.
struct Stuck(MemoryBlobs);

impl Blobs for Stuck {
    fn draft(&self) -> BoxFuture<'_, Result<Box<dyn Draft>, BlobError>> {
        self.0.draft()
    }

    fn open(&self, name: BlobName, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, BlobError>> {
        self.0.open(name, range)
    }

    fn exists(&self, name: BlobName) -> BoxFuture<'_, Result<bool, BlobError>> {
        self.0.exists(name)
    }

    fn delete(&self, _: BlobName) -> BoxFuture<'_, Result<(), BlobError>> {
        futures::future::pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_does_not_hold_up_the_start() {
    let home = Home::new("");
    let left = BlobName([1; 32]);
    let tx = home.fixture.base.tx();
    tx.put(&LOOSE_BLOB, &(left.0,), &1);
    home.fixture.base.commit(&tx).await.unwrap();
    let base = Arc::clone(&home.media.base);
    let media = Media::new(base, Arc::new(Stuck(home.blobs.clone())), Arc::new(Fake::default()));
    tokio::time::timeout(Duration::from_mins(1), media.sweep()).await.unwrap().unwrap();
    let view = home.fixture.base.view();
    assert!(view.get(&LOOSE_BLOB, &(left.0,)).await.unwrap().is_some(), "left for the next start");
    home.media.sweep().await.unwrap();
    let view = home.fixture.base.view();
    assert!(view.get(&LOOSE_BLOB, &(left.0,)).await.unwrap().is_none());
}

#[tokio::test]
async fn lost_bytes_are_said_to_be_lost_and_come_back_with_the_next_upload() {
    let home = Home::new("");
    let alice = user_id!("@alice:agency.test");
    let id = home.upload(alice, "hello").await.unwrap();
    home.blobs.blobs().clear();
    let content = home.content(&id).await;
    let read = home.media.read(BlobName(content.blob), 0..5).await;
    assert!(matches!(read, Err(ReadError::Lost)));
    home.upload(alice, "hello").await.unwrap();
    assert_eq!(home.text(&id).await, "hello");
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let home = Home::new("max_upload_mb = 1");
    let alice = user_id!("@alice:agency.test");
    let broken = futures::stream::iter([Ok("half".into()), Err(BrokenBody::Ended)]);
    let outcome = home.media.upload(alice, &NewFile::default(), broken).await;
    assert!(matches!(outcome, Err(UploadError::Body(BrokenBody::Ended))));
    let large: Vec<_> = (0..17).map(|_| Ok(vec![0; 64 << 10].into())).collect();
    let outcome = home.media.upload(alice, &NewFile::default(), futures::stream::iter(large)).await;
    assert!(matches!(outcome, Err(UploadError::TooLarge(1_048_576))));
    let declared = NewFile { size: Some((1 << 20) + 1), ..NewFile::default() };
    assert!(matches!(home.media.upload(alice, &declared, pieces(&[])).await, Err(UploadError::TooLarge(_))));
    let long = NewFile { filename: Some("a".repeat(1025)), ..NewFile::default() };
    assert!(matches!(home.media.upload(alice, &long, pieces(&[])).await, Err(UploadError::NameTooLong(_))));
    assert_eq!(home.blobs.count(), 0);
    let view = home.fixture.base.view();
    assert!(view.scan(&BLOB, BLOB.under(&()), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_user_may_upload_so_much_in_all() {
    let home = Home::new("max_mb_per_user = 0");
    let alice = user_id!("@alice:agency.test");
    // An empty file has no bytes to count.
    let empty = home.upload(alice, "").await.unwrap();
    assert_eq!(home.text(&empty).await, "");
    assert!(matches!(home.upload(alice, "x").await, Err(UploadError::QuotaExceeded)));
    assert_eq!(home.media.list(alice, None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_announced_file_comes_once_and_from_its_user() {
    let home = Home::new("pending_per_user = 2");
    let (alice, bob) = (user_id!("@alice:agency.test"), user_id!("@bob:agency.test"));
    let announced = home.media.announce(alice).await.unwrap();
    let id = id(&announced.uri);
    let new = NewFile::default();
    let put = |user, text| home.media.upload_announced(user, &id, &new, pieces(&[text]));
    assert!(matches!(put(bob, "mine").await, Err(UploadError::NotYours)));
    put(alice, "hello").await.unwrap();
    assert_eq!(home.text(&id).await, "hello");
    assert!(matches!(put(alice, "again").await, Err(UploadError::AlreadyThere)));
    let nothing = home.media.upload_announced(alice, "nothing", &new, pieces(&[])).await;
    assert!(matches!(nothing, Err(UploadError::NotFound)));
    // What has come is not pending any more.
    home.media.announce(alice).await.unwrap();
    home.media.announce(alice).await.unwrap();
    assert!(matches!(
        home.media.announce(alice).await,
        Err(UploadError::TooManyPending { retry_after_ms: 86_400_000 })
    ));
    home.media.announce(bob).await.unwrap();
    home.is_sound().await;
}

#[tokio::test]
async fn an_announced_file_that_does_not_come_expires() {
    let home = Home::new("pending_per_user = 1");
    let alice = user_id!("@alice:agency.test");
    let announced = home.media.announce(alice).await.unwrap();
    let id = id(&announced.uri);
    assert_eq!(announced.expires_ms, 1_700_000_000_000 + 86_400_000);
    let find = || home.media.find(server_name!("agency.test"), &id, Duration::ZERO);
    assert!(matches!(find().await, Err(FindError::NotYetUploaded)));
    home.fixture.hand.store(announced.expires_ms, Ordering::Relaxed);
    assert!(matches!(find().await, Err(FindError::NotFound)));
    let late = home.media.upload_announced(alice, &id, &NewFile::default(), pieces(&["late"])).await;
    assert!(matches!(late, Err(UploadError::NotFound)));
    home.media.announce(alice).await.unwrap();
    home.is_sound().await;
}

#[tokio::test(start_paused = true)]
async fn a_download_waits_for_an_announced_file() {
    let home = Home::with("download_wait = \"10s\"", Fake::default());
    let alice = user_id!("@alice:agency.test");
    let id = id(&home.media.announce(alice).await.unwrap().uri);
    let find = home.media.find(server_name!("agency.test"), &id, Duration::from_hours(1));
    let new = NewFile::default();
    let upload = home.media.upload_announced(alice, &id, &new, pieces(&["he", "llo"]));
    let (found, uploaded) = tokio::join!(find, upload);
    uploaded.unwrap();
    assert_eq!(found.unwrap().size, 5);
    // The operator's bound is shorter than the client's.
    let id = super::id(&home.media.announce(alice).await.unwrap().uri);
    let began = tokio::time::Instant::now();
    let found = home.media.find(server_name!("agency.test"), &id, Duration::from_hours(1)).await;
    assert!(matches!(found, Err(FindError::NotYetUploaded)));
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test]
async fn addresses_that_are_none_are_not_found() {
    let home = Home::new("");
    let file = home.upload(user_id!("@alice:agency.test"), "hello").await.unwrap();
    for (server, id) in [
        ("agency.test", "none"),
        ("agency.test", ""),
        ("agency.test", "../../etc/passwd"),
        ("agency.test", "a\0b"),
        ("elsewhere.test", &file),
    ] {
        let found = home.media.find(server.try_into().unwrap(), id, Duration::ZERO).await;
        assert!(matches!(found, Err(FindError::NotFound)), "{server}/{id}");
    }
}

#[tokio::test]
async fn a_refused_upload_leaves_no_bytes() {
    let home = Home::new("max_mb_per_user = 1");
    let alice = user_id!("@alice:agency.test");
    let upload = async |byte: u8| {
        // Of unknown size, so that the bytes are read before the bound is known to be passed.
        let body = futures::stream::iter([Ok(vec![byte; 700 << 10].into())]);
        home.media.upload(alice, &NewFile::default(), body).await
    };
    let first = upload(1).await.unwrap();
    assert!(matches!(upload(2).await, Err(UploadError::QuotaExceeded)));
    assert_eq!(home.blobs.count(), 1);
    // What is there already is not lost by it.
    assert!(matches!(upload(1).await, Err(UploadError::QuotaExceeded)));
    assert_eq!(home.blobs.count(), 1);
    home.media.remove(&id(&first)).await.unwrap();
    // Two at once: both may by themselves, and one is refused once its bytes are there.
    let (one, two) = tokio::join!(upload(3), upload(4));
    assert!(one.is_ok() != two.is_ok());
    assert_eq!(home.blobs.count(), 1);
    let view = home.fixture.base.view();
    assert!(view.scan(&LOOSE_BLOB, LOOSE_BLOB.under(&()), 10).await.unwrap().is_empty());
    home.is_sound().await;
}

/// A store that keeps bytes, and says that it failed.
struct Failing(MemoryBlobs);

struct FailingDraft(Box<dyn Draft>);

impl Blobs for Failing {
    fn draft(&self) -> BoxFuture<'_, Result<Box<dyn Draft>, BlobError>> {
        let draft = self.0.draft();
        async { Ok(Box::new(FailingDraft(draft.await?)) as Box<dyn Draft>) }.boxed()
    }

    fn open(&self, name: BlobName, range: Range<u64>) -> BoxFuture<'_, Result<ByteStream, BlobError>> {
        self.0.open(name, range)
    }

    fn exists(&self, name: BlobName) -> BoxFuture<'_, Result<bool, BlobError>> {
        self.0.exists(name)
    }

    fn delete(&self, name: BlobName) -> BoxFuture<'_, Result<(), BlobError>> {
        self.0.delete(name)
    }
}

impl Draft for FailingDraft {
    fn write(&mut self, bytes: bytes::Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        self.0.write(bytes)
    }

    fn publish(self: Box<Self>, name: BlobName) -> BoxFuture<'static, Result<(), BlobError>> {
        let kept = self.0.publish(name);
        async { kept.await.and(Err(BlobError::failed("a test", "on purpose"))) }.boxed()
    }
}

#[tokio::test]
async fn what_could_not_be_kept_leaves_nothing_behind() {
    let home = Home::new("");
    let base = Arc::clone(&home.media.base);
    let media = Media::new(base, Arc::new(Failing(home.blobs.clone())), Arc::new(Fake::default()));
    let uploaded = media.upload(user_id!("@alice:agency.test"), &NewFile::default(), pieces(&["hello"])).await;
    assert!(uploaded.is_err() && home.blobs.count() == 0);
    let view = home.fixture.base.view();
    assert!(view.scan(&LOOSE_BLOB, LOOSE_BLOB.under(&()), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_user_uploads_so_many_files_at_once() {
    let home = Home::new("max_mb_per_user = 1");
    let alice = user_id!("@alice:agency.test");
    let new = NewFile::default();
    let half = || stream::iter([Ok::<_, BrokenBody>(vec![0; 512 << 10].into())]);
    // What has come of an upload that does not end counts.
    let mut first = Box::pin(home.media.upload(alice, &new, half().chain(stream::pending())));
    assert!(first.as_mut().now_or_never().is_none());
    home.media.upload(alice, &new, stream::iter([Ok::<_, BrokenBody>("x".into())])).await.unwrap();
    let not_now = home.media.upload(alice, &new, half()).await;
    assert!(matches!(not_now, Err(UploadError::TooManyAtOnce)), "{not_now:?}");
    let whole = stream::iter([Ok::<_, BrokenBody>(vec![0; 1 << 20].into())]);
    let never = home.media.upload(alice, &new, whole).await;
    assert!(matches!(never, Err(UploadError::QuotaExceeded)), "{never:?}");
    drop(first);
    home.media.upload(alice, &new, half()).await.unwrap();

    let open = || Box::pin(home.media.upload(alice, &new, stream::pending::<Result<_, BrokenBody>>()));
    let mut uploads: Vec<_> = (0..MAX_UPLOADS_AT_ONCE).map(|_| open()).collect();
    for upload in &mut uploads {
        assert!(upload.as_mut().now_or_never().is_none());
    }
    let one_more = open().await;
    assert!(matches!(one_more, Err(UploadError::TooManyAtOnce)), "{one_more:?}");
    let bob = user_id!("@bob:agency.test");
    home.upload(bob, "of another").await.unwrap();
    uploads.pop();
    home.upload(alice, "now").await.unwrap();
}
