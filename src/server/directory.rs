//! The published room directory: which rooms are in it, in which order, and who may put them there.
//!
//! Rooms with most members come first, and among those with as many the older ones. What is searched of each room is
//! kept in memory (`directory/shown.rs`). A token names a place in the order, so that a page follows the last one even if
//! rooms have come or gone.
//!
//! Spec: [published room directory](https://spec.matrix.org/v1.19/client-server-api/#published-room-directory).

mod shown;

use std::{cmp::Reverse, sync::Arc};

use depesche_rules::bounds::{DEFAULT_DIRECTORY_LIMIT, MAX_PAGE, MAX_PUBLISHED_ROOMS};
use ruma::{
    RoomId, UserId,
    directory::{PublicRoomsChunk, RoomTypeFilter},
    events::room::member::MembershipState,
};
use tokio::sync::Mutex;

use self::shown::{Shown, Wanted};
use crate::{
    base::Base,
    keyspace::{MEMBER, PUBLISHED, RoomNo},
    rooms::{Rooms, view::RoomView},
    topic,
    tx::Fault,
};

/// Why the directory is not read or changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// There is no such room.
    #[error("there is no such room")]
    NotFound,
    /// The user may not publish the room.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The token is not one of ours.
    #[error("this is not a token of the room directory")]
    BadToken,
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A question for a page of the directory.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// The most rooms.
    pub limit: Option<u32>,
    /// The token of an earlier page.
    pub since: Option<String>,
    /// Only rooms in whose name, topic or alias these words stand, in this order.
    pub term: Option<String>,
    /// Only rooms of these types; of any if empty.
    pub types: Vec<RoomTypeFilter>,
}

/// A page of the directory.
#[derive(Debug, Default)]
pub struct Page {
    /// The rooms, in the order of the directory.
    pub rooms: Vec<PublicRoomsChunk>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// Where the page before ends.
    pub previous: Option<String>,
    /// How many rooms there are, whatever the question.
    pub total: usize,
}

/// Where a room stands: by members, then by age.
type Place = (Reverse<u32>, RoomNo);

/// Where a page begins or ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Token {
    After(Place),
    Before(Place),
}

/// The directory of this server.
pub struct Directory {
    rooms: Arc<Rooms>,
    shown: Mutex<Shown>,
}

impl Directory {
    /// Nothing is in memory yet.
    pub fn new(rooms: Arc<Rooms>) -> Self {
        let shown = Shown::new(&rooms.base);
        Self { rooms, shown: Mutex::new(shown) }
    }

    fn base(&self) -> &Arc<Base> {
        &self.rooms.base
    }

    /// Whether a room is published.
    pub async fn has(&self, room: &RoomId) -> Result<bool, DirectoryError> {
        let room = self.rooms.find(room).await?.ok_or(DirectoryError::NotFound)?;
        Ok(room.view.get(&PUBLISHED, &(room.no,)).await?.is_some())
    }

    /// Publishes a room, or takes it out: who may set its main alias may.
    pub async fn set(&self, user: &UserId, room: &RoomId, published: bool) -> Result<(), DirectoryError> {
        let room = self.rooms.find(room).await?.ok_or(DirectoryError::NotFound)?;
        if !self.rooms.may_name(user, Some(&room)).await? {
            return Err(DirectoryError::Forbidden("publishing this room takes the right to set its main alias"));
        }
        if published {
            self.must_have_space().await?;
        }
        self.put(user, room.no, published).await
    }

    /// Publishes a room, or takes it out, for a user who might when it was asked.
    pub(crate) async fn put(&self, user: &UserId, room: RoomNo, published: bool) -> Result<(), DirectoryError> {
        let (key, member) = (&(room,), &(user.to_owned(), room));
        self.base()
            .transact(|tx| async move {
                if tx.read(&PUBLISHED, key).await?.is_some() != published {
                    // Nobody could take out a room that its last member has left since. This row is written by who leaves:
                    // in a batch before this one it says so, in one behind it that one finds the room published.
                    let member = if published { tx.read(&MEMBER, member).await? } else { None };
                    if published && member.is_none_or(|member| member.state != MembershipState::Join) {
                        return Err(DirectoryError::Forbidden("publishing a room is for those who are joined to it"));
                    }
                    if published {
                        tx.put(&PUBLISHED, key, &());
                    } else {
                        tx.delete(&PUBLISHED, key);
                    }
                    tx.topic(topic::directory());
                }
                Ok(())
            })
            .await
    }

