//! Where the next page of a search begins.
//!
//! `f<place>_<skip>_<seen>`, and behind it `_r<room>` or `_s<user>` where the page is to have one group alone. Opaque to
//! clients.

use std::{fmt, str::FromStr};

use ruma::{OwnedRoomId, OwnedUserId};

use crate::{records::events::Place, rooms::tokens::BadToken};

/// Where the next page of a search begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// Only events before this place are looked at.
    pub before: Place,
    /// How many of them, in the order of the answer, were on earlier pages.
    pub skip: usize,
    /// How many results lie behind that place.
    pub seen: usize,
    /// The only group that is wanted.
    pub group: Option<Group>,
}

/// What results have in common.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Group {
    /// The room.
    Room(OwnedRoomId),
    /// Who sent them.
    Sender(OwnedUserId),
}

impl Token {
    /// The same place, in one group.
    pub fn within(&self, group: Group) -> Self {
        Self { group: Some(group), ..self.clone() }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "f{}_{}_{}", self.before, self.skip, self.seen)?;
        match &self.group {
            None => Ok(()),
            Some(Group::Room(room)) => write!(out, "_r{room}"),
            Some(Group::Sender(user)) => write!(out, "_s{user}"),
        }
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let mut fields = text.strip_prefix('f').ok_or(BadToken)?.splitn(4, '_');
        let before = fields.next().ok_or(BadToken)?.parse()?;
        let mut number = || fields.next().and_then(|field| field.parse::<u32>().ok()).ok_or(BadToken);
        let (skip, seen) = (number()? as usize, number()? as usize);
        let group = match fields.next().map(|group| group.split_at_checked(1)) {
            None => None,
            Some(Some(("r", room))) => Some(Group::Room(room.try_into().map_err(|_| BadToken)?)),
            Some(Some(("s", user))) => Some(Group::Sender(user.try_into().map_err(|_| BadToken)?)),
            Some(_) => return Err(BadToken),
        };
        Ok(Self { before, skip, seen, group })
    }
}

#[cfg(test)]
mod tests {
    use depesche_store::Position;
    use ruma::{owned_room_id, owned_user_id};

    use super::*;

    #[test]
    fn tokens_are_read_as_they_were_written() {
        let before = Place { anchor: Position(12), sub: 3, back: -4 };
        let plain = Token { before, skip: 5, seen: 6, group: None };
        assert_eq!(plain.to_string(), "ft12-3-4_5_6");
        let room = plain.within(Group::Room(owned_room_id!("!a_b:c")));
        let sender = plain.within(Group::Sender(owned_user_id!("@a_b:c")));
        for token in [plain, room, sender] {
            assert_eq!(token.to_string().parse(), Ok(token));
        }
        for bad in
            ["", "t12-3-4", "f_1_2", "ft12-3-4_1", "ft12-3-4_x_2", "ft12-3-4_1_2_", "ft12-3-4_1_2_x", "ft1-1-1_1_2_rx"]
        {
            assert_eq!(bad.parse::<Token>(), Err(BadToken), "{bad}");
        }
    }
}
