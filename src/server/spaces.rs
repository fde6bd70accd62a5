//! Spaces: the rooms below one, as far as somebody may know of them.
//!
//! The walk goes into depth first, children in the order of the specification. A room is shown once, where it is met
//! first, so that a loop ends; met again at a lesser depth, it brings what had been too deep below it.
//!
//! Nothing is kept between two pages: a token counts the rooms before it, and the walk is gone again from the start. Where
//! rooms came or went meanwhile, a page may repeat one or leave one out.
//!
//! Spec: [spaces](https://spec.matrix.org/v1.19/client-server-api/#spaces).

use std::{collections::HashMap, fmt, str::FromStr};

use depesche_rules::bounds::{
    MAX_HIERARCHY_CHILDREN, MAX_HIERARCHY_DEPTH, MAX_HIERARCHY_ROOMS, MAX_PAGE_BYTES, MAX_SPACE_CHILDREN,
};
use ruma::{
    OwnedRoomId, RoomId, UserId,
    api::client::space::SpaceHierarchyRoomsChunk,
    events::{room::member::MembershipState, space::child::HierarchySpaceChildEvent},
    room::RoomType,
    serde::Raw,
};
use serde_json::{Value, json, value::to_raw_value};

use crate::{
    keyspace::{EventNo, KEY_NO},
    rooms::{
        Rooms,
        state::Tree,
        view::{Event, RoomView},
    },
    tx::Fault,
};

/// The type of the state that puts a room into a space.
const CHILD: &str = "m.space.child";
/// Children read in one step.
const AT_ONCE: usize = 32;

/// A question for a page of the rooms below one.
#[derive(Clone, Copy, Debug, Default)]
pub struct HierarchyQuery<'a> {
    /// The token of an earlier page.
    pub from: Option<&'a str>,
    /// How far to go into depth; the room itself is at 0.
    pub max_depth: Option<u32>,
    /// Only children that their space suggests.
    pub suggested_only: bool,
    /// The most rooms.
    pub limit: usize,
}

/// A page of the rooms below one, that one first.
pub struct Hierarchy {
    /// The rooms.
    pub rooms: Vec<SpaceHierarchyRoomsChunk>,
    /// Where the next page begins; `None` if nothing follows.
    pub next: Option<String>,
}

/// Why there is no hierarchy.
#[derive(Debug, thiserror::Error)]
pub enum HierarchyError {
    /// There is no such room, as far as the user may know.
    #[error("there is no such room, or it is not open to you")]
    Forbidden,
    /// The token is not one of ours.
    #[error("this is not a token of a hierarchy")]
    BadToken,
    /// The token belongs to another question.
    #[error("`max_depth` and `suggested_only` stay the same from page to page")]
    OtherQuestion,
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How many rooms came before, and what was asked for: `h<rooms>_<depth>_<suggested>`, the depth empty if there was none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Token {
    passed: usize,
    max_depth: Option<u32>,
    suggested_only: bool,
}

impl Rooms {
    /// A page of the rooms below one.
    pub async fn hierarchy(
        &self,
        root: &RoomId,
        viewer: &UserId,
        query: &HierarchyQuery<'_>,
    ) -> Result<Hierarchy, HierarchyError> {
        self.walk(root, viewer, query, MAX_HIERARCHY_CHILDREN).await
    }

