//! Changing a membership: join, invite, knock, leave, kick, ban, unban.
//!
//! The auth rules have the last word; here is what they do not say: what is so already, what a profile adds, and how a
//! restricted room finds the member who vouches for the one who joins.
//!
//! Spec: [room membership](https://spec.matrix.org/v1.19/client-server-api/#room-membership),
//! [restricted rooms](https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms).

use depesche_rules::{bounds::MAX_ALLOWED_ROOMS, build::EventDraft, pdu::Pdu};
use futures::future::BoxFuture;
use ruma::{
    CanonicalJsonObject, OwnedRoomId, OwnedUserId, UserId,
    events::{StateEventType, room::member::MembershipState},
};
use serde::Deserialize;
use serde_json::Value;

use super::lane::{Intent, Refusal, Turn, Verdict};
use crate::{
    account_data::blocks_invites,
    keyspace::{ACCOUNT, MEMBER, ROOM_NO},
    profiles,
    records::accounts::Standing,
    tx::{Fault, Tx, View},
};

/// How many members are looked at, at most, to find one who may vouch for a restricted join in a room where everyone
/// may invite.
const VOUCHERS: usize = 1024;
/// How many of them at a time: nearly always the first one does.
const PAGE: usize = 8;

/// What is to become of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// To be in the room.
    Join,
    /// To look different in a room one is in.
    Present,
    /// To ask someone in.
    Invite,
    /// To ask to be let in.
    Knock,
    /// To go, to refuse an invite or to take back a knock.
    Leave,
    /// To put someone out, or to take back an invite.
    Kick,
    /// To put someone out and keep them out.
    Ban,
    /// To lift a ban.
    Unban,
}

impl Action {
    /// Whether it is one of those that a member does to somebody: they take being in the room, also where somebody names
    /// themselves.
    fn is_on_others(self) -> bool {
        matches!(self, Self::Invite | Self::Kick | Self::Ban | Self::Unban)
    }
}

/// One change of a membership.
#[derive(Clone, Debug)]
pub struct Change {
    /// Who changes it.
    pub actor: OwnedUserId,
    /// Whose it is.
    pub target: OwnedUserId,
    /// What is to become of it.
    pub action: Action,
    /// What the content has beside `membership`: profile, reason, `is_direct`, what the client added.
    pub content: CanonicalJsonObject,
}

/// A change that shows the target's profile as it is at its turn: of a join, an invite or a knock.
#[derive(Clone, Debug)]
pub struct WithProfile(pub Change);

impl Intent for WithProfile {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move { self.0.clone().complete(turn).await?.judge(turn, Same::Looks).await })
    }
}

/// A change that a client sets as state: all that it says is kept, with the target's profile where that belongs to it and
/// the client does not give another.
#[derive(Clone, Debug)]
pub struct AsState(pub Change);

impl Intent for AsState {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            let mut change = self.0.clone();
            if matches!(change.action, Action::Join | Action::Invite | Action::Knock) {
                change = change.complete(turn).await?;
            }
            change.judge(turn, Same::Content).await
        })
    }
}

/// Whether a user's account is at its end: a deactivation leaves the rooms it finds, and whoever comes in behind it would
/// stay. The batch relies on the answer, so that of the two one is first.
pub(crate) async fn is_leaving(tx: &Tx, user: &OwnedUserId) -> Result<bool, Fault> {
    let account = tx.read(&ACCOUNT, &(user.clone(),)).await?;
    Ok(account.is_some_and(|account| account.standing != Standing::Active))
}

/// What such a user is told.
pub(crate) fn leaving() -> Refusal {
    Refusal::Forbidden("the account has been deactivated".to_owned())
}

impl Intent for Change {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(self.judge(turn, Same::Looks))
    }
}

/// When a membership that stands already is all that was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Same {
    /// When a member looks as they are to look; a ban or a knock merely has to stand.
    Looks,
    /// When the same user said the same, as with any other state.
    Content,
}

impl Change {
    /// Shows the target's profile, but for what the content says of it.
    async fn complete(mut self, turn: &Turn<'_>) -> Result<Self, Refusal> {
        if matches!(self.action, Action::Join | Action::Knock) && is_leaving(turn.tx, &self.target).await? {
            return Err(leaving());
        }
        for (field, value) in profiles::member_content(turn.tx, &self.target).await? {
            self.content.entry(field).or_insert(value);
        }
        Ok(self)
    }

