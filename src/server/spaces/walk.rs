//! The way through the rooms below one: into depth first, children in the order of the specification.
//!
//! A room is told once, where it is met first, so that a loop ends; met again at a lesser depth, it brings what had been too
//! deep below it. How many rooms and children are looked at is bounded.

use std::collections::HashMap;

use depesche_rules::bounds::{MAX_HIERARCHY_DEPTH, MAX_HIERARCHY_ROOMS, MAX_SPACE_CHILDREN};
use ruma::{
    OwnedRoomId, RoomId, UserId,
    events::room::member::MembershipState,
    room::{RoomSummary, RoomType},
};

use super::{HierarchyQuery, children::Child};
use crate::{
    rooms::view::RoomView,
    tx::{Fault, View},
};

/// A walk under way.
pub struct Walk<'a> {
    view: View,
    viewer: &'a UserId,
    suggested_only: bool,
    /// How deep it goes.
    deepest: u32,
    /// How many children it may still look at, all spaces together.
    children_left: usize,
    /// The rooms it came to, whether or not they are told.
    seen: HashMap<OwnedRoomId, Seen>,
    looked_at: usize,
    /// Whether something was too deep.
    cut: bool,
    /// Rooms to come, the next one last, with their depth.
    ahead: Vec<(OwnedRoomId, u32)>,
}

/// What is kept of a room that the walk came to.
struct Seen {
    /// The least depth at which it did.
    depth: u32,
    /// Its children, if it is told and a space.
    children: Vec<OwnedRoomId>,
}

/// A room that the viewer may know of.
pub struct Met {
    room: RoomView,
    depth: u32,
    /// What it says of itself.
    pub summary: RoomSummary,
}

impl<'a> Walk<'a> {
    /// At the room itself, which is at depth 0. It looks at so many children.
    pub fn from(root: &RoomId, view: View, viewer: &'a UserId, query: &HierarchyQuery<'_>, children: usize) -> Self {
        Self {
            view,
            viewer,
            suggested_only: query.suggested_only,
            deepest: query.max_depth.map_or(MAX_HIERARCHY_DEPTH, |depth| depth.min(MAX_HIERARCHY_DEPTH)),
            children_left: children,
            seen: HashMap::new(),
            looked_at: 0,
            cut: false,
            ahead: vec![(root.to_owned(), 0)],
        }
    }

    /// The next room that the viewer may know of; `None` at the end. If the first one is none of those, there is no other.
    pub async fn next(&mut self) -> Result<Option<Met>, Fault> {
        while self.looked_at < MAX_HIERARCHY_ROOMS
            && let Some((id, depth)) = self.ahead.pop()
        {
            if let Some(seen) = self.seen.get_mut(&id) {
                // From nearer by one sees farther: what was too deep below a room before may not be so now.
                if self.cut && depth < seen.depth {
                    self.looked_at += 1;
                    seen.depth = depth;
                    self.ahead.extend(below(&seen.children, depth));
                }
                continue;
            }
            self.looked_at += 1;
            self.seen.insert(id.clone(), Seen { depth, children: Vec::new() });
            let Some(room) = RoomView::find(&self.view, &id).await? else { continue };
            let Some((summary, membership)) = room.summary_for(Some(self.viewer)).await? else { continue };
            if depth > 0 || membership != Some(MembershipState::Ban) {
                return Ok(Some(Met { room, depth, summary }));
            }
        }
        Ok(None)
    }

    /// Goes on into a room that was met. Its children, if it is a space.
    pub async fn enter(&mut self, met: &Met) -> Result<Vec<Child>, Fault> {
        let mut children = Vec::new();
        if met.summary.room_type == Some(RoomType::Space) && self.children_left > 0 {
            let set = met.room.child_events(self.children_left.min(MAX_SPACE_CHILDREN)).await?;
            self.children_left -= set.len();
            children = met.room.children(&set, self.suggested_only).await?;
        }
        let ids: Vec<_> = children.iter().map(|child| child.room.clone()).collect();
        if met.depth < self.deepest {
            self.ahead.extend(below(&ids, met.depth));
        } else {
            self.cut |= !ids.is_empty();
        }
        self.seen.insert(met.room.room_id().to_owned(), Seen { depth: met.depth, children: ids });
        Ok(children)
    }
}

/// The children of a room at this depth as they lie ahead, with the first one on top.
fn below(children: &[OwnedRoomId], depth: u32) -> impl Iterator<Item = (OwnedRoomId, u32)> {
    children.iter().rev().map(move |child| (child.clone(), depth + 1))
}
