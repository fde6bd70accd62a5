//! Uploads: at once, or announced first.

use bytes::Bytes;
use depesche_rules::bounds::{MAX_CONTENT_TYPE_BYTES, MAX_FILENAME_BYTES};
use futures::{Stream, StreamExt};
use ruma::{OwnedMxcUri, UserId};
use sha2::{Digest, Sha256};

use super::{
    Media,
    blobs::{BlobError, BlobName, Draft},
    underway::Upload,
};
use crate::{
    Fault,
    keyspace::{FILE, FILE_OF, PENDING, USAGE},
    records::media::{Content, File, FileState, Usage},
    topic,
    tx::Tx,
};

/// What an uploader says of a file.
#[derive(Clone, Debug, Default)]
pub struct NewFile {
    /// What its bytes are.
    pub content_type: Option<String>,
    /// What it is called.
    pub filename: Option<String>,
    /// How many bytes will come, if that is known.
    pub size: Option<u64>,
}

/// An address whose file may come later.
#[derive(Clone, Debug)]
pub struct Announced {
    /// The address.
    pub uri: OwnedMxcUri,
    /// From when on it may not come any more.
    pub expires_ms: u64,
}

/// Why the bytes of an upload did not come to their end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BrokenBody {
    /// The connection did.
    #[error("the upload ended early")]
    Ended,
    /// The client did not go on.
    #[error("the upload took too long to arrive")]
    TooSlow,
}

