//! Who may do what in a room: power levels as they are in effect.
//!
//! Made once from the create event and the power levels event (or its absence), then asked. Knows the differences of
//! the versions: creators above all from 12 on, 100 for the creator of a room without power levels before; strings and
//! floats as numbers before 10. These answers are for requests of clients and for push; the auth rules judge events by
//! themselves ([`crate::auth`]).
//!
//! Spec: [`m.room.power_levels`](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels).

use std::collections::{BTreeMap, BTreeSet};

use ruma::{
    Int, OwnedUserId, UserId,
    events::{TimelineEventType, room::power_levels::UserPowerLevel},
    room_version_rules::{AuthorizationRules, RoomVersionRules},
    state_res::events::{RoomCreateEvent, RoomPowerLevelsEvent, RoomPowerLevelsIntField as Field},
};

use crate::{auth::Reject, pdu::Pdu};

/// The level required for `@room` when the event does not say. Of other keys the specification names no default: the same.
const NOTIFICATIONS_DEFAULT: i32 = 50;
/// The creator's level in a room without power levels, before version 12.
const CREATOR_DEFAULT: i32 = 100;

/// Whether an `m.room.power_levels` has the content that its room's version demands, whoever sends it.
pub fn check(create: &Pdu, event: &Pdu, rules: &RoomVersionRules) -> Result<(), Reject> {
    let levels = PowerLevels::new(create, Some(event), rules)?;
    if rules.authorization.explicitly_privilege_room_creators
        && levels.named().any(|user| levels.creators.contains(user))
    {
        return Err(Reject::new("the creators of the room have no power level of their own"));
    }
    Ok(())
}

/// The power levels of a room.
#[derive(Clone, Debug)]
pub struct PowerLevels {
    creators: BTreeSet<OwnedUserId>,
    authorization: AuthorizationRules,
    users: BTreeMap<OwnedUserId, Int>,
    users_default: Int,
    events: BTreeMap<TimelineEventType, Int>,
    events_default: Int,
    state_default: Int,
    ban: Int,
    kick: Int,
    invite: Int,
    redact: Int,
    notifications: BTreeMap<String, Int>,
}

impl PowerLevels {
    /// From the room's create event and its power levels event, if it has one.
    pub fn new(create: &Pdu, power_levels: Option<&Pdu>, rules: &RoomVersionRules) -> Result<Self, Reject> {
        let authorization = rules.authorization.clone();
        let creators = RoomCreateEvent::new(create).creators(&authorization).map_err(Reject::new)?;
        let creators: BTreeSet<_> = creators.into_iter().collect();
        match power_levels {
            None => Ok(Self::without_event(creators, authorization)),
            Some(event) => Self::from_event(creators, event, authorization).map_err(Reject::new),
        }
    }

    fn without_event(creators: BTreeSet<OwnedUserId>, authorization: AuthorizationRules) -> Self {
        let creator_level = |user: &OwnedUserId| (user.clone(), CREATOR_DEFAULT.into());
        let privileged = authorization.explicitly_privilege_room_creators;
        let users = if privileged { BTreeMap::new() } else { creators.iter().map(creator_level).collect() };
        Self {
            users,
            users_default: Field::UsersDefault.default_value(),
            events: BTreeMap::new(),
            events_default: Field::EventsDefault.default_value(),
            state_default: Field::StateDefault.default_value(),
            ban: Field::Ban.default_value(),
            kick: Field::Kick.default_value(),
            invite: Field::Invite.default_value(),
            redact: Field::Redact.default_value(),
            notifications: BTreeMap::new(),
            creators,
            authorization,
        }
    }