    /// As [`Self::hierarchy`]; the walk looks at so many children, all spaces together.
    pub(crate) async fn walk(
        &self,
        root: &RoomId,
        viewer: &UserId,
        query: &HierarchyQuery<'_>,
        mut children_left: usize,
    ) -> Result<Hierarchy, HierarchyError> {
        let HierarchyQuery { from, max_depth, suggested_only, limit } = *query;
        let skipped = match from.map(Token::from_str).transpose()? {
            Some(token) if token.max_depth != max_depth || token.suggested_only != suggested_only => {
                return Err(HierarchyError::OtherQuestion);
            }
            Some(token) => token.passed,
            None => 0,
        };
        let deepest = max_depth.map_or(MAX_HIERARCHY_DEPTH, |depth| depth.min(MAX_HIERARCHY_DEPTH));
        let view = self.base.view();
        let (mut met, mut passed, mut rooms) = (HashMap::<OwnedRoomId, Met>::new(), 0, Vec::new());
        let (mut looked_at, mut cut, mut left) = (0, false, MAX_PAGE_BYTES);
        let mut ahead = vec![(root.to_owned(), 0)];
        while let Some((id, depth)) = ahead.pop() {
            let known = met.get_mut(&id);
            // From nearer by one sees farther: what was too deep below a room before may not be so now.
            if looked_at >= MAX_HIERARCHY_ROOMS || known.as_ref().is_some_and(|known| !cut || known.depth <= depth) {
                continue;
            }
            looked_at += 1;
            if let Some(known) = known {
                known.depth = depth;
                ahead.extend(below(&known.children, depth));
                continue;
            }
            met.insert(id.clone(), Met { depth, children: Vec::new() });
            let told = match RoomView::find(&view, &id).await? {
                Some(room) => room.summary_for(Some(viewer)).await?.map(|told| (room, told)),
                None => None,
            };
            let is_banned = matches!(&told, Some((_, (_, Some(MembershipState::Ban)))));
            let Some((room, (summary, _))) = told.filter(|_| depth > 0 || !is_banned) else {
                if depth == 0 {
                    return Err(HierarchyError::Forbidden);
                }
                continue;
            };
            if passed >= skipped && (rooms.len() >= limit || left == 0) {
                let next = Token { passed, max_depth, suggested_only }.to_string();
                return Ok(Hierarchy { rooms, next: Some(next) });
            }
            // A page far behind comes after all that is before it, and others want to be served meanwhile.
            tokio::task::yield_now().await;
            let mut children = Vec::new();
            if summary.room_type == Some(RoomType::Space) && children_left > 0 {
                let set = room.child_events(children_left.min(MAX_SPACE_CHILDREN)).await?;
                children_left -= set.len();
                children = room.children(&set, suggested_only).await?;
            }
            let ids: Vec<_> = children.iter().map(|child| child.room.clone()).collect();
            if depth < deepest {
                ahead.extend(below(&ids, depth));
            } else {
                cut |= !ids.is_empty();
            }
            met.insert(id, Met { depth, children: ids });
            if passed >= skipped {
                let children: Vec<_> = children.into_iter().map(|child| child.shown).collect();
                let summed_up = to_raw_value(&summary).map_or(0, |text| text.get().len());
                let bytes = children.iter().map(|child| child.json().get().len()).sum::<usize>() + summed_up;
                left = left.saturating_sub(bytes);
                rooms.push(SpaceHierarchyRoomsChunk::new(summary, children));
            }
            passed += 1;
        }
        Ok(Hierarchy { rooms, next: None })
    }
}

/// A room that a walk came to.
struct Met {
    /// The least depth at which it did.
    depth: u32,
    /// Its children, if it is shown and a space.
    children: Vec<OwnedRoomId>,
}

/// The children of a room at this depth as they lie ahead, with the first one on top.
fn below(children: &[OwnedRoomId], depth: u32) -> impl Iterator<Item = (OwnedRoomId, u32)> {
    children.iter().rev().map(move |child| (child.clone(), depth + 1))
}

/// A room that a space names as one of its own.
struct Child {
    room: OwnedRoomId,
    shown: Raw<HierarchySpaceChildEvent>,
}

impl RoomView {
    /// The events that set children of a space.
    async fn child_events(&self, most: usize) -> Result<Vec<EventNo>, Fault> {
        let keys = KEY_NO.under(&(self.no, CHILD.to_owned()));
        let keys: Vec<_> = self.view.scan(&KEY_NO, keys, most).await?;
        let numbers: Vec<_> = keys.into_iter().map(|(_, no)| no).collect();
        let set = Tree::stored(&self.view, self.no).get_many(self.root(), &numbers).await?;
        Ok(set.into_iter().flatten().collect())
    }

    /// The children that these events set, in their order. One that says not through which servers to join is none.
    async fn children(&self, set: &[EventNo], suggested_only: bool) -> Result<Vec<Child>, Fault> {
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
}

impl RoomView {
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

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, max_depth, suggested_only } = self;
        let depth = max_depth.map(|depth| depth.to_string()).unwrap_or_default();
        write!(out, "h{passed}_{depth}_{}", u8::from(*suggested_only))
    }
}

impl FromStr for Token {
    type Err = HierarchyError;

    fn from_str(text: &str) -> Result<Self, HierarchyError> {
        let mut fields = text.strip_prefix('h').ok_or(HierarchyError::BadToken)?.split('_');
        let mut field = || fields.next().ok_or(HierarchyError::BadToken);
        let (passed, depth, suggested) = (field()?, field()?, field()?);
        let max_depth = match depth {
            "" => None,
            depth => Some(depth.parse().map_err(|_| HierarchyError::BadToken)?),
        };
        let suggested_only = match suggested {
            "0" => false,
            "1" => true,
            _ => return Err(HierarchyError::BadToken),
        };
        let passed = passed.parse().map_err(|_| HierarchyError::BadToken)?;
        if fields.next().is_some() {
            return Err(HierarchyError::BadToken);
        }
        Ok(Self { passed, max_depth, suggested_only })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        for (max_depth, suggested_only) in [(None, false), (Some(0), true), (Some(7), false)] {
            let token = Token { passed: 12, max_depth, suggested_only };
            assert_eq!(token.to_string().parse::<Token>().ok(), Some(token));
        }
        for text in ["", "h", "h1", "h1_2", "h1__2", "h1__0_", "hx__0", "1__0", "h1_x_0"] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
