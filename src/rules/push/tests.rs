//! Push by table, and the default effect against the predefined rules as ruma evaluates them.

mod conditions;

use std::{
    pin::pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, Waker},
};

use proptest::prelude::*;
use ruma::{
    UserId,
    events::AnySyncTimelineEvent,
    push::{
        Action, AnyPushRuleRef, NewConditionalPushRule, NewPatternedPushRule, NewPushRule, NewSimplePushRule,
        PushCondition, PushConditionRoomCtx, RuleKind, Ruleset, SoundTweakValue,
    },
};
use serde_json::{Value, json};

use super::*;
use crate::{
    bounds::MAX_PUSH_PATTERN_BYTES,
    build::EventDraft,
    client_event::{RoomField, Unsigned, client_event},
    testing::{Room, member, object, state, user},
};

const PEOPLE: [&str; 4] = ["creator", "ann", "ben", "cleo"];

fn context(room: &Room, user_id: &UserId, members: u32) -> RoomContext {
    RoomContext {
        room_id: room.id.clone().unwrap(),
        member_count: members.into(),
        user_id: user_id.to_owned(),
        display_name: "Ann".to_owned(),
        power_levels: Some(Arc::new(room.levels())),
    }
}

/// The rule that decides, as ruma evaluates it.
fn by_ruma<'a>(rules: &'a Ruleset, event: &Pdu, context: &RoomContext) -> Option<AnyPushRuleRef<'a>> {
    let RoomContext { room_id, member_count, user_id, display_name, power_levels } = context.clone();
    let context = PushConditionRoomCtx::new(room_id, member_count, user_id, display_name)
        .with_power_levels(power_levels.unwrap().push_context());
    let event = client_event::<AnySyncTimelineEvent>(event, RoomField::Present, &Unsigned::default());
    // It never waits: only conditions on thread subscriptions would.
    match pin!(rules.get_match(&event, &context)).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(rule) => rule,
        Poll::Pending => panic!("it waits"),
    }
}

/// A room where everybody is joined and all may send state.
fn room() -> Room {
    let mut room = Room::new(ruma::RoomVersionId::V12);
    for name in &PEOPLE[1..] {
        room.send(member(name, name, "join"));
    }
    let levels = json!({ "state_default": 0, "users": { "@ann:here": 50 } });
    room.send(state("creator", "m.room.power_levels", "", levels));
    room
}

fn draft(sender: &str, kind: &str, state_key: Option<&str>, content: Value) -> EventDraft {
    let kind = kind.into();
    let state_key = state_key.map(str::to_owned);
    EventDraft { kind, state_key, sender: user(sender), content: object(content), redacts: None, unsigned: None }
}

/// What the predefined rules do for one user: notified, highlighted.
fn by_rules(room: &Room, event: &Pdu, name: &str) -> (bool, bool) {
    let (rules, context) = (Ruleset::server_default(&user(name)), context(room, &user(name), 4));
    let rule = evaluate(&rules, &EventFields::new(event), &context);
    let expected = by_ruma(&rules, event, &context).map(AnyPushRuleRef::rule_id);
    assert_eq!(rule.map(AnyPushRuleRef::rule_id), expected);
    rule.map_or((false, false), |rule| (rule.triggers_notification(), rule.triggers_highlight()))
}

/// What the effect says for one user.
fn by_effect(effect: &Effect, event: &Pdu, name: &str) -> (bool, bool) {
    let user = user(name);
    if *event.sender() == user {
        return (false, false);
    }
    let named = effect.highlight_users.contains(&user);
    let notified = effect.notify || named || effect.invited.as_ref() == Some(&user);
    (notified, named || effect.highlight_room)
}

