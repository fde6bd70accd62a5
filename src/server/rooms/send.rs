//! Saying something in a room: messages, state, redactions.
//!
//! Membership events are not sent here, whatever the request: [`super::membership`] knows what they take.

use depesche_rules::{
    build::EventDraft,
    relations::{self, Relation},
};
use futures::future::BoxFuture;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedEventId, OwnedUserId, ServerName,
    events::{
        StateEventType, TimelineEventType,
        room::{member::MembershipState, server_acl::RoomServerAclEventContent},
    },
};

use super::annotations;
use super::lane::{Intent, Refusal, Transaction, Turn, Verdict};
use crate::{keyspace::ACCOUNT, tx::Fault};

/// An event that is not state.
pub struct Message {
    /// Who says it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: TimelineEventType,
    /// Its content.
    pub content: CanonicalJsonObject,
    /// The transaction id of the request.
    pub transaction: Option<Transaction>,
}

impl Intent for Message {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            turn.must_be_joined(&self.sender).await?;
            if self.kind == TimelineEventType::RoomRedaction {
                return redaction(turn, &self.sender, self.content.clone()).await;
            }
            if annotations::is_said(turn.working, turn.tx, &self.sender, &self.kind.to_string(), &self.content).await? {
                return Err(Refusal::SaidAlready("you have said this of that event already".into()));
            }
            turn.must_have_a_root(&self.content).await?;
            let (sender, kind, content) = (self.sender.clone(), self.kind.clone(), self.content.clone());
            Ok(Verdict::Append(vec![EventDraft::message(sender, kind, content)]))
        })
    }

    fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }
}

/// A redaction by its own endpoint.
pub struct Redaction {
    /// Who takes the content away.
    pub sender: OwnedUserId,
    /// From which event.
    pub target: OwnedEventId,
    /// Why.
    pub reason: Option<String>,
    /// The transaction id of the request.
    pub transaction: Option<Transaction>,
}

impl Intent for Redaction {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            turn.must_be_joined(&self.sender).await?;
            let mut content = CanonicalJsonObject::new();
            content.insert("redacts".to_owned(), self.target.to_string().into());
            if let Some(reason) = &self.reason {
                content.insert("reason".to_owned(), reason.clone().into());
            }
            redaction(turn, &self.sender, content).await
        })
    }

    fn transaction(&self) -> Option<&Transaction> {
        self.transaction.as_ref()
    }
}

/// A state event other than a membership.
pub struct State {
    /// Who sets it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: StateEventType,
    /// Its state key.
    pub state_key: String,
    /// Its content.
    pub content: CanonicalJsonObject,
}

impl Intent for State {
    fn decide<'a>(&'a self, turn: &'a mut Turn<'_>) -> BoxFuture<'a, Result<Verdict, Refusal>> {
        Box::pin(async move {
            turn.must_be_joined(&self.sender).await?;
            if self.kind.to_string() == "m.room.redaction" {
                // It would take effect like any other, and past the check of who may redact what.
                return Err(Refusal::BadContent("a redaction is not state".into()));
            }
            if self.kind == StateEventType::RoomServerAcl && self.state_key.is_empty() {
                // Who may not set it is told so, whatever the list says.
                turn.must_reach(&self.sender, &TimelineEventType::RoomServerAcl).await?;
                must_allow(&turn.base.name, &self.content)?;
            }
            let current = turn.working.state(turn.tx, &self.kind.to_string(), &self.state_key).await?;
            // Setting what is set already makes no event, as long as the same user says it.
            if let Some(event) = current
                && *event.sender() == self.sender
                && event.content_as::<CanonicalJsonObject>().is_ok_and(|content| content == self.content)
            {
                return Ok(Verdict::Already(event.event_id().clone()));
            }
            let (kind, key, content) = (self.kind.clone(), self.state_key.clone(), self.content.clone());
            Ok(Verdict::Append(vec![EventDraft::state(self.sender.clone(), kind, key, content)]))
        })
    }
}

