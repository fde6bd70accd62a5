//! What stands in the first events of a room: pure, from what the request asks for and the rules of the version.

use depesche_rules::build::EventDraft;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};

use super::{Creation, Preset};

/// The events behind the create event, in their order; `member` is what the creator's membership event says of them.
pub fn drafts(creation: &Creation, mut member: CanonicalJsonObject, rules: &RoomVersionRules) -> Vec<EventDraft> {
    let creator = &creation.creator;
    member.insert("membership".to_owned(), "join".to_owned().into());
    let mut drafts = vec![
        EventDraft::state(creator.clone(), StateEventType::RoomMember, creator.as_str(), member),
        EventDraft::state(creator.clone(), StateEventType::RoomPowerLevels, "", power_levels(creation, rules)),
    ];
    let mut state = |kind: StateEventType, state_key: &str, content: CanonicalJsonObject| {
        drafts.push(EventDraft::state(creator.clone(), kind, state_key, content));
    };
    if let Some(alias) = &creation.alias {
        state(StateEventType::RoomCanonicalAlias, "", object([("alias", alias.to_string().into())]));
    }
    for (kind, content) in preset(creation.preset) {
        // What the client sets itself is not set twice.
        if !creation.initial_state.iter().any(|(own, key, _)| *own == kind && key.is_empty()) {
            state(kind, "", content);
        }
    }
    for (kind, state_key, content) in &creation.initial_state {
        let renamed = *kind == StateEventType::RoomName && creation.name.is_some()
            || *kind == StateEventType::RoomTopic && creation.topic.is_some();
        if !(renamed && state_key.is_empty()) {
            let mut content = content.clone();
            if *kind == StateEventType::RoomMember {
                // Only the server says who vouches for a join, and nobody does before there is a room.
                content.remove("join_authorised_via_users_server");
            }
            state(kind.clone(), state_key, content);
        }
    }
    if let Some(name) = &creation.name {
        state(StateEventType::RoomName, "", object([("name", name.clone().into())]));
    }
    if let Some(topic) = &creation.topic {
        state(StateEventType::RoomTopic, "", topic_content(topic));
    }
    for (user, content) in &creation.invite {
        let mut content = content.clone();
        content.insert("membership".to_owned(), "invite".to_owned().into());
        state(StateEventType::RoomMember, user.as_str(), content);
    }
    drafts
}

/// The topic as text of both kinds: the plain field and the block of `m.topic`.
fn topic_content(topic: &str) -> CanonicalJsonObject {
    let text = object([("body", topic.to_owned().into()), ("mimetype", "text/plain".to_owned().into())]);
    let block = object([("m.text", CanonicalJsonValue::Array(vec![text.into()]))]);
    object([("topic", topic.to_owned().into()), ("m.topic", block.into())])
}

/// Adds the invited to the creators whom the client names, each once. What is no list of them is left to the rules, which
/// refuse it.
pub fn add_creators(content: &mut CanonicalJsonObject, creation: &Creation) {
    let none = || CanonicalJsonValue::Array(Vec::new());
    let creators = content.entry("additional_creators".to_owned()).or_insert_with(none);
    let CanonicalJsonValue::Array(creators) = creators else { return };
    for (user, _) in &creation.invite {
        let user = CanonicalJsonValue::String(user.to_string());
        if !creators.contains(&user) {
            creators.push(user);
        }
    }
}

/// The generated power levels with the client's put over them.
fn power_levels(creation: &Creation, rules: &RoomVersionRules) -> CanonicalJsonObject {
    let privileged = rules.authorization.explicitly_privilege_room_creators;
    let mut users = CanonicalJsonObject::new();
    if !privileged {
        users.insert(creation.creator.to_string(), level(100));
        if creation.preset == Preset::TrustedPrivateChat {
            users.extend(creation.invite.iter().map(|(user, _)| (user.to_string(), level(100))));
        }
    }
    let hundred = ["m.room.power_levels", "m.room.history_visibility", "m.room.server_acl", "m.room.encryption"];
    let fifty = ["m.room.name", "m.room.avatar", "m.room.topic", "m.room.canonical_alias"];
    let mut events = CanonicalJsonObject::new();
    events.extend(hundred.map(|kind| (kind.to_owned(), level(100))));
    events.extend(fifty.map(|kind| (kind.to_owned(), level(50))));
    // From version 12 on replacing the room takes more than administering it.
    events.insert(TimelineEventType::RoomTombstone.to_string(), level(if privileged { 150 } else { 100 }));
    let invite = if creation.preset == Preset::PublicChat { 50 } else { 0 };
    let mut content = object([
        ("users", users.into()),
        ("events", events.into()),
        ("users_default", level(0)),
        ("events_default", level(0)),
        ("state_default", level(50)),
        ("ban", level(50)),
        ("kick", level(50)),
        ("redact", level(50)),
        ("invite", level(invite)),
        ("historical", level(100)),
    ]);
    content.extend(creation.power_levels.clone());
    content
}

/// The state that a preset sets.
fn preset(preset: Preset) -> [(StateEventType, CanonicalJsonObject); 3] {
    let (join_rule, guests) = match preset {
        Preset::PublicChat => ("public", "forbidden"),
        Preset::PrivateChat | Preset::TrustedPrivateChat => ("invite", "can_join"),
    };
    let one = |field: &str, value: &str| object([(field, value.to_owned().into())]);
    [
        (StateEventType::RoomJoinRules, one("join_rule", join_rule)),
        (StateEventType::RoomHistoryVisibility, one("history_visibility", "shared")),
        (StateEventType::RoomGuestAccess, one("guest_access", guests)),
    ]
}

/// An object of these fields.
pub fn object<const N: usize>(fields: [(&str, CanonicalJsonValue); N]) -> CanonicalJsonObject {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn level(level: i32) -> CanonicalJsonValue {
    CanonicalJsonValue::Integer(level.into())
}