    fn from_event(
        creators: BTreeSet<OwnedUserId>,
        event: &Pdu,
        authorization: AuthorizationRules,
    ) -> Result<Self, String> {
        let event = RoomPowerLevelsEvent::new(event);
        let rules = &authorization;
        let level = |field| event.get_as_int_or_default(field, rules);
        let notifications = event.notifications(rules)?.unwrap_or_default();
        Ok(Self {
            users: event.users(rules)?.cloned().unwrap_or_default(),
            users_default: level(Field::UsersDefault)?,
            events: event.events(rules)?.unwrap_or_default(),
            events_default: level(Field::EventsDefault)?,
            state_default: level(Field::StateDefault)?,
            ban: level(Field::Ban)?,
            kick: level(Field::Kick)?,
            invite: level(Field::Invite)?,
            redact: level(Field::Redact)?,
            notifications,
            creators,
            authorization,
        })
    }

    /// The level of a user, member or not.
    pub fn user(&self, user: &UserId) -> UserPowerLevel {
        if self.authorization.explicitly_privilege_room_creators && self.creators.contains(user) {
            UserPowerLevel::Infinite
        } else {
            UserPowerLevel::Int(self.users.get(user).copied().unwrap_or(self.users_default))
        }
    }

    /// The creators of the room: the sender of the create event (or whom it names) and, from version 12 on, the
    /// additional ones.
    pub fn creators(&self) -> &BTreeSet<OwnedUserId> {
        &self.creators
    }

    /// The users whom the power levels event gives a level of their own.
    pub fn named(&self) -> impl Iterator<Item = &OwnedUserId> {
        self.users.keys()
    }

    /// The level that sending an event of this type takes. Memberships have levels of their own.
    pub fn required_for(&self, kind: &TimelineEventType, is_state: bool) -> Int {
        let default = if is_state { self.state_default } else { self.events_default };
        self.events.get(kind).copied().unwrap_or(default)
    }

    /// Whether the user's level is enough to send an event of this type.
    pub fn can_send(&self, user: &UserId, kind: &TimelineEventType, is_state: bool) -> bool {
        self.user(user) >= self.required_for(kind, is_state)
    }

    /// Whether the user's level is enough to invite.
    pub fn can_invite(&self, user: &UserId) -> bool {
        self.user(user) >= self.invite
    }

    /// Whether everyone whom the levels do not name may invite.
    pub fn anyone_can_invite(&self) -> bool {
        self.users_default >= self.invite
    }

    /// Those who may invite because they are creators or the levels name them, members or not.
    pub fn named_inviters(&self) -> impl Iterator<Item = &OwnedUserId> {
        let others = self.users.keys().filter(|user| !self.creators.contains(*user));
        self.creators.iter().chain(others).filter(|user| self.can_invite(user))
    }

    /// Whether the user's level is enough to kick `target`: the level for it, and more than the target's.
    pub fn can_kick(&self, user: &UserId, target: &UserId) -> bool {
        self.user(user) >= self.kick && self.user(user) > self.user(target)
    }

    /// Whether the user's level is enough to ban `target`: the level for it, and more than the target's.
    pub fn can_ban(&self, user: &UserId, target: &UserId) -> bool {
        self.user(user) >= self.ban && self.user(user) > self.user(target)
    }

    /// Whether the user's level is enough to lift a ban of `target`: as for a ban, and a kick's level too.
    pub fn can_unban(&self, user: &UserId, target: &UserId) -> bool {
        self.user(user) >= self.ban && self.can_kick(user, target)
    }

    /// Whether the user's level reaches the *redact level*, which other people's events take.
    pub fn can_redact_others(&self, user: &UserId) -> bool {
        self.user(user) >= self.redact
    }

    /// Whether an `@room` of this user notifies.
    pub fn can_notify_room(&self, user: &UserId) -> bool {
        self.can_notify(user, "room")
    }

    /// Whether the user's level is enough for notifications of a kind, `room` or another.
    pub fn can_notify(&self, user: &UserId, kind: &str) -> bool {
        self.user(user) >= self.notifications(kind)
    }

    fn notifications(&self, kind: &str) -> Int {
        self.notifications.get(kind).copied().unwrap_or(NOTIFICATIONS_DEFAULT.into())
    }

