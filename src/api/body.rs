//! Reading a request's body within bounds of bytes, time and nesting.
//!
//! Invariant: whatever goes wrong, what is left of a body is read and thrown away up to a bound, so that the connection
//! can carry the next request; beyond the bound the connection closes.

use std::{borrow::Cow, collections::HashMap, fmt, sync::Arc, time::Duration};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use depesche_rules::bounds::MAX_JSON_DEPTH;
use depesche_server::media::BrokenBody;
use futures::{StreamExt, stream, stream::BoxStream};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use ruma::api::error::ErrorKind;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{json, value::RawValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// The most bytes read and thrown away to keep a connection after an error.
const DRAIN_LIMIT: u64 = 16 * 1024 * 1024;
/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a client may take between two pieces of an upload.
const PIECE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an upload may take in all.
const UPLOAD_TIMEOUT: Duration = Duration::from_hours(2);
/// Bytes of bodies that are held in memory at a time, of users. Some hundreds of the largest events, or sixteen of the
/// largest uploads of keys, at once.
const HELD_OF_USERS: usize = 256 << 20;
/// The same of those who show no token: they can take nothing from the users.
const HELD_OF_STRANGERS: usize = 64 << 20;
/// When to try again where no more can be held.
const HELD_PAUSE: Duration = Duration::from_secs(2);

/// The memory for bodies: what all requests together may hold.
pub struct Bodies {
    of_users: Arc<Semaphore>,
    of_strangers: Arc<Semaphore>,
}

/// Memory that a body takes, until this is dropped; none if it is empty.
pub type Held = Option<OwnedSemaphorePermit>;

impl Default for Bodies {
    fn default() -> Self {
        Self::of(HELD_OF_USERS, HELD_OF_STRANGERS)
    }
}

impl Bodies {
    /// So many bytes for users, and for strangers.
    fn of(users: usize, strangers: usize) -> Self {
        Self { of_users: Arc::new(Semaphore::new(users)), of_strangers: Arc::new(Semaphore::new(strangers)) }
    }

    /// Reads a whole body of at most `limit` bytes. Its memory is taken as it arrives, so that announcing much takes
    /// nothing.
    pub async fn read(&self, body: &mut Body, limit: usize, is_users: bool) -> Result<(Bytes, Held), Error> {
        let memory = if is_users { &self.of_users } else { &self.of_strangers };
        in_time(body, limit, Some(memory)).await
    }
}

/// Reads a whole body of at most `limit` bytes, whatever others hold: for the operator.
pub async fn read(body: &mut Body, limit: usize) -> Result<Bytes, Error> {
    in_time(body, limit, None).await.map(|(bytes, _)| bytes)
}

async fn in_time(body: &mut Body, limit: usize, memory: Option<&Arc<Semaphore>>) -> Result<(Bytes, Held), Error> {
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    tokio::time::timeout(BODY_TIMEOUT, collect(body, limit, memory)).await.unwrap_or_else(|_| {
        Err(Error::new(StatusCode::REQUEST_TIMEOUT, ErrorKind::Unknown, "The request body took too long to arrive"))
    })
}

async fn collect(body: &mut Body, limit: usize, memory: Option<&Arc<Semaphore>>) -> Result<(Bytes, Held), Error> {
    let (mut collected, mut held) = (BytesMut::new(), Held::None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|broken| {
            Error::bad_request(ErrorKind::Unknown, "The request body ended early").caused_by(broken)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if let Some(memory) = memory {
            take(memory, data.len(), &mut held)?;
        }
        collected.extend_from_slice(&data);
    }
    Ok((collected.freeze(), held))
}

/// Takes memory for so many bytes more.
fn take(memory: &Arc<Semaphore>, bytes: usize, held: &mut Held) -> Result<(), Error> {
    let busy = || Error::busy(HELD_PAUSE);
    let bytes = u32::try_from(bytes).map_err(|_| busy())?;
    let more = Arc::clone(memory).try_acquire_many_owned(bytes).map_err(|_| busy())?;
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
    Ok(())
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
        let until = tokio::time::Instant::now() + UPLOAD_TIMEOUT;
        stream::unfold(&mut self.body, move |body| async move {
            loop {
                let limit = until.min(tokio::time::Instant::now() + PIECE_TIMEOUT);
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

/// Checks that a body is one JSON object in UTF-8, nested at most [`MAX_JSON_DEPTH`] deep, with nothing behind it.
///
/// The types of the endpoint are read afterwards. They alone would let through what they skip or take as it is: raw
/// event contents, unknown fields, text behind the value, and an array in the place of an object.
pub fn check_json(bytes: &[u8]) -> Result<(), Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let checked = TopLevel.deserialize(&mut reader).and_then(|()| reader.end());
    checked.map_err(|error| {
        if error.is_data() {
            Error::bad_request(ErrorKind::BadJson, error.to_string())
        } else {
            Error::bad_request(ErrorKind::NotJson, format!("The request body is not JSON: {error}"))
        }
    })
}

/// The object with this one field that `true` or `false` alone stands for, if the body is that.
pub fn of_bare_flag(bytes: &[u8], field: &str) -> Option<Bytes> {
    let flag = match bytes.trim_ascii() {
        b"true" => true,
        b"false" => false,
        _ => return None,
    };
    Some(Bytes::from(json!({ field: flag }).to_string()))
}

/// Whether a body is an object with this field.
pub fn has_field(bytes: &[u8], field: &str) -> bool {
    let fields: Option<HashMap<Cow<'_, str>, &RawValue>> = serde_json::from_slice(bytes).ok();
    fields.is_some_and(|fields| fields.contains_key(field))
}

/// The body itself: an object and nothing else.
struct TopLevel;

impl<'de> DeserializeSeed<'de> for TopLevel {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(Nested { depth: 1 })
    }
}

/// A value at some depth; every string and number in it is read, so that broken ones are found.
#[derive(Clone, Copy)]
struct Nested {
    depth: usize,
}

impl Nested {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > MAX_JSON_DEPTH {
            return Err(E::custom(format_args!("nested more than {MAX_JSON_DEPTH} levels deep")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.depth == 1 { "a JSON object" } else { "a JSON value" })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while map.next_key_seed(Text)?.is_some() {
            map.next_value_seed(inner)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// An object's key, which must be a well-formed string like any other.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body is refused with, as an errcode.
    fn errcode(bytes: &[u8]) -> Option<String> {
        let error = check_json(bytes).err()?;
        Some(error.errcode().unwrap())
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels))
    }

    #[test]
    fn nesting_is_bounded() {
        assert_eq!(errcode(nested(MAX_JSON_DEPTH).as_bytes()), None);
        assert_eq!(errcode(nested(MAX_JSON_DEPTH + 1).as_bytes()).as_deref(), Some("M_BAD_JSON"));
        // So deep that reading it by recursion would overflow the stack.
        assert!(errcode(nested(1_000_000).as_bytes()).is_some());
    }

    #[test]
    fn only_one_whole_object_is_a_body() {
        for (body, expected) in [
            (r#"{"a":[1,2.5,"b",null,true,{}]}"#, None),
            ("{} ", None),
            ("[]", Some("M_BAD_JSON")),
            ("1", Some("M_BAD_JSON")),
            ("", Some("M_NOT_JSON")),
            ("{", Some("M_NOT_JSON")),
            ("{} {}", Some("M_NOT_JSON")),
            ("nonsense", Some("M_NOT_JSON")),
            (r#"{"a":"\ud800"}"#, Some("M_NOT_JSON")),
            (r#"{"\ud800":1}"#, Some("M_NOT_JSON")),
            (r#"{"a":1e999}"#, Some("M_NOT_JSON")),
            (r#"{"a":NaN}"#, Some("M_NOT_JSON")),
        ] {
            assert_eq!(errcode(body.as_bytes()).as_deref(), expected, "{body}");
        }
        assert_eq!(errcode(b"{\"a\":\"\xff\"}").as_deref(), Some("M_NOT_JSON"));
    }

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

    #[tokio::test]
    async fn all_bodies_together_are_bounded_and_strangers_take_nothing_from_users() {
        let bodies = Bodies::of(100, 50);
        let read = async |bytes: usize, is_users| bodies.read(&mut Body::from(vec![b' '; bytes]), 1000, is_users).await;
        let (_, first) = read(60, true).await.unwrap();
        assert_eq!(read(41, true).await.unwrap_err().status(), 503);
        let (_, second) = read(40, true).await.unwrap();
        let (_, stranger) = read(50, false).await.unwrap();
        assert_eq!(read(1, false).await.unwrap_err().status(), 503);
        assert!(read(0, false).await.unwrap().1.is_none());
        drop((first, second, stranger));
        assert!(read(100, true).await.is_ok() && read(50, false).await.is_ok());
    }
}
