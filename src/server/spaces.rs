//! Spaces: the rooms below one, as far as somebody may know of them, in pages. In which order they come is `walk.rs`'s.
//!
//! Nothing is kept between two pages: a token counts the rooms before it, and the walk is gone again from the start. Where
//! rooms came or went meanwhile, a page may repeat one or leave one out.
//!
//! Spec: [spaces](https://spec.matrix.org/v1.19/client-server-api/#spaces).

mod children;
mod walk;

use std::{fmt, str::FromStr};

use depesche_rules::bounds::{MAX_HIERARCHY_CHILDREN, MAX_PAGE_BYTES};
use ruma::{RoomId, UserId, api::client::space::SpaceHierarchyRoomsChunk, room::RoomSummary};
use serde_json::value::to_raw_value;

use self::{children::Child, walk::Walk};
use crate::{rooms::Rooms, tx::Fault};

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
        children: usize,
    ) -> Result<Hierarchy, HierarchyError> {
        let HierarchyQuery { from, max_depth, suggested_only, limit } = *query;
        let skipped = match from.map(Token::from_str).transpose()? {
            Some(token) if token.max_depth != max_depth || token.suggested_only != suggested_only => {
                return Err(HierarchyError::OtherQuestion);
            }
            Some(token) => token.passed,
            None => 0,
        };
        let mut walk = Walk::from(root, self.base.view(), viewer, query, children);
        let (mut passed, mut rooms, mut left) = (0, Vec::new(), MAX_PAGE_BYTES);
        while let Some(met) = walk.next().await? {
            if passed >= skipped && (rooms.len() >= limit || left == 0) {
                let next = Token { passed, max_depth, suggested_only }.to_string();
                return Ok(Hierarchy { rooms, next: Some(next) });
            }
            // A page far behind comes after all that is before it, and others want to be served meanwhile.
            tokio::task::yield_now().await;
            let children = walk.enter(&met).await?;
            if passed >= skipped {
                let (shown, bytes) = chunk(met.summary, children);
                left = left.saturating_sub(bytes);
                rooms.push(shown);
            }
            passed += 1;
        }
        // Not even the room itself is told.
        if passed == 0 { Err(HierarchyError::Forbidden) } else { Ok(Hierarchy { rooms, next: None }) }
    }
}

/// A room as it is shown, and how many bytes that takes.
fn chunk(summary: RoomSummary, children: Vec<Child>) -> (SpaceHierarchyRoomsChunk, usize) {
    let children: Vec<_> = children.into_iter().map(|child| child.shown).collect();
    let summed_up = to_raw_value(&summary).map_or(0, |text| text.get().len());
    let bytes = children.iter().map(|child| child.json().get().len()).sum::<usize>() + summed_up;
    (SpaceHierarchyRoomsChunk::new(summary, children), bytes)
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
