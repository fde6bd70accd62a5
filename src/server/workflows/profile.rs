//! Changing a display name or an avatar: the profile first, then the membership events of all joined rooms.
//!
//! Spec: [profiles](https://spec.matrix.org/v1.19/client-server-api/#profiles): a change is propagated as membership
//! events with the new values.

use ruma::{CanonicalJsonObject, CanonicalJsonValue, UserId, events::room::member::MembershipState};

use crate::{
    Fault, Server,
    keyspace::MEMBER,
    profiles::Profile,
    rooms::{
        lane::Refusal,
        membership::{Action, Change},
        view::RoomView,
    },
};

/// Rooms that one change reaches at most.
const ROOMS: usize = 10_000;

impl Server {
    /// The content of a membership event that a user's profile gives.
    pub async fn member_content(&self, user: &UserId) -> Result<CanonicalJsonObject, Fault> {
        Ok(content(&self.profiles.find(&self.base.view(), user).await?))
    }

    /// Tells all rooms in which the user is joined of the profile as it is now. A room that refuses keeps the old one. A
    /// fault in one room does not keep the others from it, but is returned: whoever repeats the change reaches the rest.
    pub async fn propagate_profile(&self, user: &UserId) -> Result<(), Fault> {
        let view = self.base.view();
        let content = content(&self.profiles.find(&view, user).await?);
        let rows = view.scan(&MEMBER, MEMBER.under(&(user.to_owned(),)), ROOMS).await?;
        let mut outcome = Ok(());
        for ((_, room), member) in rows {
            if member.state != MembershipState::Join {
                continue;
            }
            let room = RoomView::open(&view, room).await?;
            let change = Change {
                actor: user.to_owned(),
                target: user.to_owned(),
                action: Action::Present,
                content: content.clone(),
            };
            // Not a join: who has left meanwhile stays out.
            match self.rooms.submit(room.room_id(), change).await {
                Ok(_) => {}
                Err(Refusal::Fault(fault)) => outcome = outcome.and(Err(fault)),
                Err(refusal) => {
                    tracing::warn!(room = %room.room_id(), %refusal, "a changed profile did not reach a room");
                }
            }
        }
        outcome
    }
}

fn content(profile: &Profile) -> CanonicalJsonObject {
    let mut content = CanonicalJsonObject::new();
    let mut insert = |field: &str, value: Option<&str>| {
        if let Some(value) = value {
            content.insert(field.to_owned(), CanonicalJsonValue::String(value.to_owned()));
        }
    };
    insert("displayname", profile.displayname());
    insert("avatar_url", profile.avatar_url().map(ruma::MxcUri::as_str));
    content
}
