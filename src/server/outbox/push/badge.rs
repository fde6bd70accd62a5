//! The number on an app's icon: what its user has not read, in all rooms.

use depesche_config::Badge;
use depesche_store::MAX_SCAN;
use ruma::{UserId, events::room::member::MembershipState};

use crate::{Base, Fault, keyspace::MEMBER, rooms::view::RoomView, sync::unread, tx::View};

/// The number of unread messages of a user, or of rooms with such, in the rooms the user is joined to.
pub async fn count(base: &Base, view: &View, user: &UserId) -> Result<u32, Fault> {
    let mut range = MEMBER.under(&(user.to_owned(),));
    let mut sum = 0_u32;
    loop {
        let rows = view.scan(&MEMBER, range.clone(), MAX_SCAN).await?;
        for ((_, room), member) in &rows {
            if member.state == MembershipState::Join {
                let unread = in_room(view, *room, user).await?;
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

async fn in_room(view: &View, room: u64, user: &UserId) -> Result<u32, Fault> {
    let counts = unread::counts(&RoomView::open(view, room).await?, user).await?;
    let unread = counts.notification_count.unwrap_or_default();
    Ok(u64::from(unread).try_into().unwrap_or(u32::MAX))
}
