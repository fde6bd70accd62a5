//! Annotations (reactions): one user says the same of one event once.
//!
//! Spec: [annotations](https://spec.matrix.org/v1.19/client-server-api/#event-annotations-and-reactions): a second
//! annotation of the same type, key and sender on the same event is refused.

use depesche_rules::{bounds::MAX_EVENT_ID_BYTES, pdu::Pdu};
use ruma::{CanonicalJsonObject, CanonicalJsonValue, OwnedUserId};
use sha2::{Digest, Sha256};

use super::working::Working;
use crate::{
    keyspace::{ANNOTATION, EventNo, META, RoomNo},
    tx::{Fault, Tx},
};

/// The key of an annotation's row: the event it is about, and a hash of who says what.
type Key = (RoomNo, String, [u8; 32]);

/// The row that an event would take, if it is an annotation.
fn key(room: RoomNo, sender: &OwnedUserId, kind: &str, content: &CanonicalJsonObject) -> Option<Key> {
    let Some(CanonicalJsonValue::Object(relation)) = content.get("m.relates_to") else { return None };
    let field = |name: &str| match relation.get(name) {
        Some(CanonicalJsonValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let target = field("event_id").filter(|_| field("rel_type") == Some("m.annotation"))?;
    if target.len() > MAX_EVENT_ID_BYTES {
        // No event has such a name, and no row has such a key.
        return None;
    }
    let mut hash = Sha256::new();
    for part in [sender.as_str(), kind, field("key")?] {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    Some((room, target.to_owned(), hash.finalize().into()))
}

/// Whether the sender has said the same of the same event, and not taken it back.
pub async fn is_said(
    working: &Working,
    tx: &Tx,
    sender: &OwnedUserId,
    kind: &str,
    content: &CanonicalJsonObject,
) -> Result<bool, Fault> {
    let Some(key) = key(working.no, sender, kind, content) else { return Ok(false) };
    // Read, and so required: the lane is the room's only writer, and what it appends itself it sees in the batch.
    let Some(no) = tx.read(&ANNOTATION, &key).await? else { return Ok(false) };
    let meta = tx.read(&META, &(working.no, no)).await?;
    Ok(meta.is_some_and(|meta| meta.facts.redacted_by.is_none()))
}

/// Remembers an annotation that is appended.
pub fn remember(working: &Working, tx: &Tx, no: EventNo, pdu: &Pdu) {
    // Most events relate to nothing: they are not parsed again for that.
    if pdu.state_key().is_some() || !pdu.content().get().contains("m.annotation") {
        return;
    }
    let content: CanonicalJsonObject = pdu.content_as().unwrap_or_default();
    if let Some(key) = key(working.no, pdu.sender(), &pdu.kind().to_string(), &content) {
        tx.put(&ANNOTATION, &key, &no);
    }
}
