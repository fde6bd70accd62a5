//! The children that a space names, in the order of the specification.

use depesche_rules::bounds::MAX_PAGE_BYTES;
use ruma::{OwnedRoomId, events::space::child::HierarchySpaceChildEvent, serde::Raw};
use serde_json::{Value, json};

use crate::{
    keyspace::{EventNo, KEY_NO},
    rooms::{
        state::Tree,
        view::{Event, RoomView},
    },
    tx::Fault,
};

/// The type of the state that puts a room into a space.
const CHILD: &str = "m.space.child";
/// Children read in one step.
const AT_ONCE: usize = 32;

/// A room that a space names as one of its own.
pub struct Child {
    /// The room.
    pub room: OwnedRoomId,
    /// The event that names it, as it is shown.
    pub shown: Raw<HierarchySpaceChildEvent>,
}

impl RoomView {
    /// The events that set children of a space.
    pub(super) async fn child_events(&self, most: usize) -> Result<Vec<EventNo>, Fault> {
        let keys = KEY_NO.under(&(self.no, CHILD.to_owned()));
        let keys: Vec<_> = self.view.scan(&KEY_NO, keys, most).await?;
        let numbers: Vec<_> = keys.into_iter().map(|(_, no)| no).collect();
        let set = Tree::stored(&self.view, self.no).get_many(self.root(), &numbers).await?;
        Ok(set.into_iter().flatten().collect())
    }

    /// The children that these events set, in their order. One that says not through which servers to join is none.
    pub(super) async fn children(&self, set: &[EventNo], suggested_only: bool) -> Result<Vec<Child>, Fault> {
        let mut children = Vec::with_capacity(set.len());
        for event in self.until(set, MAX_PAGE_BYTES).await? {
            let event = self.readable(event)?;
            let shown = json!({
                "type": CHILD,
                "state_key": event.state_key(),
                "content": event.content(),
                "sender": event.sender(),
                "origin_server_ts": event.origin_server_ts(),
            });
            let Ok(child) = serde_json::from_value::<HierarchySpaceChildEvent>(as_read(&shown)) else { continue };
            if child.content.via.is_empty() || (suggested_only && !child.content.suggested) {
                continue;
            }
            let shown = Raw::new(&shown).map_err(|why| Fault::Bug(format!("an event is no JSON: {why}")))?;
            children.push((child, shown.cast_unchecked()));
        }
        children.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(children.into_iter().map(|(child, shown)| Child { room: child.state_key, shown }).collect())
    }

    /// The first of these events, until they have so many bytes.
    async fn until(&self, numbers: &[EventNo], bytes: usize) -> Result<Vec<Event>, Fault> {
        let (mut events, mut left) = (Vec::with_capacity(numbers.len()), bytes);
        for some in numbers.chunks(AT_ONCE) {
            if left == 0 {
                break;
            }
            let read = self.events(some).await?;
            left = left.saturating_sub(read.iter().map(|event| event.pdu.json().len()).sum());
            events.extend(read);
        }
        Ok(events)
    }
}

/// A child as it is read: `suggested` that is no boolean says nothing, and takes no room out of a space.
fn as_read(shown: &Value) -> Value {
    let mut read = shown.clone();
    if let Some(Value::Object(content)) = read.get_mut("content")
        && content.get("suggested").is_some_and(|suggested| !suggested.is_boolean())
    {
        content.remove("suggested");
    }
    read
}
