//! Filters of clients, evaluated.
//!
//! The filter itself is ruma's type as the client sent it, after [`check`] bounded it.
//!
//! Spec: [filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

use ruma::{
    RoomId, UserId,
    api::client::filter::{EventFormat, Filter, FilterDefinition, RoomEventFilter, RoomFilter, UrlFilter},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};

use crate::{bounds::MAX_FILTER_LIST, glob, pdu::Pdu};

/// A filter that is refused (`M_BAD_JSON`), and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(&'static str);

/// Refuses a filter whose lists are longer than [`MAX_FILTER_LIST`], or that wants events in a format that is none.
pub fn check(filter: &FilterDefinition) -> Result<(), BadFilter> {
    let FilterDefinition { event_fields, event_format, presence, account_data, room } = filter;
    if !matches!(event_format, EventFormat::Client | EventFormat::Federation) {
        return Err(BadFilter("`event_format` is \"client\" or \"federation\""));
    }
    let RoomFilter { include_leave: _, account_data: room_data, timeline, ephemeral, state, not_rooms, rooms } = room;
    let longest = [presence, account_data].into_iter().map(longest_list).max().unwrap_or(0);
    let longest_of_rooms =
        [room_data, timeline, ephemeral, state].into_iter().map(longest_room_list).max().unwrap_or(0);
    let own = [event_fields.as_ref().map_or(0, Vec::len), not_rooms.len(), rooms.as_ref().map_or(0, Vec::len)];
    let all = own.into_iter().chain([longest, longest_of_rooms]).max().unwrap_or(0);
    if all > MAX_FILTER_LIST { Err(BadFilter("a list in the filter is too long")) } else { Ok(()) }
}

/// Refuses a filter of events alone whose lists are longer than [`MAX_FILTER_LIST`].
pub fn check_events(filter: &RoomEventFilter) -> Result<(), BadFilter> {
    if longest_room_list(filter) > MAX_FILTER_LIST {
        Err(BadFilter("a list in the filter is too long"))
    } else {
        Ok(())
    }
}

fn longest_list(filter: &Filter) -> usize {
    let Filter { not_types, limit: _, senders, types, not_senders } = filter;
    let lists = [not_types.len(), senders.as_ref().map_or(0, Vec::len), types.as_ref().map_or(0, Vec::len)];
    lists.into_iter().chain([not_senders.len()]).max().unwrap_or(0)
}

fn longest_room_list(filter: &RoomEventFilter) -> usize {
    let lists = [filter.not_types.len(), filter.not_rooms.len(), filter.not_senders.len()];
    let optional = [filter.senders.as_ref().map_or(0, Vec::len), filter.types.as_ref().map_or(0, Vec::len)];
    let rooms = filter.rooms.as_ref().map_or(0, Vec::len);
    lists.into_iter().chain(optional).chain([rooms]).max().unwrap_or(0)
}

/// How many events to return: what the client's filter says (none is a possible answer), at most `max`.
pub fn limit(filter: &RoomEventFilter, default: u32, max: u32) -> u32 {
    filter.limit.map_or(default, |limit| u32::try_from(u64::from(limit)).unwrap_or(u32::MAX)).min(max)
}

/// Whether a room passes the filter of the whole `room` section.
pub fn room(filter: &RoomFilter, room: &RoomId) -> bool {
    listed(filter.rooms.as_deref(), &filter.not_rooms, |id| id == room)
}

/// Whether any event of a room can pass a section's filter; if not, the section is not computed.
pub fn section(filter: &RoomEventFilter, room: &RoomId) -> bool {
    listed(filter.rooms.as_deref(), &filter.not_rooms, |id| id == room)
        && filter.types.as_ref().is_none_or(|types| !types.is_empty())
        && filter.senders.as_ref().is_none_or(|senders| !senders.is_empty())
}

/// Whether an event of a room passes a section's filter. `limit` and lazy loading are the caller's.
pub fn event(filter: &RoomEventFilter, event: &Pdu) -> bool {
    parts(filter, event.room_id(), &event.kind().to_string(), Some(event.sender()), || has_url(event.content()))
}