fn contents() -> impl Strategy<Value = Value> {
    let msgtype = prop_oneof![Just(json!("m.text")), Just(json!("m.notice")), Just(json!("M.Notice")), Just(json!(1))];
    let rel_type = prop_oneof![Just(json!("m.replace")), Just(json!("m.thread")), Just(json!(null)), Just(json!([]))];
    let user_ids = prop_oneof![
        Just(json!(["@ben:here"])),
        Just(json!(["@ben:here", 5, "no id", "@cleo:here", "@ben:here"])),
        Just(json!("@ben:here")),
        Just(json!([])),
    ];
    let room = prop_oneof![Just(json!(true)), Just(json!(false)), Just(json!("true"))];
    let membership = prop_oneof![Just(json!("invite")), Just(json!("leave"))];
    let option = proptest::option::of::<BoxedStrategy<Value>>;
    let mentions = (option(user_ids.boxed()), option(room.boxed()));
    (option(msgtype.boxed()), option(rel_type.boxed()), proptest::option::of(mentions), membership).prop_map(
        |(msgtype, rel_type, mentions, membership)| {
            let mut content = json!({ "body": "Ann, look", "membership": membership });
            if let Some(msgtype) = msgtype {
                content["msgtype"] = msgtype;
            }
            if let Some(rel_type) = rel_type {
                content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": "$root" });
            }
            if let Some((user_ids, room)) = mentions {
                content["m.mentions"] = json!({});
                if let Some(user_ids) = user_ids {
                    content["m.mentions"]["user_ids"] = user_ids;
                }
                if let Some(room) = room {
                    content["m.mentions"]["room"] = room;
                }
            }
            content
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::testing::cases(400), ..ProptestConfig::default() })]

    #[test]
    fn the_default_effect_is_that_of_the_predefined_rules(
        content in contents(),
        kind in prop_oneof![
            Just("m.room.message"), Just("m.room.encrypted"), Just("m.room.tombstone"), Just("m.reaction"),
            Just("m.room.server_acl"), Just("m.call.invite"), Just("m.room.topic"), Just("org.example"),
            Just("m.room.Message"), Just("m.room.member"),
        ],
        state_key in prop_oneof![Just(None), Just(Some("")), Just(Some("x"))],
        sender in prop_oneof![Just("ann"), Just("ben")],
    ) {
        let mut room = room();
        let state_key = if kind == "m.room.member" { Some("@new:here") } else { state_key };
        let sent = room.try_send(draft(sender, kind, state_key, content));
        prop_assume!(sent.is_ok());
        let event = sent.unwrap();
        let effect = default_effect(&event, &room.levels());
        for name in PEOPLE.into_iter().chain(["new"]) {
            prop_assert_eq!(by_effect(&effect, &event, name), by_rules(&room, &event, name), "{}", name);
        }
        prop_assert_eq!(effect.is_some(), PEOPLE.into_iter().chain(["new"]).any(|name| by_effect(&effect, &event, name).0));
    }
}

#[test]
fn what_the_default_rules_do() {
    let mut room = room();
    let mut effect = |sender: &str, kind: &str, content: Value| {
        let event = room.send(draft(sender, kind, None, content));
        default_effect(&event, &room.levels())
    };
    let everyone = Effect { notify: true, ..Effect::default() };
    let text = |more: Value| {
        let mut content = json!({ "msgtype": "m.text", "body": "x" });
        content.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        content
    };
    assert_eq!(effect("ann", "m.room.message", text(json!({}))), everyone);
    assert_eq!(effect("ann", "m.room.encrypted", json!({})), everyone);
    assert_eq!(effect("ann", "m.reaction", json!({})), Effect::default());
    assert_eq!(effect("ann", "m.room.message", text(json!({ "msgtype": "m.notice" }))), Effect::default());

    let thread = json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": "$root" } });
    let thread_root = Some("$root".try_into().unwrap());
    assert_eq!(effect("ann", "m.room.message", text(thread)), Effect { thread_root, ..everyone.clone() });

    let edit = json!({ "m.relates_to": { "rel_type": "m.replace" }, "m.mentions": { "user_ids": ["@ben:here"] } });
    let only_ben = Effect { highlight_users: vec![user("ben")], ..Effect::default() };
    assert_eq!(effect("ann", "m.room.message", text(edit)), only_ben);

    let own = text(json!({ "m.mentions": { "user_ids": ["@ann:here"] } }));
    assert_eq!(effect("ann", "m.room.message", own), everyone, "nobody mentions themselves");

    let all = text(json!({ "m.mentions": { "room": true } }));
    assert_eq!(effect("ann", "m.room.message", all.clone()), Effect { highlight_room: true, ..everyone.clone() });
    assert_eq!(effect("ben", "m.room.message", all), everyone, "ben's level is too low for @room");
}