    async fn judge(&self, turn: &mut Turn<'_>, same: Same) -> Result<Verdict, Refusal> {
        let current = turn.working.state(turn.tx, "m.room.member", self.target.as_str()).await?;
        let before = turn.working.membership(turn.tx, &self.target).await?;
        if self.actor != self.target || self.action.is_on_others() {
            turn.must_be_joined(&self.actor).await?;
        }
        if self.action == Action::Invite && self.target.server_name() != turn.base.name {
            let why = "this server does not federate, so it cannot invite users of other servers";
            return Err(Refusal::Forbidden(why.into()));
        }
        let (state, so_already) = self.outcome(before.as_ref())?;
        if self.action == Action::Invite {
            self.must_be_able_to_invite(turn).await?;
            // Read past the batch: no order is promised between an invite and the wish to get none.
            if blocks_invites(turn.tx.view(), &self.target).await? {
                return Err(Refusal::InviteBlocked);
            }
        }
        let mut content = self.content.clone();
        content.insert("membership".to_owned(), state.to_string().into());
        // Only this server says who vouches, and only below.
        content.remove("join_authorised_via_users_server");
        if let Some(event) = &current
            && self.is_same_invite(event, &content)
        {
            return Ok(Verdict::Already(event.event_id().clone()));
        }
        if let Some(event) = current.filter(|_| so_already) {
            if self.action == Action::Ban {
                self.must_be_able_to_ban(turn).await?;
            }
            if self.is_said_by(&event, &content, same) {
                return Ok(Verdict::Already(event.event_id().clone()));
            }
        }
        if self.action == Action::Join && !so_already {
            self.find_voucher(turn, before.as_ref(), &mut content).await?;
        }
        let draft = EventDraft::state(self.actor.clone(), StateEventType::RoomMember, self.target.as_str(), content);
        Ok(Verdict::Append(vec![draft]))
    }

    /// The membership to set, and whether it is so already.
    fn outcome(&self, before: Option<&MembershipState>) -> Result<(MembershipState, bool), Refusal> {
        use MembershipState as M;
        let forbidden = |why: &str| Err(Refusal::Forbidden(why.to_owned()));
        match self.action {
            Action::Join => Ok((M::Join, before == Some(&M::Join))),
            Action::Present => match before {
                Some(M::Join) => Ok((M::Join, true)),
                _ => forbidden("you are not in this room"),
            },
            Action::Knock => match before {
                Some(M::Join) => forbidden("you are joined to this room already"),
                Some(M::Invite) => forbidden("you are invited to this room already"),
                _ => Ok((M::Knock, before == Some(&M::Knock))),
            },
            Action::Invite => match before {
                Some(M::Join) => forbidden("the user is in the room already"),
                Some(M::Ban) => forbidden("the user is banned from the room"),
                _ => Ok((M::Invite, false)),
            },
            Action::Leave => match before {
                // In the words by which mautrix knows that there was nothing to leave.
                None => forbidden("you are not in room or invited to it"),
                Some(M::Ban) => forbidden("you are banned from this room"),
                _ => Ok((M::Leave, before == Some(&M::Leave))),
            },
            Action::Kick => match before {
                Some(M::Join | M::Invite | M::Knock) => Ok((M::Leave, false)),
                _ => forbidden("the user is not in the room"),
            },
            Action::Ban => Ok((M::Ban, before == Some(&M::Ban))),
            Action::Unban => match before {
                Some(M::Ban) => Ok((M::Leave, false)),
                _ => Err(Refusal::BadState("the user is not banned from the room".to_owned())),
            },
        }
    }

    /// Who may not invite anyway learns nothing of whom they would.
    async fn must_be_able_to_invite(&self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        match turn.working.power_levels(turn.tx).await? {
            Some(levels) if levels.can_invite(&self.actor) => Ok(()),
            _ => Err(Refusal::Forbidden("inviting takes a higher power level".into())),
        }
    }

    /// A ban that is in force makes no event that the rules would judge.
    async fn must_be_able_to_ban(&self, turn: &mut Turn<'_>) -> Result<(), Refusal> {
        match turn.working.power_levels(turn.tx).await? {
            Some(levels) if levels.can_ban(&self.actor, &self.target) => Ok(()),
            _ => Err(Refusal::Forbidden("banning this user takes a higher power level".into())),
        }
    }

    /// Whether this asks for the invite that stands: it got no answer perhaps, and invites carry no transaction id.
    fn is_same_invite(&self, current: &Pdu, content: &CanonicalJsonObject) -> bool {
        self.action == Action::Invite
            && *current.sender() == self.actor
            && current.content_as::<CanonicalJsonObject>().is_ok_and(|stored| stored == *content)
    }

    /// Whether the event that made the membership what it is to be says all that is asked for.
    fn is_said_by(&self, current: &Pdu, content: &CanonicalJsonObject, same: Same) -> bool {
        let mut stored = current.content_as::<CanonicalJsonObject>().unwrap_or_default();
        match self.action {
            // The rules let nobody leave twice.
            Action::Leave => true,
            _ if same == Same::Content => {
                stored.remove("join_authorised_via_users_server");
                *current.sender() == self.actor && stored == *content
            }
            // A member looks the same after joining again.
            Action::Join | Action::Present => {
                ["displayname", "avatar_url"].iter().all(|field| content.get(*field) == stored.get(*field))
            }
            _ => true,
        }
    }

