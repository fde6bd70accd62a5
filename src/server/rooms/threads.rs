//! The threads of a room, those with the latest events first: `/threads`.
//!
//! Spec: [querying threads in a room](https://spec.matrix.org/v1.19/client-server-api/#querying-threads-in-a-room).

use depesche_rules::bounds::MAX_PAGE_BYTES;
use ruma::OwnedEventId;
use serde_json::value::RawValue;

use super::{
    history::ReadRefusal,
    show::Viewer,
    shown::Format,
    tokens,
    view::{Event, RoomView},
};
use crate::{
    keyspace::{EVENT_NO, EventNo, THREAD},
    tx::Fault,
};

/// Threads looked at in one step.
const STEP: usize = 64;
/// Threads that one page looks at, at most: where the viewer takes part in few, the client asks again.
const LOOKED_AT: usize = 1000;

/// A question for a page of a room's threads.
pub struct ThreadsQuery<'a> {
    /// Where to begin; with the latest if `None`.
    pub from: Option<&'a str>,
    /// Only those that the viewer takes part in.
    pub participated: bool,
    /// The most threads.
    pub limit: usize,
}

/// A page of a room's threads.
pub struct Threads {
    /// Their roots.
    pub roots: Vec<Box<RawValue>>,
    /// Where the next page begins; `None` if nothing follows.
    pub next: Option<String>,
}

impl Viewer<'_> {
    /// A page of the threads whose roots the viewer may see, or would if they ignored nobody.
    pub async fn threads(&mut self, query: &ThreadsQuery<'_>) -> Result<Threads, ReadRefusal> {
        self.readable_root().await?;
        let mut at = match query.from {
            Some(token) => tokens::place(token)?,
            None => RoomView::place_after(self.room().view.position()),
        };
        let (mut roots, mut looked_at, mut left) = (Vec::new(), 0, MAX_PAGE_BYTES);
        loop {
            let room = self.room().no;
            // One more than fits, to know whether there is more.
            let step = (query.limit + 1).min(STEP);
            let rows = self.room().view.scan_back(&THREAD, THREAD.before(&(room,), &(room, at)), step).await?;
            let known = self.roots(rows.iter().map(|(_, root)| root.clone()).collect()).await?;
            for (((_, place), _), root) in rows.iter().zip(known) {
                if let Some(root) = root
                    && self.lists(&root, query.participated).await?
                    && let Some(shown) = self.show_root(&root).await?
                {
                    if roots.len() == query.limit || left == 0 {
                        return Ok(Threads { roots, next: Some(at.to_string()) });
                    }
                    left = left.saturating_sub(shown.get().len());
                    roots.push(shown);
                }
                at = *place;
            }
            if rows.len() < step {
                return Ok(Threads { roots, next: None });
            }
            looked_at += rows.len();
            if looked_at >= LOOKED_AT {
                return Ok(Threads { roots, next: Some(at.to_string()) });
            }
        }
    }

    /// The roots that are in the room, in the order asked.
    async fn roots(&mut self, ids: Vec<OwnedEventId>) -> Result<Vec<Option<Event>>, Fault> {
        let room = self.room();
        let keys: Vec<_> = ids.into_iter().map(|id| (id,)).collect();
        let found = room.view.get_many(&EVENT_NO, &keys).await?;
        let here = |at: &Option<(u64, EventNo)>| at.filter(|(of, _)| *of == room.no).map(|(_, no)| no);
        let numbers: Vec<_> = found.iter().filter_map(here).collect();
        self.foresee(&numbers).await?;
        let mut events = room.events(&numbers).await?.into_iter();
        Ok(found.iter().map(|at| here(at).and_then(|_| events.next())).collect())
    }

    /// Whether a thread is in the list.
    async fn lists(&mut self, root: &Event, participated: bool) -> Result<bool, Fault> {
        let me = self.user().clone();
        let mine = *root.pdu.sender() == me;
        let takes_part = mine || !participated || self.sent_in_thread(root.pdu.event_id(), &[me]).await? > 0;
        Ok(takes_part && self.may_know(root).await?)
    }

    /// A root with its aggregations, if it has a thread that the viewer may see anything of. That of an ignored user is
    /// shown as if it were redacted.
    async fn show_root(&mut self, root: &Event) -> Result<Option<Box<RawValue>>, Fault> {
        let event = std::slice::from_ref(root);
        let bundles = self.bundles(event, Format::WithRoom).await?;
        let Some(bundle) = bundles.get(&root.no).filter(|bundle| bundle.thread.is_some()) else { return Ok(None) };
        let json = bundle.json();
        if self.is_spared(root).await? {
            let bare = Event { pdu: self.room().without_content(&root.pdu)?, ..root.clone() };
            return Ok(Some(self.show_with(&bare, Format::WithRoom, json).await?));
        }
        Ok(Some(self.show_with(root, Format::WithRoom, json).await?))
    }
}
