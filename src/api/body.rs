//! Reading a request's body within bounds of bytes and time; of memory ([`memory`]) and nesting ([`json`]).
//!
//! A body that comes too slowly is given up.
//!
//! Invariant: whatever goes wrong, what is left of a body is read and thrown away up to a bound, so that the connection
//! can carry the next request; beyond the bound the connection closes.

mod json;
mod memory;

use std::{sync::Arc, time::Duration};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use depesche_server::media::BrokenBody;
use futures::{StreamExt, stream, stream::BoxStream};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use ruma::api::error::ErrorKind;
use tokio::time::Instant;

use self::memory::{Held, Memory};
pub use self::{
    json::{check_json, has_field, of_bare_flag},
    memory::Bodies,
};
use crate::{error::Error, rate_limit::Who};

/// The most bytes read and thrown away to keep a connection after an error.
const DRAIN_LIMIT: u64 = 16 * 1024 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);
/// A body that is still coming brings at least [`PACE_BYTES`] in each such time. The slowest mobile networks carry
/// several times as much, and who drives through a tunnel comes back in time.
const PACE_TIME: Duration = Duration::from_secs(15);
/// See [`PACE_TIME`].
const PACE_BYTES: usize = 8 << 10;
/// How long a client may take between two pieces of an upload.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an upload may take in all.
const UPLOAD_TIMEOUT: Duration = Duration::from_hours(2);
/// Reads a whole body of at most `limit` bytes, whatever others hold: for the operator.
pub async fn read(body: &mut Body, limit: usize) -> Result<Bytes, Error> {
    in_time(body, limit, None).await.map(|(bytes, _)| bytes)
}

/// Whose memory a body takes.
type Taking<'a> = Option<(&'a Arc<Memory>, Option<Who<'a>>)>;

async fn in_time(body: &mut Body, limit: usize, taking: Taking<'_>) -> Result<(Bytes, Held), Error> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    tokio::time::timeout(BODY_TIMEOUT, collect(body, limit, taking)).await.unwrap_or_else(|_| Err(too_slow()))
}

async fn collect(body: &mut Body, limit: usize, taking: Taking<'_>) -> Result<(Bytes, Held), Error> {
    let (mut collected, mut held) = (BytesMut::new(), Held::None);
    let (mut until, mut wanted) = (Instant::now() + PACE_TIME, PACE_BYTES);
    loop {
        let Ok(frame) = tokio::time::timeout_at(until, body.frame()).await else {
            if collected.len() < wanted {
                return Err(too_slow());
            }
            (until, wanted) = (Instant::now() + PACE_TIME, collected.len() + PACE_BYTES);
            continue;
        };
        let Some(frame) = frame else { return Ok((collected.freeze(), held)) };
        let frame = frame.map_err(|broken| {
            Error::bad_request(ErrorKind::Unknown, "The request body ended early").caused_by(broken)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if let Some((memory, who)) = taking {
            memory.take(who, data.len(), &mut held)?;
        }
        collected.extend_from_slice(&data);
    }
}

fn too_slow() -> Error {
    Error::new(StatusCode::REQUEST_TIMEOUT, ErrorKind::Unknown, "The request body took too long to arrive")
}

fn too_large(limit: usize) -> Error {
    Error::too_large(format!("The request body may have at most {limit} bytes"))
}

/// Reads what is left of a body and throws it away, within bounds. Failing is no error: the connection closes then.
pub async fn drain(body: &mut Body) {
    drain_within(body, DRAIN_LIMIT, BODY_TIMEOUT).await;
}

async fn drain_within(body: &mut Body, most: u64, time: Duration) {
    if body.size_hint().lower() > most {
        return;
    }
    let discard = async {
        let mut discarded = 0;
        while let Ok(Some(Ok(frame))) = tokio::time::timeout(PIECE_TIMEOUT, body.frame()).await {
            discarded += frame.data_ref().map_or(0, |data| data.len() as u64);
            if discarded > most {
                break;
            }
        }
    };
    // A client that stops sending loses its connection, which is what running into the bound means anyway.
    let _ = tokio::time::timeout(time, discard).await;
}

/// A body that nobody has read yet.
#[derive(Default)]
pub struct Unread {
    body: Body,
    /// The client sends it only when we begin to read.
    is_held_back: bool,
    /// The most bytes of it that are read and thrown away.
    drained: u64,
}

impl Unread {
    /// `most` is what may be uploaded: of what is larger, but not absurdly so, the sender is to learn why it is refused,
    /// and most clients listen only when they have sent it all.
    pub(crate) fn new(body: Body, headers: &HeaderMap, most: u64) -> Self {
        let drained = most.saturating_mul(2).max(DRAIN_LIMIT);
        Self { body, is_held_back: headers.contains_key(header::EXPECT), drained }
    }

    /// How many bytes it has, if the client said so.
    pub fn size(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Its bytes, as they come.
    pub fn pieces(&mut self) -> BoxStream<'_, Result<Bytes, BrokenBody>> {
        self.is_held_back = false;
        let until = Instant::now() + UPLOAD_TIMEOUT;
        stream::unfold(&mut self.body, move |body| async move {
            loop {
                let limit = until.min(Instant::now() + PIECE_TIMEOUT);
                return match tokio::time::timeout_at(limit, body.frame()).await {
                    Err(_) => Some((Err(BrokenBody::TooSlow), body)),
                    Ok(None) => None,
                    Ok(Some(Err(_))) => Some((Err(BrokenBody::Ended), body)),
                    Ok(Some(Ok(frame))) => match frame.into_data() {
                        Ok(data) => Some((Ok(data), body)),
                        Err(_) => continue,
                    },
                };
            }
        })
        .boxed()
    }

    /// The error with which a request is refused, when what is left of the body is out of the way.
    pub async fn refuse(mut self, error: Error) -> Error {
        if !self.is_held_back {
            drain_within(&mut self.body, self.drained, UPLOAD_TIMEOUT).await;
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_body_of_the_limit_is_read_and_one_byte_more_is_not() {
        assert_eq!(read(&mut Body::from(vec![b' '; 100]), 100).await.unwrap().len(), 100);
        assert_eq!(read(&mut Body::from(vec![b' '; 101]), 100).await.unwrap_err().status(), 413);
    }

    #[tokio::test]
    async fn of_an_upload_that_is_too_large_all_is_read_before_it_is_refused() {
        for (most, bytes, read) in [(20_u64 << 20, 30_u64 << 20, true), (1 << 20, 20 << 20, false)] {
            let (mut left, seen) = (bytes >> 20, Arc::new(Semaphore::new(0)));
            let counted = Arc::clone(&seen);
            let pieces = stream::iter(std::iter::from_fn(move || {
                left = left.checked_sub(1)?;
                counted.add_permits(1);
                Some(Ok::<_, std::io::Error>(vec![0_u8; 1 << 20]))
            }));
            let unread = Unread::new(Body::from_stream(pieces), &HeaderMap::new(), most);
            assert_eq!(unread.refuse(Error::too_large("large")).await.status(), 413);
            assert_eq!(seen.available_permits() as u64 == bytes >> 20, read, "{bytes}");
        }
    }
}