/// Refuses a list of servers that keeps this one out of its own room: nobody here could take it back.
pub fn must_allow(own: &ServerName, content: &CanonicalJsonObject) -> Result<(), Refusal> {
    let list = serde_json::to_value(content).and_then(serde_json::from_value::<RoomServerAclEventContent>);
    // What cannot be read keeps nobody out.
    if list.is_ok_and(|list| !list.is_allowed(own)) {
        return Err(Refusal::BadContent("this list would keep this server out of the room".into()));
    }
    Ok(())
}

/// One's own events may be redacted by anyone who may send the redaction; those of others take the redact level, or, if
/// they are of users of this server, one who administers it.
///
/// The auth rules let more pass: among servers, a redaction counts if its sender's server is the event's. Between users
/// of this server that would let anyone redact anything, so this server asks for the level.
async fn redaction(
    turn: &mut Turn<'_>,
    sender: &OwnedUserId,
    mut content: CanonicalJsonObject,
) -> Result<Verdict, Refusal> {
    let Some(CanonicalJsonValue::String(target)) = content.remove("redacts") else {
        return Err(Refusal::BadContent("a redaction names the event it redacts in `redacts`".into()));
    };
    let target = OwnedEventId::try_from(target)
        .map_err(|_| Refusal::InvalidParam("the event to redact has no valid event id".into()))?;
    let Some(no) = turn.working.event_no(turn.tx, &target).await? else {
        return Err(Refusal::NotFound("the event to redact is not in this room".into()));
    };
    let event = turn.working.pdu(turn.tx, no).await?;
    // The one says whose room it is and what it replaces, the other keeps servers out: neither can be taken back.
    if event.is_state("m.room.create", "") || event.is_state("m.room.server_acl", "") {
        return Err(Refusal::Forbidden("the creation of a room and its server list cannot be redacted".into()));
    }
    if event.sender() != sender {
        let levels = turn.working.power_levels(turn.tx).await?;
        let by_level = levels.is_some_and(|levels| levels.can_redact_others(sender));
        let is_ours = event.sender().server_name() == turn.base.name;
        if !(by_level || is_ours && turn.is_admin(sender).await?) {
            return Err(Refusal::Forbidden("redacting the events of others takes a higher power level".into()));
        }
    }
    Ok(Verdict::Append(vec![EventDraft::redaction(sender.clone(), target, content)]))
}

impl Turn<'_> {
    /// Refuses what would begin a thread at an event that is itself about another.
    async fn must_have_a_root(&mut self, content: &CanonicalJsonObject) -> Result<(), Refusal> {
        let Some(relation) = Relation::of_content(content).filter(|relation| relation.is(relations::THREAD)) else {
            return Ok(());
        };
        // What is not in this room is no relation, and breaks no rule.
        let Some(root) = self.working.event_no(self.tx, &relation.parent).await? else { return Ok(()) };
        if relations::can_be_thread_root(&self.working.pdu(self.tx, root).await?) {
            return Ok(());
        }
        Err(Refusal::NoThreadRoot("a thread cannot begin at an event that is itself about another".into()))
    }

    /// Whether a user administers this server.
    async fn is_admin(&self, user: &OwnedUserId) -> Result<bool, Fault> {
        // Read past the batch: no order is promised between what an administrator does and the end of being one.
        let account = self.tx.view().get(&ACCOUNT, &(user.clone(),)).await?;
        Ok(account.is_some_and(|account| account.admin))
    }

    /// Refuses whoever's power level is not enough to set state of this type.
    pub async fn must_reach(&mut self, user: &OwnedUserId, kind: &TimelineEventType) -> Result<(), Refusal> {
        let levels = self.working.power_levels(self.tx).await?;
        if levels.is_some_and(|levels| levels.can_send(user, kind, true)) {
            return Ok(());
        }
        Err(Refusal::Forbidden(format!("setting {kind} takes a higher power level")))
    }

    /// Refuses whoever is not joined.
    pub async fn must_be_joined(&mut self, user: &OwnedUserId) -> Result<(), Refusal> {
        match self.working.membership(self.tx, user).await? {
            Some(MembershipState::Join) => Ok(()),
            _ => Err(Refusal::Forbidden("you are not joined to this room".into())),
        }
    }
}