/// Why an upload was not taken. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// More bytes than the operator allows.
    #[error("a file may have at most {0} bytes")]
    TooLarge(u64),
    /// The user has uploaded as much as the operator allows.
    #[error("you have uploaded as much as this server allows")]
    QuotaExceeded,
    /// What it is called, or said to be, is too long.
    #[error("{0} is too long")]
    NameTooLong(&'static str),
    /// The bytes did not come.
    #[error(transparent)]
    Body(#[from] BrokenBody),
    /// As many arrive already as may at a time, or as many bytes as the user may have.
    #[error("too many uploads at once: wait for one to end")]
    TooManyAtOnce,
    /// As many uploads are announced as the operator allows.
    #[error("upload what you have announced before you announce more")]
    TooManyPending {
        /// When the first of them expires.
        retry_after_ms: u64,
    },
    /// The address was not announced here, or is not valid any more.
    #[error("there is no upload announced by this address")]
    NotFound,
    /// Another user announced it.
    #[error("another user announced this upload")]
    NotYours,
    /// It is there already.
    #[error("the file has been uploaded already")]
    AlreadyThere,
    /// The bytes could not be stored.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Bytes that have arrived.
pub(super) struct Received {
    pub draft: Box<dyn Draft>,
    pub name: BlobName,
    pub size: u64,
}

impl Media {
    /// Takes a file. Its address is told when its bytes are on disk.
    pub async fn upload<S>(&self, user: &UserId, new: &NewFile, body: S) -> Result<OwnedMxcUri, UploadError>
    where
        S: Stream<Item = Result<Bytes, BrokenBody>> + Unpin + Send,
    {
        let usage = self.check(user, new).await?;
        let mut upload = self.underway.begin(user).ok_or(UploadError::TooManyAtOnce)?;
        let received = self.receive(body, &mut upload, &usage).await?;
        let id = self.base.random.secret();
        let content = content(new, &received);
        let (id_of, content) = (&id, &content);
        self.keep(received, |tx| async move {
            let created_ms = self.base.clock.now_ms();
            self.count(&tx, user, Some(content.size)).await?;
            let state = FileState::Stored(content.clone());
            self.put(&tx, user, id_of, &File { owner: Some(user.to_owned()), created_ms, state });
            Ok::<_, UploadError>(())
        })
        .await?;
        Ok(self.address(&id))
    }

    /// Makes an address whose file may come later.
    pub async fn announce(&self, user: &UserId) -> Result<Announced, UploadError> {
        let id = self.base.random.secret();
        let limit = self.base.config.media.pending_per_user;
        let lifetime_ms = u64::try_from(self.base.config.media.pending_lifetime.as_millis()).unwrap_or(u64::MAX);
        let id_of = &id;
        let announce = |tx: Tx| async move {
            let created_ms = self.base.clock.now_ms();
            let expires_ms = created_ms.saturating_add(lifetime_ms);
            // Relies on the usage row, which changes with each address: two requests cannot both see the last free one.
            self.count(&tx, user, None).await?;
            self.drop_expired(&tx, user, limit, created_ms).await?;
            let file = File { owner: Some(user.to_owned()), created_ms, state: FileState::Pending { expires_ms } };
            tx.put(&FILE, &(self.base.name.clone(), id_of.clone()), &file);
            tx.put(&PENDING, &(user.to_owned(), expires_ms, id_of.clone()), &());
            Ok::<_, UploadError>(expires_ms)
        };
        let expires_ms = self.base.transact(announce).await?;
        Ok(Announced { uri: self.address(&id), expires_ms })
    }

    /// Takes the file of an address that was announced.
    pub async fn upload_announced<S>(&self, user: &UserId, id: &str, new: &NewFile, body: S) -> Result<(), UploadError>
    where
        S: Stream<Item = Result<Bytes, BrokenBody>> + Unpin + Send,
    {
        // Before the bytes are read, so that a stranger cannot make us take them.
        self.announced(&self.base.tx(), user, id).await?;
        let usage = self.check(user, new).await?;
        let mut upload = self.underway.begin(user).ok_or(UploadError::TooManyAtOnce)?;
        let received = self.receive(body, &mut upload, &usage).await?;
        let content = &content(new, &received);
        self.keep(received, |tx| async move {
            let (mut file, expires_ms) = self.announced(&tx, user, id).await?;
            self.count(&tx, user, Some(content.size)).await?;
            tx.delete(&PENDING, &(user.to_owned(), expires_ms, id.to_owned()));
            file.state = FileState::Stored(content.clone());
            self.put(&tx, user, id, &file);
            tx.topic(topic::file(id));
            Ok::<_, UploadError>(())
        })
        .await
    }

    /// Forgets what expired of a user's announcements; an error if as many as allowed are left.
    async fn drop_expired(&self, tx: &Tx, user: &UserId, limit: usize, now_ms: u64) -> Result<(), UploadError> {
        let rows = tx.view().scan(&PENDING, PENDING.under(&(user.to_owned(),)), limit).await?;
        let (expired, waiting): (Vec<_>, Vec<_>) = rows.into_iter().partition(|((_, until, _), ())| *until <= now_ms);
        for ((user, until, id), ()) in &expired {
            tx.delete(&FILE, &(self.base.name.clone(), id.clone()));
            tx.delete(&PENDING, &(user.clone(), *until, id.clone()));
        }
        match waiting.first() {
            Some(((_, until, _), ())) if waiting.len() >= limit => {
                Err(UploadError::TooManyPending { retry_after_ms: until.saturating_sub(now_ms) })
            }
            _ => Ok(()),
        }
    }

    /// The announcement of this address by this user, and when it expires.
    async fn announced(&self, tx: &Tx, user: &UserId, id: &str) -> Result<(File, u64), UploadError> {
        let key = (self.base.name.clone(), id.to_owned());
        let file = tx.read(&FILE, &key).await?.ok_or(UploadError::NotFound)?;
        let is_theirs = file.owner.as_deref() != Some(user);
        match file.state {
            FileState::Pending { expires_ms } if expires_ms <= self.base.clock.now_ms() => Err(UploadError::NotFound),
            _ if is_theirs => Err(UploadError::NotYours),
            FileState::Pending { expires_ms } => Ok((file, expires_ms)),
            FileState::Stored(_) => Err(UploadError::AlreadyThere),
        }
    }

    /// What can be refused before any bytes are read. Answers what the user has uploaded so far.
    async fn check(&self, user: &UserId, new: &NewFile) -> Result<Usage, UploadError> {
        let long = |text: &Option<String>, most| text.as_ref().is_some_and(|text| text.len() > most);
        if long(&new.content_type, MAX_CONTENT_TYPE_BYTES) {
            return Err(UploadError::NameTooLong("the content type"));
        }
        if long(&new.filename, MAX_FILENAME_BYTES) {
            return Err(UploadError::NameTooLong("the file's name"));
        }
        let most = self.base.config.media.max_upload_bytes();
        if new.size.is_some_and(|size| size > most) {
            return Err(UploadError::TooLarge(most));
        }
        let usage = self.base.view().get(&USAGE, &(user.to_owned(),)).await?.unwrap_or_default();
        self.fits(&usage, new.size.unwrap_or_default())?;
        Ok(usage)
    }

    fn fits(&self, usage: &Usage, more: u64) -> Result<(), UploadError> {
        let most = self.base.config.media.max_mb_per_user.map(|most| most.saturating_mul(1 << 20));
        let fits = most.is_none_or(|most| usage.bytes.saturating_add(more) <= most);
        if fits { Ok(()) } else { Err(UploadError::QuotaExceeded) }
    }

    /// Writes the bytes down as they come, and finds out what they are called. Those of the user's other uploads count: what
    /// is refused in the end took its place on the disk.
    async fn receive<S>(&self, mut body: S, upload: &mut Upload<'_>, usage: &Usage) -> Result<Received, UploadError>
    where
        S: Stream<Item = Result<Bytes, BrokenBody>> + Unpin + Send,
    {
        let most = self.base.config.media.max_upload_bytes();
        let mut draft = self.blobs.draft().await?;
        let (mut hash, mut size) = (Sha256::new(), 0_u64);
        while let Some(bytes) = body.next().await {
            let bytes = bytes?;
            size = size.saturating_add(bytes.len() as u64);
            if size > most {
                return Err(UploadError::TooLarge(most));
            }
            let all = upload.received(bytes.len() as u64);
            self.fits(usage, size)?;
            // It fits by itself: once the others have ended, or were given up, it may come.
            self.fits(usage, all).map_err(|_| UploadError::TooManyAtOnce)?;
            hash.update(&bytes);
            draft.write(bytes).await?;
        }
        Ok(Received { draft, name: BlobName(hash.finalize().into()), size })
    }

    /// Counts a new address, or a new file of this size, for its user.
    async fn count(&self, tx: &Tx, user: &UserId, size: Option<u64>) -> Result<(), UploadError> {
        let key = (user.to_owned(),);
        let mut usage = tx.read(&USAGE, &key).await?.unwrap_or_default();
        usage.made += 1;
        // Whose next byte would be one too many has no use for an address.
        self.fits(&usage, size.unwrap_or(1))?;
        if let Some(size) = size {
            usage.files += 1;
            usage.bytes = usage.bytes.saturating_add(size);
        }
        tx.put(&USAGE, &key, &usage);
        Ok(())
    }

    fn put(&self, tx: &Tx, user: &UserId, id: &str, file: &File) {
        tx.put(&FILE, &(self.base.name.clone(), id.to_owned()), file);
        tx.put(&FILE_OF, &(user.to_owned(), file.created_ms, id.to_owned()), &());
    }
}

fn content(new: &NewFile, received: &Received) -> Content {
    Content {
        blob: received.name.0,
        size: received.size,
        content_type: new.content_type.clone(),
        filename: new.filename.clone(),
    }
}
