//! The deprecated `GET /initialSync`: all of a user's rooms at one snapshot.
//!
//! As a first `/sync`, in the form of before: whole states, and events that name their rooms. So it costs as much, and
//! takes its turn among the first syncs.
//!
//! Spec: [`GET /initialSync`](https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3initialsync).

use std::collections::{BTreeSet, HashMap};

use ruma::{
    OwnedDeviceId, OwnedRoomId, OwnedUserId,
    api::client::filter::RoomEventFilter,
    events::{presence::PresenceEvent, room::member::MembershipState},
    serde::Raw,
};
use serde_json::value::RawValue;

use super::{Syncs, events::token, session::memberships, stripped};
use crate::{
    account_data::{Entry, GLOBAL, ignored_users},
    keyspace::RoomNo,
    records::rooms::Membership,
    rooms::{
        history::{PageQuery, ReadRefusal},
        show::Viewer,
        shown::{Format, Shown},
        view::RoomView,
    },
    tx::Fault,
};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Question {
    /// By whom.
    pub user: OwnedUserId,
    /// On which device.
    pub device: OwnedDeviceId,
    /// The most events of a room.
    pub limit: usize,
    /// Also rooms that the user has left.
    pub archived: bool,
}

/// Where a user is.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// From where on to listen.
    pub end: String,
    /// Those who are there.
    pub presence: Vec<Raw<PresenceEvent>>,
    /// The rooms, in the order in which the server came to know them.
    pub rooms: Vec<RoomInfo>,
    /// What the user keeps, but for rooms.
    pub account_data: Vec<Entry>,
}

/// A room of a user.
#[derive(Clone, Debug)]
pub struct RoomInfo {
    /// Which.
    pub room_id: OwnedRoomId,
    /// What the user has to do with it.
    pub membership: MembershipState,
    /// By which event, if that is an invite; then the rest is not theirs to see.
    pub invite: Option<Box<RawValue>>,
    /// The last events.
    pub messages: Option<Messages>,
    /// The state that they may read.
    pub state: Vec<Box<RawValue>>,
    /// Whether it is in the published directory.
    pub published: bool,
    /// What they keep for it.
    pub account_data: Vec<Entry>,
}

/// The last events of a room.
#[derive(Clone, Debug)]
pub struct Messages {
    /// Before them, if anything is there.
    pub start: Option<String>,
    /// Behind them.
    pub end: String,
    /// Oldest first.
    pub chunk: Vec<Box<RawValue>>,
}

impl Syncs {
    /// All that a user has, as it is now.
    pub async fn snapshot(&self, question: &Question) -> Result<Snapshot, Fault> {
        let _turn = self.first_turn(&question.user).await?;
        let view = self.base.view();
        let ignored = ignored_users(&view, &question.user).await?;
        let (mut global, mut data) = (Vec::new(), HashMap::<RoomNo, Vec<Entry>>::new());
        for entry in self.account_data.all(&view, &question.user).await? {
            if entry.room == GLOBAL {
                global.push(entry);
            } else {
                data.entry(entry.room).or_default().push(entry);
            }
        }
        let (mut rooms, mut joined) = (Vec::new(), Vec::new());
        for (no, member) in memberships(&view, &question.user).await? {
            let room = RoomView::open(&view, no).await?;
            let data = data.remove(&no).unwrap_or_default();
            rooms.extend(self.info(question, &room, &member, &ignored, data).await?);
            if member.state == MembershipState::Join {
                joined.push(no);
            }
            // Long work with everything in memory: others want a turn.
            tokio::task::yield_now().await;
        }
        let presence = self.who_is_there(&view, &joined, &ignored).await?;
        Ok(Snapshot { end: token(view.position()), presence, rooms, account_data: global })
    }

    /// A room; `None` if it is not to be shown.
    async fn info(
        &self,
        question: &Question,
        room: &RoomView,
        member: &Membership,
        ignored: &BTreeSet<OwnedUserId>,
        account_data: Vec<Entry>,
    ) -> Result<Option<RoomInfo>, Fault> {
        let (user, device) = (question.user.clone(), Some(question.device.clone()));
        let mut viewer = Viewer::of(room, user, device, self.base.now(), Some(member.clone())).ignoring(ignored);
        let mut info = RoomInfo {
            room_id: room.room_id().to_owned(),
            membership: member.state.clone(),
            invite: None,
            messages: None,
            state: Vec::new(),
            published: room.is_published().await?,
            account_data,
        };
        match member.state {
            MembershipState::Invite => {
                let invite = room.event(member.event).await?;
                if stripped::is_hidden(room, &question.user, &invite, ignored).await? {
                    return Ok(None);
                }
                info.invite = Some(viewer.show_one(&invite, Format::WithRoom).await?);
            }
            MembershipState::Join => read(&mut viewer, &mut info, question.limit).await?,
            MembershipState::Leave | MembershipState::Ban
                if question.archived && member.was_joined && !member.forgotten =>
            {
                read(&mut viewer, &mut info, question.limit).await?;
            }
            _ => return Ok(None),
        }
        Ok(Some(info))
    }
}

/// Adds what a member may read.
async fn read(viewer: &mut Viewer<'_>, info: &mut RoomInfo, limit: usize) -> Result<(), Fault> {
    let filter = RoomEventFilter::default();
    let query = PageQuery { from: None, to: None, backwards: true, limit, filter: &filter };
    let (page, state) = match (viewer.page(&query).await, viewer.state().await) {
        (Ok(page), Ok(state)) => (page, state),
        (Err(ReadRefusal::Fault(fault)), _) | (_, Err(ReadRefusal::Fault(fault))) => return Err(fault),
        // Of somebody who was invited and sent away hundreds of times since, it is not known any more what they saw.
        _ => return Ok(()),
    };
    let chunk = page.events.iter().rev().map(Shown::json).collect();
    info.messages = Some(Messages { start: page.end, end: page.start, chunk });
    info.state = state;
    Ok(())
}
