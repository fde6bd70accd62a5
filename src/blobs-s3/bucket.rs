//! The connection to a bucket: how the store is asked, how long, and how often.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use depesche_config::ObjectStore as Settings;
use depesche_server::media::blobs::{BlobError, BlobName};
use object_store::{
    BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig, aws::AmazonS3Builder,
    path::Path,
};

use crate::refusal::{judge, refused};

/// How long the store may take to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to send the next bytes of an answer; to take a part, with all of its bytes.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// A request is repeated so often, within so long, before whoever asked is told.
const RETRIES: usize = 4;
const RETRY_FOR: Duration = Duration::from_secs(20);
/// The pauses between: each up to twice as long as the one before.
const PAUSES: BackoffConfig =
    BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(3), base: 2.0 };

/// Who asks.
#[derive(Clone)]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

/// A bucket, or the objects in it whose names begin with a prefix.
#[derive(Clone)]
pub struct Bucket {
    pub(crate) store: Arc<dyn ObjectStore>,
    prefix: String,
}

impl Bucket {
    /// The bucket of the settings. Asks it for nothing yet; the error says which setting makes no sense.
    pub fn new(settings: &Settings, key: AccessKey) -> Result<Self, String> {
        let mut endpoint = settings.endpoint.clone();
        if !settings.path_style {
            let host = endpoint.host_str().map(|host| format!("{}.{host}", settings.bucket));
            endpoint.set_host(host.as_deref()).map_err(|error| format!("{}: {error}", settings.endpoint))?;
        }
        // A whole answer may take as long as its reader does, so that there is no limit on that.
        let client = ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_read_timeout(READ_TIMEOUT)
            .with_allow_http(endpoint.scheme() == "http");
        let store = AmazonS3Builder::new()
            .with_client_options(client)
            .with_retry(RetryConfig { backoff: PAUSES, max_retries: RETRIES, retry_timeout: RETRY_FOR })
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_bucket_name(&settings.bucket)
            .with_region(&settings.region)
            .with_virtual_hosted_style_request(!settings.path_style)
            // Not every store knows the request that deletes many at once.
            .with_disable_bulk_delete(true)
            .with_access_key_id(key.id)
            .with_secret_access_key(key.secret)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self::over(Arc::new(store), &settings.prefix))
    }

    pub(crate) fn over(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: prefix.trim_matches('/').to_owned() }
    }

    /// Where a blob lies.
    pub(crate) fn path(&self, name: BlobName) -> Path {
        Path::from(format!("{}/{:02x}/{name}", self.prefix, name.0[0]))
    }

    /// Whether media can be kept here: writes a small object, reads it and deletes it again. Disturbs nobody who uses the
    /// bucket meanwhile.
    pub async fn probe(&self) -> Result<(), BlobError> {
        let path = Path::from(format!("{}/probe-{}", self.prefix, std::process::id()));
        let sent = Bytes::from_static(b"Depesche looks whether it may write here.");
        let taken = self.store.put(&path, PutPayload::from(sent.clone())).await;
        taken.map_err(|error| refused("cannot write", &error))?;
        let read = async { self.store.get(&path).await?.bytes().await }.await;
        let read = read.map_err(|error| refused("cannot read what was written", &error))?;
        self.store.delete(&path).await.map_err(|error| refused("cannot delete", &error))?;
        if read != sent {
            return Err(BlobError::failed("cannot read what was written", "other bytes came back"));
        }
        // Who may not list a bucket is not told that an object is missing, but that it is forbidden.
        match self.store.head(&path).await.map_err(|error| judge("cannot look for what is not there", &error)) {
            Ok(_) => Err(BlobError::failed("cannot delete", "what was deleted is still there")),
            Err(BlobError::Missing) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store, self.prefix)
    }
}
