//! What a room says of itself to those who are not in it: name, topic, how to get in. And who is told.
//!
//! Spec: [room summaries](https://spec.matrix.org/v1.19/client-server-api/#room-summaries).

use depesche_rules::{pdu::Pdu, visibility};
use ruma::{
    EventEncryptionAlgorithm, MxcUri, OwnedMxcUri, OwnedRoomAliasId, OwnedRoomId, RoomId, UInt, UserId,
    events::room::{history_visibility::HistoryVisibility, member::MembershipState},
    room::{JoinRule, JoinRuleSummary, RestrictedSummary, RoomSummary, RoomType},
    room_version_rules::AuthorizationRules,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Rooms,
    membership::{JoinRules, in_one_of},
    state::Tree,
    view::RoomView,
};
use crate::{
    keyspace::{EventNo, KEY_NO},
    records::rooms::StateKey,
    tx::{Fault, View},
};

/// The type of the state that says who may join.
pub const JOIN_RULES: &str = "m.room.join_rules";
/// The type of the state that says who may read.
pub const HISTORY_VISIBILITY: &str = "m.room.history_visibility";
/// The state that a summary is made of, by its place in [`Card`].
const KINDS: [&str; 9] = [
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    JOIN_RULES,
    HISTORY_VISIBILITY,
    "m.room.guest_access",
    "m.room.encryption",
];

/// Why there is no summary.
#[derive(Debug, thiserror::Error)]
pub enum SummaryError {
    /// There is no such room, as far as the user may know.
    #[error("there is no such room")]
    NotFound,
    /// Nothing the caller did.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Whether a state says who may join or read.
pub fn is_of_access(key: &StateKey) -> bool {
    key.state_key.is_empty() && [JOIN_RULES, HISTORY_VISIBILITY].contains(&key.kind.as_str())
}

/// Whether everyone may join a room, or read it.
pub fn is_open(join_rules: Option<&Pdu>, history_visibility: Option<&Pdu>) -> bool {
    let rules: JoinRules = join_rules.and_then(|rules| rules.content_as().ok()).unwrap_or_default();
    rules.join_rule == "public"
        || visibility::history_visibility(history_visibility) == HistoryVisibility::WorldReadable
}

impl Rooms {
    /// What a room says of itself to somebody, or to anybody, with what they have to do with it.
    pub async fn summary(
        &self,
        room: &RoomId,
        viewer: Option<&UserId>,
    ) -> Result<(RoomSummary, Option<MembershipState>), SummaryError> {
        let room = self.find(room).await?.ok_or(SummaryError::NotFound)?;
        room.summary_for(viewer).await?.ok_or(SummaryError::NotFound)
    }
}

/// Whether somebody who is not in a room is told of it: they may read it, or join it, or ask to be let in.
async fn is_told(view: &View, summary: &RoomSummary, viewer: Option<&UserId>) -> Result<bool, Fault> {
    let allowed = match &summary.join_rule {
        JoinRuleSummary::Public | JoinRuleSummary::Knock | JoinRuleSummary::KnockRestricted(_) => return Ok(true),
        JoinRuleSummary::Restricted(restricted) => restricted.allowed_room_ids.as_slice(),
        _ => &[],
    };
    match viewer {
        _ if summary.world_readable => Ok(true),
        Some(viewer) => in_one_of(view, viewer, allowed.iter().cloned()).await,
        None => Ok(false),
    }
}

/// The contents of the states that a summary is made of.
struct Card([Option<Map<String, Value>>; KINDS.len()]);

impl Card {
    fn field(&self, kind: &str, field: &str) -> Option<&Value> {
        let at = KINDS.iter().position(|known| *known == kind)?;
        self.0[at].as_ref()?.get(field)
    }