#[test]
fn whom_an_event_names_is_highlighted_once_however_many_they_are() {
    let mut room = room();
    let users: Vec<_> = (0..2000).map(|n| user(&format!("u{n}"))).collect();
    let ids: Vec<_> = users.iter().chain(&users[..100]).collect();
    let event = room.send(draft("ann", "m.room.message", None, json!({ "m.mentions": { "user_ids": ids } })));
    assert_eq!(default_effect(&event, &room.levels()).highlight_users, users);
}

#[test]
fn an_invite_notifies_the_invited() {
    let mut room = room();
    let event = room.send(member("creator", "dan", "invite"));
    assert_eq!(default_effect(&event, &room.levels()), Effect { invited: Some(user("dan")), ..Effect::default() });
}

/// Which of a user's own rules decides about a text.
fn decides(rules: &[NewPushRule], members: u32, body: &str) -> String {
    let mut room = room();
    let mut ruleset = Ruleset::server_default(&user("ann"));
    for rule in rules {
        ruleset.insert(rule.clone(), None, None).unwrap();
    }
    let event = room.send(draft("ben", "m.room.message", None, json!({ "body": body, "msgtype": "m.text" })));
    let rule = evaluate(&ruleset, &EventFields::new(&event), &context(&room, &user("ann"), members));
    rule.map(|rule| rule.rule_id().to_owned()).unwrap_or_default()
}

fn with_conditions(conditions: Value) -> NewPushRule {
    let conditions: Vec<PushCondition> = serde_json::from_value(conditions).unwrap();
    NewPushRule::Override(NewConditionalPushRule::new("mine".into(), conditions, vec![Action::Notify]))
}

#[test]
fn a_users_own_rules() {
    assert_eq!(decides(&[], 4, "x"), ".m.rule.message");
    assert_eq!(decides(&[], 2, "x"), ".m.rule.room_one_to_one");
    let keyword = NewPushRule::Content(NewPatternedPushRule::new("mine".into(), "cake".into(), vec![]));
    assert_eq!(decides(std::slice::from_ref(&keyword), 4, "more Cake!"), "mine");
    assert_eq!(decides(&[keyword], 4, "pancakes"), ".m.rule.message");
    let sender = NewPushRule::Sender(NewSimplePushRule::new(user("ben"), vec![]));
    assert_eq!(decides(&[sender], 4, "x"), "@ben:here");
    let other = NewPushRule::Sender(NewSimplePushRule::new(user("cleo"), vec![]));
    assert_eq!(decides(&[other], 4, "x"), ".m.rule.message");
    let elsewhere = NewPushRule::Room(NewSimplePushRule::new("!r:here".try_into().unwrap(), vec![]));
    assert_eq!(decides(&[elsewhere], 4, "x"), ".m.rule.message");
}

#[test]
fn nobody_is_notified_of_what_they_sent() {
    let mut room = room();
    let event = room.send(draft("ann", "m.room.message", None, json!({ "body": "x" })));
    let ruleset = Ruleset::server_default(&user("ann"));
    assert!(evaluate(&ruleset, &EventFields::new(&event), &context(&room, &user("ann"), 2)).is_none());
}

/// What one user's rules cost is bounded: what goes beyond does not match, and the default rules decide.
#[test]
fn more_than_a_users_rules_may_cost() {
    let keyword = |id: &str, pattern: &str| {
        NewPushRule::Content(NewPatternedPushRule::new(id.to_owned(), pattern.to_owned(), vec![]))
    };
    // Each new rule is the most important one: the last of these is looked at first.
    let costly: Vec<_> = (0..55).map(|n| keyword(&format!("r{n}"), &format!("{}b", "a?".repeat(511)))).collect();
    let body = "a ".repeat(30_000);
    let with = |first: Option<&str>, last: Option<&str>| {
        let (first, last) = (first.map(|word| keyword("first", word)), last.map(|word| keyword("last", word)));
        let rules: Vec<_> = last.into_iter().chain(costly.iter().cloned()).chain(first).collect();
        decides(&rules, 4, &format!("{body}c b"))
    };
    assert_eq!(with(None, None), ".m.rule.message");
    assert_eq!(with(Some("a"), None), "first");
    assert_eq!(with(None, Some("a")), ".m.rule.message", "the budget was used up before it");
    let harmless: Vec<_> = (0..500).map(|n| keyword(&format!("r{n}"), &format!("word{n}x"))).collect();
    let rules: Vec<_> = [keyword("last", "b")].into_iter().chain(harmless).collect();
    assert_eq!(decides(&rules, 4, &format!("{body}b")), "last", "words that are not there cost little");
}