    /// In a restricted room, names the member by whose right the user joins, unless an invite is right enough.
    async fn find_voucher(
        &self,
        turn: &mut Turn<'_>,
        before: Option<&MembershipState>,
        content: &mut CanonicalJsonObject,
    ) -> Result<(), Refusal> {
        let invited = matches!(before, Some(MembershipState::Invite | MembershipState::Join));
        if invited || !turn.working.rules.authorization.restricted_join_rule {
            return Ok(());
        }
        let rules = turn.working.state(turn.tx, "m.room.join_rules", "").await?;
        let rules: JoinRules = rules.and_then(|rules| rules.content_as().ok()).unwrap_or_default();
        if !matches!(rules.join_rule.as_str(), "restricted" | "knock_restricted") {
            return Ok(());
        }
        if !self.in_allowed_room(turn, &rules).await? {
            let why = "you are in none of the rooms whose members may join this one";
            return Err(Refusal::Forbidden(why.into()));
        }
        let Some(voucher) = turn.voucher().await? else {
            let why = "nobody on this server may let you into this room";
            return Err(Refusal::UnableToGrant(why.into()));
        };
        content.insert("join_authorised_via_users_server".to_owned(), voucher.to_string().into());
        Ok(())
    }

    async fn in_allowed_room(&self, turn: &Turn<'_>, rules: &JoinRules) -> Result<bool, Refusal> {
        // Read past the batch: a membership elsewhere may change at any time, and no order between two rooms is promised.
        in_one_of(turn.tx.view(), &self.target, rules.rooms()).await.map_err(Refusal::from)
    }
}

/// Whether a user is joined to one of these rooms; the first [`MAX_ALLOWED_ROOMS`] are looked at.
pub(super) async fn in_one_of(
    view: &View,
    user: &UserId,
    rooms: impl Iterator<Item = OwnedRoomId>,
) -> Result<bool, Fault> {
    let rooms: Vec<_> = rooms.take(MAX_ALLOWED_ROOMS).map(|room| (room,)).collect();
    let numbers = view.get_many(&ROOM_NO, &rooms).await?.into_iter().flatten();
    let keys: Vec<_> = numbers.map(|no| (user.to_owned(), no)).collect();
    let members = view.get_many(&MEMBER, &keys).await?;
    Ok(members.into_iter().flatten().any(|member| member.state == MembershipState::Join))
}

/// The part of `m.room.join_rules` that matters here.
#[derive(Default, Deserialize)]
pub(super) struct JoinRules {
    #[serde(default)]
    pub(super) join_rule: String,
    /// Whatever stands there: where it is no list, it allows nobody, and the rule beside it holds.
    #[serde(default)]
    allow: Value,
}

impl JoinRules {
    /// The rooms whose members may join; conditions of other kinds are skipped, as the specification says.
    pub(super) fn rooms(&self) -> impl Iterator<Item = OwnedRoomId> {
        self.allow.as_array().into_iter().flatten().filter_map(|condition| {
            let field = |name| condition.get(name).and_then(Value::as_str);
            (field("type") == Some("m.room_membership")).then(|| field("room_id")?.try_into().ok()).flatten()
        })
    }
}

impl Turn<'_> {
    /// A joined member of this server whose level is enough to invite: one whom the levels name, or if they let
    /// everyone invite, any.
    async fn voucher(&mut self) -> Result<Option<OwnedUserId>, Refusal> {
        let Some(levels) = self.working.power_levels(self.tx).await? else { return Ok(None) };
        for user in levels.named_inviters() {
            if self.may_vouch(user).await? {
                return Ok(Some(user.clone()));
            }
        }
        if !levels.anyone_can_invite() {
            return Ok(None);
        }
        let mut after: Option<OwnedUserId> = None;
        for _ in 0..VOUCHERS / PAGE {
            let page = self.working.member_names(self.tx, after.as_deref(), PAGE).await?;
            for user in &page {
                // The levels may name some lower than the rest.
                if levels.can_invite(user) && self.may_vouch(user).await? {
                    return Ok(Some(user.clone()));
                }
            }
            after = page.into_iter().last();
            if after.is_none() {
                break;
            }
        }
        Ok(None)
    }

    async fn may_vouch(&mut self, user: &OwnedUserId) -> Result<bool, Refusal> {
        let local = user.server_name() == self.base.name;
        Ok(local && self.working.membership(self.tx, user).await? == Some(MembershipState::Join))
    }
}
