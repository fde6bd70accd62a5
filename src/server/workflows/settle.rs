//! What follows a join; above all of the room that replaces one: what a user had set for the old one holds for the new
//! one.
//!
//! Tags, push rules and the mark as a direct chat are copied, unless the new room has tags or rules of its own already.
//! Repeating it does no harm.
//!
//! Spec: [room upgrades](https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-18): "the server should
//! automatically transfer/replicate some of the user's personalized settings".

use ruma::{RoomId, UserId};
use serde_json::{Map, Value, value::to_raw_value};

use crate::{
    Fault, Server,
    account_data::{AccountDataError, GLOBAL, PUSH_RULES, TAG},
    keyspace::{ACCOUNT_DATA, RoomNo},
    rooms::view::RoomView,
    tx::Tx,
};

/// The type of the lists of direct chats.
const DIRECT: &str = "m.direct";

impl Server {
    /// What follows the join of a user of this server, by whichever request, the creation of a room among them: the members
    /// learn how they are, and they find the room as they had set the one that it replaces.
    ///
    /// The join stands whatever becomes of this, so a fault is logged and nobody is told that there was no join.
    pub async fn has_joined(&self, user: &UserId, room: &RoomId) {
        self.presence.moved(user);
        if let Err(fault) = self.settle_in(user, room).await {
            tracing::error!(%fault, %room, "settings of the room that this one replaces were not copied");
        }
    }

    /// Copies what a user had set for the room that this one replaces.
    async fn settle_in(&self, user: &UserId, room: &RoomId) -> Result<(), Fault> {
        let view = self.base.view();
        let Some(new) = RoomView::find(&view, room).await? else { return Ok(()) };
        // Who upgrades a room a second time is told of the new one, and need not be in it.
        if !new.is_joined(user).await? {
            return Ok(());
        }
        let Some(old) = new.predecessor().await? else { return Ok(()) };
        let Some(old) = RoomView::find(&view, &old).await? else { return Ok(()) };
        // The create event alone is only a claim; the old room has to name its successor.
        if !old.membership(user).await?.is_some_and(|member| member.was_joined) || !succeeds(&old, room).await? {
            return Ok(());
        }
        let (old, new) = (&old, &new);
        let _turn = self.account_data.turn(user).await;
        let copied = self.base.transact(|tx| async move { self.copy_settings(&tx, user, old, new).await }).await;
        match copied {
            Ok(()) => Ok(()),
            Err(AccountDataError::Fault(fault)) => Err(fault),
            Err(refused) => {
                tracing::info!(%refused, "settings of an upgraded room were not copied");
                Ok(())
            }
        }
    }

    async fn copy_settings(
        &self,
        tx: &Tx,
        user: &UserId,
        old: &RoomView,
        new: &RoomView,
    ) -> Result<(), AccountDataError> {
        let (from, to) = (old.room_id().as_str(), new.room_id().as_str());
        if read(tx, user, new.no, TAG).await?.is_none()
            && let Some(tags) = read(tx, user, old.no, TAG).await?
        {
            self.write(tx, user, new.no, TAG, &tags).await?;
        }
        if let Some(mut rules) = read(tx, user, GLOBAL, PUSH_RULES).await?
            && copy_rules(&mut rules, from, to)
        {
            self.write(tx, user, GLOBAL, PUSH_RULES, &rules).await?;
        }
        if let Some(mut direct) = read(tx, user, GLOBAL, DIRECT).await?
            && copy_direct(&mut direct, from, to)
        {
            self.write(tx, user, GLOBAL, DIRECT, &direct).await?;
        }
        Ok(())
    }

    async fn write(
        &self,
        tx: &Tx,
        user: &UserId,
        room: RoomNo,
        kind: &str,
        content: &Map<String, Value>,
    ) -> Result<(), AccountDataError> {
        let content = to_raw_value(content).map_err(|why| Fault::Bug(format!("JSON that is none: {why}")))?;
        self.account_data.put(tx, user, room, kind, &content).await
    }
}

/// Whether a room's tombstone names another as its replacement.
async fn succeeds(old: &RoomView, new: &RoomId) -> Result<bool, Fault> {
    let Some(tombstone) = old.state_event(old.root(), "m.room.tombstone", "").await? else { return Ok(false) };
    let content: Map<String, Value> = old.readable(tombstone)?.content_as().unwrap_or_default();
    Ok(content.get("replacement_room").is_some_and(|room| room == new.as_str()))
}

/// An entry of account data; what is no object counts as none.
async fn read(tx: &Tx, user: &UserId, room: RoomNo, kind: &str) -> Result<Option<Map<String, Value>>, Fault> {
    let record = tx.read(&ACCOUNT_DATA, &(user.to_owned(), room, kind.to_owned())).await?;
    Ok(record.and_then(|record| serde_json::from_str(&record.content).ok()))
}

/// Copies the rules that are about one room for another. Says whether there were any.
fn copy_rules(rules: &mut Map<String, Value>, from: &str, to: &str) -> bool {
    let Some(Value::Object(kinds)) = rules.get_mut("global") else { return false };
    let mut copied = false;
    for rules in kinds.values_mut().filter_map(Value::as_array_mut) {
        let known: Vec<Value> = rules.iter().filter_map(|rule| rule.get("rule_id")).cloned().collect();
        let mut all = Vec::with_capacity(rules.len());
        for rule in std::mem::take(rules) {
            let copy = is_about(&rule, from).then(|| replaced(rule.clone(), from, to));
            all.push(rule);
            // Behind its model: the order of rules is their rank.
            if let Some(copy) = copy.filter(|copy| copy.get("rule_id").is_some_and(|id| !known.contains(id))) {
                all.push(copy);
                copied = true;
            }
        }
        *rules = all;
    }
    copied
}

/// Whether a rule names a room as itself or in a condition.
fn is_about(rule: &Value, room: &str) -> bool {
    let named = rule.get("rule_id").is_some_and(|id| id == room);
    let conditions = rule.get("conditions").and_then(Value::as_array);
    named
        || conditions.is_some_and(|conditions| {
            conditions.iter().any(|condition| {
                condition.get("key").is_some_and(|key| key == "room_id")
                    && condition.get("pattern").is_some_and(|pattern| pattern == room)
            })
        })
}

/// A rule about another room. One that is not named after the room gets a name of its own.
fn replaced(mut rule: Value, from: &str, to: &str) -> Value {
    if let Some(Value::String(id)) = rule.get_mut("rule_id") {
        *id = if id.contains(from) { id.replace(from, to) } else { format!("{id} {to}") };
    }
    let conditions = rule.get_mut("conditions").and_then(Value::as_array_mut);
    for pattern in conditions.into_iter().flatten().filter_map(|condition| condition.get_mut("pattern")) {
        if *pattern == from {
            *pattern = to.into();
        }
    }
    rule
}

/// Lists the new room beside the old one. Says whether the old one is listed.
fn copy_direct(direct: &mut Map<String, Value>, from: &str, to: &str) -> bool {
    let mut copied = false;
    for rooms in direct.values_mut().filter_map(Value::as_array_mut) {
        if rooms.iter().any(|room| room == from) && rooms.iter().all(|room| room != to) {
            rooms.push(to.into());
            copied = true;
        }
    }
    copied
}