    /// The levels as ruma's push conditions read them, which know `room` alone.
    #[cfg(test)]
    pub(crate) fn push_context(&self) -> ruma::push::PushConditionPowerLevelsCtx {
        ruma::push::PushConditionPowerLevelsCtx {
            users: self.users.clone(),
            users_default: self.users_default,
            notifications: ruma::power_levels::NotificationPowerLevels { room: self.notifications("room") },
            rules: ruma::room_version_rules::RoomPowerLevelsRules::new(
                &self.authorization,
                self.creators.iter().cloned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{Room, state, user, versions};

    fn int(level: i32) -> UserPowerLevel {
        UserPowerLevel::Int(level.into())
    }

    #[test]
    fn without_an_event() {
        for version in versions() {
            let room = Room::bare(version.clone());
            let levels = room.levels();
            let creator = if room.privileged() { UserPowerLevel::Infinite } else { int(100) };
            assert_eq!(levels.user(&user("creator")), creator, "{version}");
            assert_eq!(levels.user(&user("ann")), int(0), "{version}");
            assert!(levels.can_invite(&user("ann")) && levels.can_send(&user("ann"), &"m.room.message".into(), false));
            assert!(!levels.can_send(&user("ann"), &"m.room.name".into(), true));
            assert!(!levels.can_redact_others(&user("ann")) && !levels.can_notify_room(&user("ann")));
        }
    }

    #[test]
    fn creators_stand_above_all_from_version_12_on() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            let mut users = json!({ "@ann:here": 100 });
            if !room.privileged() {
                users["@creator:here"] = json!(100);
            }
            room.send(state("creator", "m.room.power_levels", "", json!({ "users": users })));
            let levels = room.levels();
            let (creator, ann) = (user("creator"), user("ann"));
            assert_eq!(levels.can_kick(&creator, &ann), room.privileged(), "{version}");
            assert_eq!(levels.can_ban(&creator, &ann), room.privileged(), "{version}");
            assert_eq!(levels.can_unban(&creator, &ann), room.privileged(), "{version}");
            assert!(!levels.can_kick(&ann, &creator) && !levels.can_kick(&ann, &ann), "{version}");
            assert!(levels.can_kick(&ann, &user("ben")));
            assert_eq!(levels.push_context().rules.privileged_creators.is_some(), room.privileged());
        }
    }

    #[test]
    fn every_field_counts() {
        let mut room = Room::new(ruma::RoomVersionId::V12);
        let content = json!({
            "users": { "@ann:here": 7 }, "users_default": 3, "events": { "m.x": 8 }, "events_default": 4,
            "state_default": 6, "ban": 8, "kick": 7, "invite": 9, "redact": 2, "notifications": { "room": 3 },
        });
        room.send(state("creator", "m.room.power_levels", "", content));
        let (levels, ann, ben) = (room.levels(), user("ann"), user("ben"));
        assert_eq!((levels.user(&ann), levels.user(&ben)), (int(7), int(3)));
        let required = |kind: &str, is_state| i64::from(levels.required_for(&kind.into(), is_state));
        assert_eq!((required("m.x", false), required("m.x", true)), (8, 8));
        assert_eq!((required("m.y", false), required("m.y", true)), (4, 6));
        assert!(levels.can_kick(&ann, &ben) && !levels.can_ban(&ann, &ben) && !levels.can_unban(&ann, &ben));
        assert!(!levels.can_invite(&ann) && levels.can_redact_others(&ben) && levels.can_notify_room(&ben));
    }

    #[test]
    fn strings_count_as_numbers_until_version_9() {
        for version in versions() {
            let mut room = Room::new(version.clone());
            let content = json!({ "users": { "@creator:here": "100" }, "kick": " 20 " });
            let sent = room.try_send(state("creator", "m.room.power_levels", "", content));
            let integers = room.rules.authorization.integer_power_levels;
            assert_eq!(sent.is_err(), integers, "{version}");
            if !integers {
                assert_eq!(room.levels().user(&user("creator")), int(100), "{version}");
                assert_eq!(i64::from(room.levels().kick), 20, "{version}");
            }
        }
    }
}