    fn text(&self, kind: &str, field: &str) -> Option<String> {
        let text = self.field(kind, field)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The plain text of the topic: of its blocks, if they have any, else of the old field.
    fn topic(&self) -> Option<String> {
        let Some(body) = self.field("m.room.topic", "m.topic").and_then(plain_text) else {
            return self.text("m.room.topic", "topic");
        };
        (!body.is_empty()).then(|| body.to_owned())
    }

    /// How to get in, as the auth rules of the room's version have it.
    fn join_rule(&self, rules: &AuthorizationRules) -> JoinRuleSummary {
        let at = KINDS.iter().position(|kind| *kind == JOIN_RULES);
        let content = at.and_then(|at| self.0[at].clone()).unwrap_or_default();
        // A room without a rule that its version knows lets in who is invited.
        match JoinRule::deserialize(Value::Object(content)) {
            Ok(JoinRule::Public) => JoinRuleSummary::Public,
            Ok(JoinRule::Knock) if rules.knocking => JoinRuleSummary::Knock,
            Ok(JoinRule::Restricted(restricted)) if rules.restricted_join_rule => {
                JoinRuleSummary::Restricted(RestrictedSummary::from(restricted))
            }
            Ok(JoinRule::KnockRestricted(restricted)) if rules.knock_restricted_join_rule => {
                JoinRuleSummary::KnockRestricted(RestrictedSummary::from(restricted))
            }
            Ok(JoinRule::Private) => JoinRuleSummary::Private,
            _ => JoinRuleSummary::Invite,
        }
    }
}

/// The plain text among the representations of a text.
fn plain_text(blocks: &Value) -> Option<&str> {
    let is_plain = |block: &&Value| block.get("mimetype").is_none_or(|kind| kind == "text/plain");
    blocks.get("m.text")?.as_array()?.iter().find(is_plain)?.get("body")?.as_str()
}

impl RoomView {
    /// What the room says of itself to somebody, or to anybody, with what they have to do with it. `None` if it says
    /// nothing to them: they are not in it, and may neither join nor read it.
    pub async fn summary_for(
        &self,
        viewer: Option<&UserId>,
    ) -> Result<Option<(RoomSummary, Option<MembershipState>)>, Fault> {
        let summary = self.summary().await?;
        let membership = match viewer {
            Some(viewer) => Some(self.membership(viewer).await?.map_or(MembershipState::Leave, |member| member.state)),
            None => None,
        };
        let is_in =
            matches!(membership, Some(MembershipState::Join | MembershipState::Invite | MembershipState::Knock));
        let is_told = is_in || is_told(&self.view, &summary, viewer).await?;
        Ok(is_told.then_some((summary, membership)))
    }

    /// What the room says of itself.
    pub async fn summary(&self) -> Result<RoomSummary, Fault> {
        let card = self.card().await?;
        let is = |kind: &str, field: &str, value: &str| card.field(kind, field).is_some_and(|found| found == value);
        let mut summary = RoomSummary::new(
            self.room_id().to_owned(),
            card.join_rule(&self.rules.authorization),
            is("m.room.guest_access", "guest_access", "can_join"),
            UInt::from(self.head.joined),
            is(HISTORY_VISIBILITY, "history_visibility", "world_readable"),
        );
        summary.canonical_alias =
            card.text("m.room.canonical_alias", "alias").and_then(|alias| OwnedRoomAliasId::try_from(alias).ok());
        summary.name = card.text("m.room.name", "name");
        summary.topic = card.topic();
        let avatar = card.text("m.room.avatar", "url").filter(|url| <&MxcUri>::from(url.as_str()).is_valid());
        summary.avatar_url = avatar.map(OwnedMxcUri::from);
        summary.room_type = card.text("m.room.create", "type").map(RoomType::from);
        summary.encryption = card.text("m.room.encryption", "algorithm").map(EventEncryptionAlgorithm::from);
        summary.room_version = Some(self.room.version.clone());
        Ok(summary)
    }

    async fn card(&self) -> Result<Card, Fault> {
        let (kinds, events): (Vec<_>, Vec<_>) = self.card_events().await?.into_iter().unzip();
        let mut card = Card(Default::default());
        for (kind, event) in kinds.into_iter().zip(self.events(&events).await?) {
            card.0[kind] = self.readable(event)?.content_as().ok();
        }
        Ok(card)
    }

    /// The events that a summary is made of.
    pub(crate) async fn summary_events(&self) -> Result<Vec<EventNo>, Fault> {
        Ok(self.card_events().await?.into_iter().map(|(_, event)| event).collect())
    }

    /// The events that set the states of a card, with their places there. A read for the numbers of the states, and those
    /// of the tree.
    async fn card_events(&self) -> Result<Vec<(usize, EventNo)>, Fault> {
        let keys = KINDS.map(|kind| (self.no, kind.to_owned(), String::new()));
        let numbers = self.view.get_many(&KEY_NO, &keys).await?;
        let (kinds, known): (Vec<usize>, Vec<_>) =
            numbers.into_iter().enumerate().filter_map(|(kind, no)| Some((kind, no?))).unzip();
        let found = Tree::stored(&self.view, self.no).get_many(self.root(), &known).await?;
        Ok(kinds.into_iter().zip(found).filter_map(|(kind, event)| Some((kind, event?))).collect())
    }

    /// The room that this one replaces.
    pub async fn predecessor(&self) -> Result<Option<OwnedRoomId>, Fault> {
        let Some(create) = self.state_event(self.root(), "m.room.create", "").await? else { return Ok(None) };
        let content: Map<String, Value> = create.pdu.content_as().unwrap_or_default();
        let room = content.get("predecessor").and_then(|predecessor| predecessor.get("room_id"));
        Ok(room.and_then(Value::as_str).and_then(|room| room.try_into().ok()))
    }
}
