//! Power levels on both sides of an upgrade: those that the new room gets, and those that silence the old one.

use depesche_rules::power_levels::PowerLevels;
use ruma::{
    CanonicalJsonObject, CanonicalJsonValue, OwnedUserId, events::TimelineEventType,
    events::room::power_levels::UserPowerLevel, room_version_rules::RoomVersionRules,
};

/// The level that speaking in the old room takes afterwards, unless it takes more already. Spec: "the greater of `50` and
/// `users_default + 1`".
const SILENCE: i64 = 50;
/// The least level of an old room's creator whom the new one gives none by itself.
const CREATOR: i64 = 100;
/// The level that state takes where the levels do not say.
const STATE: i64 = 50;
/// The level that a tombstone takes from version 12 on where the old room does not say.
const TOMBSTONE: i64 = 150;

/// The levels of the new room: those of the old one, as the new version wants them.
pub fn carried(
    levels: CanonicalJsonObject,
    old: &PowerLevels,
    creator: &OwnedUserId,
    others: &[OwnedUserId],
    rules: &RoomVersionRules,
) -> CanonicalJsonObject {
    let mut levels: CanonicalJsonObject =
        levels.into_iter().map(|(field, value)| (field, with_integers(value))).collect();
    let mut users = map(levels.remove("users"));
    let almighty = old.creators().iter().filter(|user| old.user(user) == UserPowerLevel::Infinite);
    if rules.authorization.explicitly_privilege_room_creators {
        let kind = TimelineEventType::RoomTombstone.to_string();
        let needed = integer(levels.get("state_default")).unwrap_or(STATE).saturating_add(1);
        let mut events = map(levels.remove("events"));
        let tombstone = integer(events.get(&kind)).unwrap_or(TOMBSTONE).max(needed);
        events.insert(kind, number(tombstone));
        levels.insert("events".to_owned(), events.into());
        let highest = highest(&levels, &users);
        users.extend(almighty.map(|user| (user.to_string(), number(highest))));
        // Who creates has no level that could be written down.
        users.retain(|user, _| creator != user.as_str() && others.iter().all(|other| other != user.as_str()));
    } else {
        let highest = highest(&levels, &users);
        users.extend(almighty.map(|user| (user.to_string(), number(highest))));
    }
    levels.insert("users".to_owned(), users.into());
    levels
}

/// What those get whom the old version made almighty: the highest level that anybody has or that anything takes, so that
/// nothing in the new room is beyond everyone.
fn highest(levels: &CanonicalJsonObject, users: &CanonicalJsonObject) -> i64 {
    let fields = ["users_default", "state_default", "events_default", "ban", "kick", "redact", "invite"];
    let single = fields.into_iter().filter_map(|field| levels.get(field));
    let maps = ["events", "notifications"].into_iter().filter_map(|field| match levels.get(field) {
        Some(CanonicalJsonValue::Object(map)) => Some(map.values()),
        _ => None,
    });
    let all = single.chain(maps.flatten()).chain(users.values());
    all.filter_map(|level| integer(Some(level))).fold(CREATOR, i64::max)
}

/// The levels of a room in which only those who run it may speak and invite; `None` if they are so already, or the user
/// may not set them so high.
pub fn silenced(mut levels: CanonicalJsonObject, own: &UserPowerLevel) -> Option<CanonicalJsonObject> {
    let everyone = integer(levels.get("users_default")).unwrap_or(0);
    let needed = SILENCE.max(everyone.checked_add(1)?);
    let mut changed = false;
    for field in ["events_default", "invite"] {
        if integer(levels.get(field)).unwrap_or(0) < needed {
            levels.insert(field.to_owned(), number(needed));
            changed = true;
        }
    }
    let reaches = match own {
        UserPowerLevel::Int(own) => i64::from(*own) >= needed,
        UserPowerLevel::Infinite => true,
    };
    (changed && reaches).then_some(levels)
}

/// Versions before 10 take levels that are written as strings.
fn with_integers(value: CanonicalJsonValue) -> CanonicalJsonValue {
    match value {
        CanonicalJsonValue::Object(levels) => {
            levels.into_iter().map(|(name, level)| (name, with_integers(level))).collect::<CanonicalJsonObject>().into()
        }
        other => integer(Some(&other)).map_or(other, number),
    }
}

fn map(value: Option<CanonicalJsonValue>) -> CanonicalJsonObject {
    match value {
        Some(CanonicalJsonValue::Object(map)) => map,
        _ => CanonicalJsonObject::new(),
    }
}

fn integer(level: Option<&CanonicalJsonValue>) -> Option<i64> {
    match level? {
        CanonicalJsonValue::Integer(level) => Some(i64::from(*level)),
        CanonicalJsonValue::String(level) => level.trim().parse().ok(),
        _ => None,
    }
}

fn number(level: i64) -> CanonicalJsonValue {
    let int = ruma::Int::new(level).unwrap_or(if level < 0 { ruma::Int::MIN } else { ruma::Int::MAX });
    CanonicalJsonValue::Integer(int)
}
