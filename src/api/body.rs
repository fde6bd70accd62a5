//! Reading a request's body within bounds of bytes, time and nesting.
//!
//! What bodies take of memory is bounded for all together, and for each caller: who keeps bodies open takes that from
//! nobody else. A body that comes too slowly is given up.
//!
//! Invariant: whatever goes wrong, what is left of a body is read and thrown away up to a bound, so that the connection
//! can carry the next request; beyond the bound the connection closes.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use depesche_rules::bounds::MAX_JSON_DEPTH;
use depesche_server::media::BrokenBody;
use futures::{StreamExt, stream, stream::BoxStream};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use ruma::{OwnedUserId, api::error::ErrorKind};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{json, value::RawValue};
use tokio::time::Instant;

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
/// Bytes of bodies that are held in memory at a time, of users. Some hundreds of the largest events, or sixteen of the
/// largest uploads of keys, at once.
const HELD_OF_USERS: usize = 256 << 20;
/// The same of those who show no token: they can take nothing from the users.
const HELD_OF_STRANGERS: usize = 64 << 20;
/// What one caller may hold, as a part of the whole: of users twice the largest upload of keys, of strangers, who may be
/// an office behind one address, some thousand logins.
const SHARE: usize = 8;
/// When to try again where no more can be held.
const HELD_PAUSE: Duration = Duration::from_secs(2);
/// How often the log says that no more can be held: the requests that are refused then are many.
const SAY_EVERY: Duration = Duration::from_mins(1);

/// The memory for bodies: what all requests together may hold, and those of one caller.
pub struct Bodies {
    of_users: Arc<Memory>,
    of_strangers: Arc<Memory>,
}

#[derive(Debug)]
struct Memory {
    all: usize,
    share: usize,
    held: Mutex<Sum>,
}

/// What is held now, together and by each caller who holds anything.
#[derive(Debug, Default)]
struct Sum {
    all: usize,
    by: HashMap<Caller, usize>,
    /// When the log last said that somebody was refused.
    said: Option<Instant>,
}

/// Whose share a body takes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Caller {
    User(OwnedUserId),
    V4(u32),
    /// The /64, which one subscriber has whole.
    V6(u64),
}

/// Memory that a body takes, until this is dropped; none if it is empty.
pub type Held = Option<Share>;

/// A part of the memory for bodies.
#[derive(Debug)]
pub struct Share {
    memory: Arc<Memory>,
    caller: Option<Caller>,
    bytes: usize,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::of(HELD_OF_USERS, HELD_OF_STRANGERS)
    }
}

impl Bodies {
    /// So many bytes for users, and for strangers.
    fn of(users: usize, strangers: usize) -> Self {
        let memory = |all| Arc::new(Memory { all, share: all / SHARE, held: Mutex::default() });
        Self { of_users: memory(users), of_strangers: memory(strangers) }
    }

    /// Reads a whole body of at most `limit` bytes, of a caller if there is one to tell from others. Its memory is taken
    /// as it arrives, so that announcing much takes nothing.
    pub async fn read(&self, body: &mut Body, limit: usize, who: Option<Who<'_>>) -> Result<(Bytes, Held), Error> {
        let is_users = matches!(who, Some(Who::User(_)));
        let memory = if is_users { &self.of_users } else { &self.of_strangers };
        in_time(body, limit, Some((memory, who))).await
    }
}