/// As [`event`], for an event whose content was redacted: it has no `url` any more.
pub fn redacted_event(filter: &RoomEventFilter, event: &Pdu) -> bool {
    parts(filter, event.room_id(), &event.kind().to_string(), Some(event.sender()), || false)
}

/// As [`event`], for what is not an event of the graph: account data and ephemeral events, which have no sender.
pub fn parts(
    filter: &RoomEventFilter,
    room: &RoomId,
    kind: &str,
    sender: Option<&UserId>,
    has_url: impl FnOnce() -> bool,
) -> bool {
    listed(filter.types.as_deref(), &filter.not_types, |pattern| glob::matches(pattern, kind))
        && of_sender(filter.senders.as_deref(), &filter.not_senders, sender)
        && listed(filter.rooms.as_deref(), &filter.not_rooms, |id| id == room)
        && filter.url_filter.is_none_or(|wanted| (wanted == UrlFilter::EventsWithUrl) == has_url())
}

/// Whether something outside of rooms (account data, presence) passes.
pub fn global(filter: &Filter, kind: &str, sender: Option<&UserId>) -> bool {
    listed(filter.types.as_deref(), &filter.not_types, |pattern| glob::matches(pattern, kind))
        && of_sender(filter.senders.as_deref(), &filter.not_senders, sender)
}

/// On the list of what is wanted, if there is one, and not on the list of what is not.
fn listed<T>(wanted: Option<&[T]>, unwanted: &[T], matches: impl Fn(&T) -> bool) -> bool {
    !unwanted.iter().any(&matches) && wanted.is_none_or(|wanted| wanted.iter().any(&matches))
}

fn of_sender<T: AsRef<UserId>>(wanted: Option<&[T]>, unwanted: &[T], sender: Option<&UserId>) -> bool {
    listed(wanted, unwanted, |id| Some(id.as_ref()) == sender)
}

/// Whether a content has a `url`.
fn has_url(content: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Content {
        url: Option<IgnoredAny>,
    }

    serde_json::from_str::<Content>(content.get()).is_ok_and(|content| content.url.is_some())
}

/// The `event_fields` of a filter: which parts of an event the client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFields(Vec<Vec<String>>);

impl EventFields {
    /// Reads dotted paths; `\.` and `\\` stand for a dot and a backslash in a name. What another path has in it is not
    /// kept: each part of an event is copied once, however often it is asked for.
    pub fn new<S: AsRef<str>>(fields: &[S]) -> Self {
        let mut paths: Vec<_> = fields.iter().map(|field| path(field.as_ref())).collect();
        // What begins with a path stands right behind it.
        paths.sort_unstable();
        paths.dedup_by(|path, before| path.starts_with(before));
        Self(paths)
    }

    /// The event with only these parts. The parts of an event that no client can do without (`event_id`, `type`,
    /// `sender`, `origin_server_ts`, `state_key`, `room_id`) are added only if asked for, as the specification has it.
    pub fn select(&self, event: &RawValue) -> Box<RawValue> {
        let Ok(Value::Object(mut event)) = serde_json::from_str(event.get()) else { return event.to_owned() };
        let mut selected = Map::new();
        for path in &self.0 {
            copy(path, &mut event, &mut selected);
        }
        to_raw_value(&selected).expect("JSON values always serialise")
    }
}

fn path(field: &str) -> Vec<String> {
    let (mut names, mut name, mut escaped) = (Vec::new(), String::new(), false);
    for c in field.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            '.' if !escaped => names.push(std::mem::take(&mut name)),
            c => {
                if escaped && c != '.' && c != '\\' {
                    name.push('\\');
                }
                name.push(c);
                escaped = false;
            }
        }
    }
    names.push(name);
    names
}

fn copy(path: &[String], from: &mut Map<String, Value>, to: &mut Map<String, Value>) {
    let Some((name, rest)) = path.split_first() else { return };
    let Some(value) = from.get_mut(name) else { return };
    match (rest, value) {
        ([], value) => {
            to.insert(name.clone(), value.clone());
        }
        (rest, Value::Object(from)) => {
            let inner = to.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(to) = inner {
                copy(rest, from, to);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
