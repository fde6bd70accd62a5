//! The number on an app's icon: what its user has not read, in all rooms they are joined to.
//!
//! An invite is told, and does not count: it is no message, and its room is not one of theirs yet. Nor are missed calls
//! counted for themselves: of a call the server sees no end, in encrypted rooms not even the beginning.
//!
//! Spec: `counts` of [`POST /_matrix/push/v1/notify`](https://spec.matrix.org/v1.19/push-gateway-api/#post_matrixpushv1notify).

use depesche_config::Badge;
use depesche_store::MAX_SCAN;
use ruma::{UserId, events::room::member::MembershipState};

use crate::{
    Base, Fault,
    keyspace::MEMBER,
    rooms::{unread::Counter, view::RoomView},
    tx::View,
};

/// The number of unread messages of a user, or of rooms with such, in the rooms the user is joined to.
pub async fn count(base: &Base, counter: &Counter, view: &View, user: &UserId) -> Result<u32, Fault> {
    let mut range = MEMBER.under(&(user.to_owned(),));
    let reader = counter.reader(view, user).await?;
    let mut sum = 0_u32;
    loop {
        let rows = view.scan(&MEMBER, range.clone(), MAX_SCAN).await?;
        for ((_, room), member) in &rows {
            if member.state == MembershipState::Join {
                let room = RoomView::open(view, *room).await?;
                let unread = counter.count(&room, &reader).await?.total().notifications;
                sum = sum.saturating_add(match base.config.push.badge {
                    Badge::Messages => unread,
                    Badge::Rooms => unread.min(1),
                });
            }
        }
        match rows.last() {
            Some(((user, room), _)) if rows.len() == MAX_SCAN => {
                range = MEMBER.from(&(user.clone(),), &(user.clone(), room + 1));
            }
            _ => return Ok(sum),
        }
    }
}