impl From<Who<'_>> for Caller {
    fn from(who: Who<'_>) -> Self {
        match who {
            Who::User(user) => Self::User(user.to_owned()),
            Who::Address(IpAddr::V4(address)) => Self::V4(address.to_bits()),
            Who::Address(IpAddr::V6(address)) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

impl Memory {
    /// Takes so many bytes more, if there are as many.
    fn take(self: &Arc<Self>, who: Option<Who<'_>>, bytes: usize, held: &mut Held) -> Result<(), Error> {
        if bytes == 0 {
            return Ok(());
        }
        let share =
            held.get_or_insert_with(|| Share { memory: Arc::clone(self), caller: who.map(Caller::from), bytes: 0 });
        let mut sum = self.sum();
        let own = share.caller.as_ref().and_then(|caller| sum.by.get(caller)).copied().unwrap_or_default();
        let has_space = sum.all + bytes <= self.all && (share.caller.is_none() || own + bytes <= self.share);
        if !has_space {
            if sum.may_say() {
                let (caller, all) = (&share.caller, sum.all);
                tracing::warn!(
                    ?caller,
                    own,
                    all,
                    "requests are refused: their bodies would take more memory than they may"
                );
            }
            return Err(Error::busy(HELD_PAUSE));
        }
        sum.all += bytes;
        if let Some(caller) = &share.caller {
            sum.by.insert(caller.clone(), own + bytes);
        }
        share.bytes += bytes;
        Ok(())
    }

    fn sum(&self) -> MutexGuard<'_, Sum> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sum {
    fn may_say(&mut self) -> bool {
        let may = self.said.is_none_or(|said| said.elapsed() >= SAY_EVERY);
        if may {
            self.said = Some(Instant::now());
        }
        may
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut sum = self.memory.sum();
        sum.all -= self.bytes;
        let Some(caller) = &self.caller else { return };
        if let Some(own) = sum.by.get_mut(caller) {
            *own -= self.bytes;
            if *own == 0 {
                sum.by.remove(caller);
            }
        }
    }
}

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
    use ruma::{UserId, user_id};
    use tokio::sync::Semaphore;

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

    fn ann() -> Who<'static> {
        Who::User(user_id!("@ann:a.test"))
    }

    fn blanks(bytes: usize) -> Body {
        Body::from(vec![b' '; bytes])
    }

    #[tokio::test]
    async fn all_bodies_together_are_bounded_and_strangers_take_nothing_from_users() {
        let bodies = Bodies::of(800, 400);
        let mut held = Vec::new();
        for n in 0..8 {
            let user = UserId::parse(format!("@{n}:a.test")).unwrap();
            held.push(bodies.read(&mut blanks(100), 1000, Some(Who::User(&user))).await.unwrap().1);
        }
        assert_eq!(bodies.read(&mut blanks(1), 1000, Some(ann())).await.unwrap_err().status(), 503);
        held.push(bodies.read(&mut blanks(400), 1000, None).await.unwrap().1);
        assert_eq!(bodies.read(&mut blanks(1), 1000, None).await.unwrap_err().status(), 503);
        assert!(bodies.read(&mut blanks(0), 1000, None).await.unwrap().1.is_none());
        drop(held);
        assert!(bodies.of_users.sum().by.is_empty(), "who holds nothing takes no room");
        assert!(bodies.read(&mut blanks(100), 1000, Some(ann())).await.is_ok());
        assert!(bodies.read(&mut blanks(400), 1000, None).await.is_ok());
    }

    #[tokio::test]
    async fn one_caller_takes_no_more_than_a_share() {
        let bodies = Bodies::of(800, 400);
        let (_, held) = bodies.read(&mut blanks(60), 1000, Some(ann())).await.unwrap();
        assert_eq!(bodies.read(&mut blanks(41), 1000, Some(ann())).await.unwrap_err().status(), 503);
        let ben = Who::User(user_id!("@ben:a.test"));
        let (_, bens) = bodies.read(&mut blanks(100), 1000, Some(ben)).await.unwrap();
        let address = |address: &str| Some(Who::Address(address.parse().unwrap()));
        let (_, near) = bodies.read(&mut blanks(50), 1000, address("2001:db8::1")).await.unwrap();
        assert_eq!(bodies.read(&mut blanks(1), 1000, address("2001:db8::2")).await.unwrap_err().status(), 503);
        assert!(bodies.read(&mut blanks(50), 1000, address("2001:db8:0:1::1")).await.is_ok());
        drop((held, bens, near));
        assert!(bodies.read(&mut blanks(100), 1000, Some(ann())).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn that_bodies_are_refused_is_said_once_a_minute() {
        let bodies = Bodies::of(800, 400);
        let refused = bodies.read(&mut blanks(101), 1000, Some(ann())).await.unwrap_err();
        assert!(refused.is_busy() && !bodies.of_users.sum().may_say(), "it was said");
        tokio::time::advance(SAY_EVERY).await;
        assert!(bodies.of_users.sum().may_say() && !bodies.of_users.sum().may_say());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_hardly_comes_is_given_up_and_a_slow_one_is_not() {
        // Bytes a second, for so many seconds, and what comes of it.
        for (pace, seconds, is_read) in [(2048, 30, true), (600, 50, true), (300, 50, false), (2048, 90, false)] {
            let pieces = stream::unfold(0, move |second| async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                (second < seconds).then(|| (Ok::<_, std::io::Error>(vec![b' '; pace]), second + 1))
            });
            let read = Bodies::default().read(&mut Body::from_stream(pieces), 1 << 20, Some(ann())).await;
            assert_eq!(read.map(|(bytes, _)| bytes.len()).map_err(|error| error.status().as_u16()), {
                if is_read { Ok(pace * seconds) } else { Err(408) }
            });
        }
        // All but the last byte, and then silence.
        let begun = Instant::now();
        let pieces = stream::iter([Ok::<_, std::io::Error>(vec![b' '; 1000])]).chain(stream::pending());
        let bodies = Bodies::default();
        assert!(bodies.read(&mut Body::from_stream(pieces), 1001, Some(ann())).await.is_err());
        assert!(begun.elapsed() <= PACE_TIME && bodies.of_users.sum().all == 0, "nothing is held for it any more");
    }
}
