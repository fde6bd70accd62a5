//! Events as the filter wants them written: client or federation format, and with which fields.

use depesche_rules::{
    client_event::{self, RoomField, Unsigned},
    filter::EventFields,
};
use ruma::{
    MilliSecondsSinceUnixEpoch,
    api::client::filter::{EventFormat, FilterDefinition},
    serde::Raw,
};
use serde_json::value::RawValue;

use super::timeline::Timeline;
use crate::{
    rooms::{show::Viewer, shown::Format, view::Event},
    tx::Fault,
};

/// Up to how many changed state events of a room say what they replace.
const EXPLAINED: usize = 100;
/// Events of which the wanted fields are picked before others have a turn: each is taken apart for that.
const AT_ONCE: usize = 32;

/// How an answer writes its events.
pub struct Shape {
    format: Format,
    fields: Option<EventFields>,
    now: MilliSecondsSinceUnixEpoch,
}

impl Shape {
    /// As the filter says.
    pub fn new(filter: &FilterDefinition, now: MilliSecondsSinceUnixEpoch) -> Self {
        let format =
            if filter.event_format == EventFormat::Federation { Format::Federation } else { Format::WithoutRoom };
        // An empty list asks for nothing; clients that send one mean none.
        let fields = filter.event_fields.as_deref().filter(|fields| !fields.is_empty());
        Self { format, fields: fields.map(EventFields::new), now }
    }

    /// Events of a timeline, with all that `unsigned` has to say: `aggregated` for a limited one, as the specification has
    /// it. Where the timeline leaves nothing out, the client has what would be aggregated, or is sent it here.
    pub async fn timeline<T>(
        &self,
        viewer: &mut Viewer<'_>,
        timeline: &Timeline,
        aggregated: bool,
    ) -> Result<Vec<Raw<T>>, Fault> {
        let shown = if aggregated {
            viewer.show(&timeline.events, self.format).await?
        } else {
            viewer.show_plain(&timeline.events, self.format).await?
        };
        Ok(self.select_all(shown).await)
    }

    /// Events of a state. Those that changed say what they replace; where they are many, or the `whole` state, they say
    /// how it is and not how it came about: the costlier parts of `unsigned` are left out.
    pub async fn state<T>(&self, viewer: &mut Viewer<'_>, events: &[Event], whole: bool) -> Result<Vec<Raw<T>>, Fault> {
        if !whole && events.len() <= EXPLAINED {
            viewer.foresee(&events.iter().map(|event| event.no).collect::<Vec<_>>()).await?;
            let shown = viewer.show_plain(events, self.format).await?;
            return Ok(self.select_all(shown).await);
        }
        let mut shown = Vec::with_capacity(events.len());
        for event in events {
            let plain = self.format == Format::WithoutRoom && event.meta.facts.redacted_by.is_none();
            let json = if plain {
                let unsigned = Unsigned { age: Some(client_event::age(&event.pdu, self.now)), ..Unsigned::default() };
                client_event::client_json(&event.pdu, RoomField::Absent, &unsigned)
            } else {
                viewer.show_one(event, self.format).await?
            };
            shown.push(json);
        }
        Ok(self.select_all(shown).await)
    }

    /// The wanted fields of each.
    async fn select_all<T>(&self, events: Vec<Box<RawValue>>) -> Vec<Raw<T>> {
        let Some(fields) = &self.fields else { return events.into_iter().map(Raw::from_json).collect() };
        let mut selected = Vec::with_capacity(events.len());
        for (no, event) in events.into_iter().enumerate() {
            if no % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            selected.push(Raw::from_json(fields.select(&event)));
        }
        selected
    }
}