/// The body and the pattern are a user's to choose. With ruma's own matcher the first of these overflows the stack.
#[test]
fn hostile_words() {
    let body = "xa ".repeat(20_000);
    let keyword = |pattern: String| NewPushRule::Content(NewPatternedPushRule::new("mine".into(), pattern, vec![]));
    assert_eq!(decides(&[keyword("a".into())], 4, &body), ".m.rule.message");
    assert_eq!(decides(&[keyword("?".repeat(MAX_PUSH_PATTERN_BYTES))], 4, &body), "mine");
}

#[test]
fn patterns_at_the_limit_and_one_beyond() {
    for (length, decided) in [(MAX_PUSH_PATTERN_BYTES, "mine"), (MAX_PUSH_PATTERN_BYTES + 1, ".m.rule.message")] {
        let text = "x".repeat(length);
        let keyword = NewPushRule::Content(NewPatternedPushRule::new("mine".into(), text.clone(), vec![]));
        assert_eq!(decides(&[keyword], 4, &text), decided);
        let condition = json!([{ "kind": "event_match", "key": "content.body", "pattern": text.clone() }]);
        assert_eq!(decides(&[with_conditions(condition)], 4, &text), decided);
    }
}

/// Push evaluates the default rules once for all whom an event does not name.
#[test]
fn the_default_rules_of_two_users_differ_in_what_names_them() {
    let rules = |name: &str| serde_json::to_value(Ruleset::server_default(&user(name))).unwrap();
    let (ann, ben) = (rules("ann"), rules("ben"));
    let mut differing = Vec::new();
    for (kind, of_ann) in ann.as_object().unwrap() {
        let (of_ann, of_ben) = (of_ann.as_array().unwrap(), ben[kind].as_array().unwrap());
        assert_eq!(of_ann.len(), of_ben.len());
        let differs = of_ann.iter().zip(of_ben).filter(|(ann, ben)| ann != ben);
        differing.extend(differs.map(|(ann, _)| ann["rule_id"].as_str().unwrap().to_owned()));
    }
    // Of these, one asks for the state key and one for the mentions: `EventFields::named` is both.
    assert_eq!(differing, [".m.rule.invite_for_me", ".m.rule.is_user_mention"]);
}

/// The default rules say the same to all whom an event does not name, in whatever case it writes their names.
#[test]
fn whom_an_event_names() {
    let mut room = room();
    let mut said = |event: EventDraft, names: &str| {
        let event = room.send(event);
        let fields = EventFields::new(&event);
        let said_to = |name: &str| {
            let rules = Ruleset::server_default(&user(name));
            let Outcome { notify, highlight, actions, .. } = outcome(&rules, &fields, &context(&room, &user(name), 4));
            (notify, highlight, actions.len())
        };
        for name in &PEOPLE[2..] {
            assert_eq!(fields.named().has(&user(name)), *name == names, "{name}");
            assert_eq!(said_to(name) == said_to("stranger"), *name != names, "{name}");
        }
    };
    let invite =
        |name: &str| draft("ann", "m.room.member", Some(&format!("@{name}:here")), json!({ "membership": "invite" }));
    said(invite("dora"), "dora");
    said(invite("BEN"), "ben");
    said(draft("ann", "m.room.message", None, json!({ "msgtype": "m.text", "body": "x" })), "");
    let mentions = json!({ "msgtype": "m.text", "body": "x", "m.mentions": { "user_ids": ["@cleo:here"] } });
    said(draft("ann", "m.room.message", None, mentions), "cleo");
}