    /// Refuses what would make the directory larger than is kept in memory.
    pub async fn must_have_space(&self) -> Result<(), DirectoryError> {
        let mut shown = self.shown.lock().await;
        shown.refresh(self.base()).await?;
        if shown.taken() < MAX_PUBLISHED_ROOMS {
            return Ok(());
        }
        Err(DirectoryError::Forbidden("the room directory is full"))
    }

    /// A page of the directory.
    pub async fn page(&self, query: &Query) -> Result<Page, DirectoryError> {
        let since = query.since.as_deref().map(Token::read).transpose()?;
        let limit = query.limit.unwrap_or(DEFAULT_DIRECTORY_LIMIT).clamp(1, MAX_PAGE);
        let wanted = Wanted::new(query);
        let (view, places, more, total) = {
            let mut shown = self.shown.lock().await;
            let view = shown.refresh(self.base()).await?;
            let (places, more) = shown.places(since, &wanted, usize::try_from(limit).unwrap_or(usize::MAX));
            (view, places, more, shown.total())
        };
        let forwards = !matches!(since, Some(Token::Before(_)));
        // Who comes from behind a page knows that there is more behind, and the other way round.
        let (has_before, has_after) = if forwards { (since.is_some(), more) } else { (more, true) };
        let mut page = Page {
            rooms: Vec::with_capacity(places.len()),
            next: places.last().filter(|_| has_after).map(|place| Token::After(*place).write()),
            previous: places.first().filter(|_| has_before).map(|place| Token::Before(*place).write()),
            total,
        };
        for (_, room) in places {
            let summary = async { RoomView::open(&view, room).await?.summary().await };
            page.rooms.extend(self.base().unless_damaged(room, summary.await)?.map(PublicRoomsChunk::from));
        }
        Ok(page)
    }
}

impl Token {
    fn write(self) -> String {
        let (sign, (Reverse(members), room)) = match self {
            Self::After(place) => ('n', place),
            Self::Before(place) => ('p', place),
        };
        format!("{sign}{members}_{room}")
    }

    fn read(text: &str) -> Result<Self, DirectoryError> {
        let place = |rest: &str| {
            let (members, room) = rest.split_once('_')?;
            Some((Reverse(members.parse().ok()?), room.parse().ok()?))
        };
        let after = text.strip_prefix('n').and_then(place).map(Self::After);
        after.or_else(|| text.strip_prefix('p').and_then(place).map(Self::Before)).ok_or(DirectoryError::BadToken)
    }
}

#[cfg(test)]
mod tests {
    use super::{shown::Entry, *};
    use crate::{
        records::rooms::Head,
        testing::{Fixture, user},
    };

    #[tokio::test]
    async fn so_many_rooms_are_published_and_no_more() {
        let server = Fixture::new();
        let directory = Directory::new(Arc::clone(&server.rooms));
        let alice = &user("alice");
        // The second time the first room is one of them.
        for has_space in [true, false] {
            let room = server.public_room(alice).await;
            // In memory they are as good as on the disk: nothing says that the list is another one.
            let mut shown = directory.shown.lock().await;
            shown.refresh(&server.base).await.unwrap();
            let head = Head::clone(&server.rooms.find(&room).await.unwrap().unwrap().head);
            for room in (1_000_000..).take(MAX_PUBLISHED_ROOMS - 1) {
                let (place, kind) = (None, RoomTypeFilter::from(None::<String>));
                shown.put(room, Entry { head: head.clone(), states: Vec::new(), place, kind, text: String::new() });
            }
            drop(shown);
            let published = directory.set(alice, &room, true).await;
            let refused = matches!(published, Err(DirectoryError::Forbidden(_)));
            assert!(if has_space { published.is_ok() } else { refused }, "{published:?}");
        }
    }
}
