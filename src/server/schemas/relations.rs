//! To schema 2: the index of relations, and what redacted events had counted, for events from before there was either.
//!
//! Some events of a database may be in the index and others not, where a later program went on with it, and counts that
//! began in the middle are wrong. So the index is made anew from the events, which say all that it holds.

use depesche_store::Bytes;

use crate::{
    keyspace::{EVENT, EventNo, IDENTITY, META, RELATED, RELATION, REPLACEMENT, RoomNo, THREAD},
    migrations::{Migration, ROWS, Step},
    rooms::append,
    tx::Fault,
};

pub const MIGRATION: Migration = Migration {
    to: 2,
    what: "the index of relations is made anew, and what was redacted counts as unread no more",
    ends: || vec![RELATION.under(&()), REPLACEMENT.under(&()), RELATED.under(&()), THREAD.under(&())],
    rows: || vec![EVENT.under(&())],
    at_a_time: ROWS,
    change: |step| Box::pin(change(step)),
};

async fn change(step: Step<'_>) -> Result<(), Fault> {
    let Some(identity) = step.tx.view().get(&IDENTITY, &(0,)).await? else { return Ok(()) };
    for (room, events) in rooms(step.rows)? {
        let keys: Vec<_> = events.iter().map(|(no, _)| (room, *no)).collect();
        let metas = step.tx.view().get_many(&META, &keys).await?;
        let is_redacted = metas.into_iter().map(|meta| meta.is_some_and(|meta| meta.facts.redacted_by.is_some()));
        let concerned = events.into_iter().zip(is_redacted);
        let concerned = concerned.filter(|((_, relates), is_redacted)| *relates || *is_redacted);
        let concerned: Vec<EventNo> = concerned.map(|((no, _), _)| no).collect();
        if !concerned.is_empty() {
            append::catch_up(step.tx, &identity.name, room, &concerned).await?;
        }
    }
    Ok(())
}

/// The events of each room, each with whether its text speaks of a relation.
type Rooms = Vec<(RoomNo, Vec<(EventNo, bool)>)>;

fn rooms(rows: &[(Bytes, Bytes)]) -> Result<Rooms, Fault> {
    let mut rooms = Rooms::new();
    for (key, text) in rows {
        let corrupt = || Fault::Corrupt { table: EVENT.name, key: key.clone() };
        let (room, no) = EVENT.parse(key).ok_or_else(corrupt)?;
        let relates = std::str::from_utf8(text).map_err(|_| corrupt())?.contains("m.relates_to");
        match rooms.last_mut() {
            Some((last, events)) if *last == room => events.push((no, relates)),
            _ => rooms.push((room, vec![(no, relates)])),
        }
    }
    Ok(rooms)
}
