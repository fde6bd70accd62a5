//! Events as one user on one device is shown them: what `unsigned` adds, what a redaction or an erasure takes, in the
//! format of the answer.
//!
//! Whether the user may see an event was asked before, of [`super::show`].

use depesche_rules::{
    bounds::MAX_BECAUSE_BYTES,
    client_event::{self, RoomField, Unsigned},
    pdu::Pdu,
    visibility,
};
use ruma::{OwnedEventId, TransactionId, events::room::member::MembershipState};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{bundle::Bundle, show::Viewer, view::Event};
use crate::{keyspace::EventNo, tx::Fault};

/// How an event is written for a client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// As in `/sync`: the answer says elsewhere which room it is.
    WithoutRoom,
    /// As everywhere else.
    WithRoom,
    /// As other servers see it, which a filter may ask for.
    Federation,
}

/// An event as one user sees it, ready to be written.
pub struct Shown {
    format: Format,
    pdu: Pdu,
    age: i64,
    /// The user's, at the event.
    membership: MembershipState,
    replaced: Option<Replaced>,
    because: Option<Because>,
    transaction_id: Option<String>,
    relations: Option<Box<RawValue>>,
}

/// The redaction of a shown event.
struct Because {
    id: OwnedEventId,
    /// As a client event.
    event: Box<RawValue>,
}

/// The state event that a shown one replaced.
struct Replaced {
    pdu: Pdu,
    /// Whether the user may see it.
    is_seen: bool,
}

impl Shown {
    /// As JSON of its own.
    pub fn json(&self) -> Box<RawValue> {
        to_raw_value(self).expect("strings, integers and text that is JSON already always serialise")
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let room = match self.format {
            Format::WithoutRoom => RoomField::Absent,
            Format::WithRoom => RoomField::Present,
            Format::Federation => return client_event::federation_format(&self.pdu).serialize(serializer),
        };
        let seen = self.replaced.as_ref().filter(|replaced| replaced.is_seen).map(|replaced| &replaced.pdu);
        let unsigned = Unsigned {
            age: Some(self.age),
            membership: Some(&self.membership),
            prev_content: seen.map(Pdu::content),
            prev_sender: seen.map(|pdu| &**pdu.sender()),
            redacted_because: self.because.as_ref().map(|because| &*because.event),
            redacted_by: self.because.as_ref().map(|because| &*because.id),
            replaces_state: self.replaced.as_ref().map(|replaced| &**replaced.pdu.event_id()),
            transaction_id: self.transaction_id.as_deref().map(<&TransactionId>::from),
            relations: self.relations.as_deref(),
        };
        client_event::client_format(&self.pdu, room, &unsigned).serialize(serializer)
    }
}

impl Viewer<'_> {
    /// Events with what `unsigned` says to this viewer, aggregations included.
    pub async fn shown(&mut self, events: &[Event], format: Format) -> Result<Vec<Shown>, Fault> {
        self.foresee_erased(events).await?;
        let bundles = self.bundles(events, format).await?;
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            let relations = bundles.get(&event.no).and_then(Bundle::json);
            shown.push(self.shown_with(event, format, relations).await?);
        }
        Ok(shown)
    }

    /// As [`Self::shown`], each as JSON.
    pub async fn show(&mut self, events: &[Event], format: Format) -> Result<Vec<Box<RawValue>>, Fault> {
        Ok(self.shown(events, format).await?.iter().map(Shown::json).collect())
    }

    /// As [`Self::show`], without aggregations: for who has seen all that is aggregated.
    pub async fn show_plain(&mut self, events: &[Event], format: Format) -> Result<Vec<Box<RawValue>>, Fault> {
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            shown.push(self.show_with(event, format, None).await?);
        }
        Ok(shown)
    }

    /// One event as JSON, aggregations included.
    pub async fn show_one(&mut self, event: &Event, format: Format) -> Result<Box<RawValue>, Fault> {
        let shown = self.show(std::slice::from_ref(event), format).await?.pop();
        shown.ok_or_else(|| Fault::Bug("one event to show, none shown".into()))
    }

    /// One event as JSON, with these aggregations.
    pub(super) async fn show_with(
        &mut self,
        event: &Event,
        format: Format,
        relations: Option<Box<RawValue>>,
    ) -> Result<Box<RawValue>, Fault> {
        Ok(self.shown_with(event, format, relations).await?.json())
    }

    async fn shown_with(
        &mut self,
        event: &Event,
        format: Format,
        relations: Option<Box<RawValue>>,
    ) -> Result<Shown, Fault> {
        if format == Format::Federation {
            // It has no `unsigned` of ours, and the rest goes into nothing else.
            let pdu = self.served(event).await?;
            let membership = MembershipState::Leave;
            return Ok(Shown {
                format,
                age: 0,
                pdu,
                membership,
                replaced: None,
                because: None,
                transaction_id: None,
                relations: None,
            });
        }
        let root = self.root_before(event.no).await?;
        let membership = if self.is_own(&event.pdu) {
            visibility::membership(Some(&event.pdu))
        } else {
            self.membership_at(root).await?
        };
        let replaced = match event.pdu.state_key() {
            Some(key) => self.room().state_event(root, &event.pdu.kind().to_string(), key).await?,
            None => None,
        };
        let replaced = match replaced {
            Some(event) => Some(Replaced { is_seen: self.may_see(&event).await?, pdu: self.served(&event).await? }),
            None => None,
        };
        let facts = &event.meta.facts;
        let because = match facts.redacted_by {
            Some(by) => Some(self.redaction(by, format).await?),
            None => None,
        };
        let sent_with = facts.sent_with.as_ref().filter(|sent| self.sent(&event.pdu, &sent.device));
        let pdu = self.served(event).await?;
        Ok(Shown {
            format,
            age: client_event::age(&pdu, self.now()),
            pdu,
            membership,
            replaced,
            because,
            transaction_id: sent_with.map(|sent| sent.transaction.clone()),
            relations,
        })
    }

    async fn redaction(&mut self, by: EventNo, format: Format) -> Result<Because, Fault> {
        let redaction = self.room().event(by).await?;
        let is_known = self.may_know(&redaction).await?;
        // A redaction can be redacted as well: of its reason, and before version 11 of what it names.
        let redaction = self.served(&redaction).await?;
        // Nor is the reason for who may not know the redaction, which takes effect for everyone.
        let redaction = if !is_known || redaction.json().len() > MAX_BECAUSE_BYTES {
            self.room().with_empty_content(&redaction)?
        } else {
            redaction
        };
        let field = if format == Format::WithoutRoom { RoomField::Absent } else { RoomField::Present };
        let unsigned = Unsigned { age: Some(client_event::age(&redaction, self.now())), ..Unsigned::default() };
        let event = client_event::client_json(&redaction, field, &unsigned);
        Ok(Because { id: redaction.event_id().clone(), event })
    }
}
