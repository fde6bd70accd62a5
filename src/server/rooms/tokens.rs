//! Tokens that clients hand back: places in a room's timeline and points of `/sync`.
//!
//! | token | what |
//! |---|---|
//! | `t<anchor>-<sub>-<back>` | a place in a timeline, "just before this event" |
//! | `s1_<position>_<to-device position>` | where an answer of `/sync` ended |
//!
//! Both are opaque to clients. `/messages`, `/context` and `/members?at=` take either.

use std::{fmt, str::FromStr};

use depesche_store::Position;

use crate::records::events::Place;

/// A token is not one of this server's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this is not a token of this server")]
pub struct BadToken;

/// Where an answer of `/sync` ended.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SyncToken {
    /// The answer held everything at or below this.
    pub position: Position,
    /// The last to-device message that was in an answer: only up to it may the server delete.
    pub to_device: Position,
}

impl fmt::Display for SyncToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "s1_{}_{}", self.position.0, self.to_device.0)
    }
}

impl FromStr for SyncToken {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        // Further fields may follow in later versions; a token from there still says these two.
        let mut fields = text.strip_prefix("s1_").ok_or(BadToken)?.split('_');
        let mut field = || number(fields.next().ok_or(BadToken)?).map(Position);
        Ok(Self { position: field()?, to_device: field()? })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "t{}-{}-{}", self.anchor.0, self.sub, self.back.unsigned_abs())
    }
}

impl FromStr for Place {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let mut fields = text.strip_prefix('t').ok_or(BadToken)?.split('-');
        let mut field = || number(fields.next().ok_or(BadToken)?);
        let (anchor, sub, back) = (field()?, field()?, field()?);
        // `back` is never positive, so the token holds its size; the least i32 is the place before a whole batch.
        let back = i32::try_from(-i64::try_from(back).map_err(|_| BadToken)?).map_err(|_| BadToken)?;
        let place = Self { anchor: Position(anchor), sub: u16::try_from(sub).map_err(|_| BadToken)?, back };
        if fields.next().is_some() { Err(BadToken) } else { Ok(place) }
    }
}

/// A point in a room's timeline from either kind of token.
pub fn place(text: &str) -> Result<Place, BadToken> {
    text.parse().or_else(|BadToken| {
        let token: SyncToken = text.parse()?;
        Ok(super::view::RoomView::place_after(token.position))
    })
}

/// Digits only: `parse` alone would take a sign.
fn number(text: &str) -> Result<u64, BadToken> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().map_err(|_| BadToken) } else { Err(BadToken) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote() {
        for (anchor, sub, back) in [(0, 0, 0), (7, 3, -2), (u64::MAX, u16::MAX, i32::MIN)] {
            let place = Place { anchor: Position(anchor), sub, back };
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        let token = SyncToken { position: Position(12), to_device: Position(5) };
        assert_eq!(token.to_string(), "s1_12_5");
        assert_eq!("s1_12_5_99".parse(), Ok(token));
    }

    #[test]
    fn refuses_other_text() {
        for text in
            ["", "t", "t1", "t1-2", "t1-2-3-4", "t+1-2-3", "t1-70000-0", "t1-0-2147483649", "s1_1", "s2_1_1", "x"]
        {
            assert_eq!(place(text), Err(BadToken), "{text}");
        }
    }
}
