//! Each condition and action by table, and what becomes of stored rules.

use super::*;

/// A rule set of this rule only.
fn alone(conditions: Value, actions: Value) -> Ruleset {
    let (conditions, actions) = (serde_json::from_value(conditions).unwrap(), serde_json::from_value(actions).unwrap());
    let mut ruleset = Ruleset::default();
    ruleset.override_.insert(NewConditionalPushRule::new("mine".into(), conditions, actions).into());
    ruleset
}

/// Whether a rule with these conditions decides about an event of ben's.
fn applies(conditions: &Value, kind: &str, state_key: Option<&str>, content: &Value) -> bool {
    let mut room = room();
    let ruleset = alone(conditions.clone(), json!([]));
    let event = room.send(draft("ben", kind, state_key, content.clone()));
    evaluate(&ruleset, &EventFields::new(&event), &context(&room, &user("ann"), 4)).is_some()
}

#[test]
fn event_match_in_the_body() {
    for (pattern, text, expected) in [
        ("ca*e", "some cake", true),
        ("ca*e", "some pancake", false),
        ("ex*ple", "An example event.", true),
        ("ex*ple", "exple", true),
        ("ex*ple", "An exciting triple-whammy", true),
        ("CAKE", "cake", true),
        ("", "x", false),
        ("", "", true),
        ("*", "x", true),
    ] {
        let condition = json!([{ "kind": "event_match", "key": "content.body", "pattern": pattern }]);
        let content = json!({ "body": text });
        assert_eq!(applies(&condition, "m.room.message", None, &content), expected, "{pattern} {text}");
    }
}

#[test]
fn event_match_of_a_whole_value() {
    for (pattern, value, expected) in [
        ("lunc?*", json!("Lunch plans"), true),
        ("lunc?*", json!("LUNCH"), true),
        ("lunc?*", json!(" lunch"), false),
        ("lunc?*", json!("lunc"), false),
        ("lunc?*", json!(null), false),
        ("*", json!(null), false),
        ("*", json!(1), false),
        ("*", json!({ "a": "b" }), false),
        ("*", json!(["a"]), false),
        ("*", json!(""), true),
        ("b", json!("a b c"), false),
    ] {
        let condition = json!([{ "kind": "event_match", "key": "content.topic", "pattern": pattern }]);
        assert_eq!(applies(&condition, "m.x", None, &json!({ "topic": value })), expected, "{pattern} {value}");
        assert!(!applies(&condition, "m.x", None, &json!({})), "an absent property does not match");
    }
}

#[test]
fn event_match_by_path() {
    for (key, pattern, expected) in [
        ("type", "M.Room.*", true),
        ("type", "m.room", false),
        ("sender", "@ben:*", true),
        ("state_key", "", true),
        ("state_key", "x", false),
        ("room_id", "!other*", false),
        ("room_id", "!*", true),
        (r"content.a\.b.c", "d", true),
        ("content.a.b.c", "d", false),
        (r"content.back\\slash", "e", true),
        ("content", "*", false),
    ] {
        let condition = json!([{ "kind": "event_match", "key": key, "pattern": pattern }]);
        let content = json!({ "a.b": { "c": "d" }, r"back\slash": "e" });
        assert_eq!(applies(&condition, "m.room.thing", Some(""), &content), expected, "{key} {pattern}");
    }
    let of_state = json!([{ "kind": "event_match", "key": "state_key", "pattern": "" }]);
    assert!(!applies(&of_state, "m.x", None, &json!({})), "no state event");
}

#[test]
fn names_in_paths_as_the_specification_has_them() {
    let content = json!({ r"a\xb": "one", r"c\": { "d": "two" }, "": { "": "three" }, "e.": { "f": "four" } });
    for (key, value) in [
        (r"content.a\xb", "one"),
        (r"content.a\\xb", "one"),
        (r"content.c\\.d", "two"),
        ("content..", "three"),
        (r"content.e\..f", "four"),
    ] {
        let condition = json!([{ "kind": "event_property_is", "key": key, "value": value }]);
        assert!(applies(&condition, "m.x", None, &content), "{key}");
    }
}

/// Names of any length, nested: nothing is made for a property that no condition asks for.
#[test]
fn long_names_of_many_properties() {
    let many: serde_json::Map<_, _> = (0..3000).map(|n| (format!("k{n}"), json!(n))).collect();
    let dots = ".".repeat(20_000);
    let content = json!({ (dots.clone()): many });
    let key = format!(r"content.{}.k2999", dots.replace('.', r"\."));
    let condition = json!([{ "kind": "event_property_is", "key": key, "value": 2999 }]);
    assert!(applies(&condition, "m.x", None, &content));
}

fn values() -> impl Strategy<Value = Value> {
    let texts = ["", "a", "A", "ab", "a b", "ba a", "b.a", "*"];
    prop_oneof![
        4 => prop::sample::select(texts.to_vec()).prop_map(Value::from),
        1 => (-1..2_i64).prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn condition() -> impl Strategy<Value = Value> {
    let keys =
        ["content.body", "content.x", r"content.x\.y", "content.x.y", "content", "type", "sender", "room_id", "z"];
    // Of two wildcards in a row ruma (0.20) takes the second for the character itself, where it looks for words.
    let patterns = ["", "a", "*", "a*", "*a", "?", "a?", "?b", "*a*b", "b", "a b", "m.*", "@ben:*", "!*"];
    let (key, pattern) = (prop::sample::select(keys.to_vec()), prop::sample::select(patterns.to_vec()));
    let is = prop::sample::select(vec!["4", "<4", ">3", "<=4", ">=5", "==5"]);
    prop_oneof![
        3 => (key.clone(), pattern)
            .prop_map(|(key, pattern)| json!({ "kind": "event_match", "key": key, "pattern": pattern })),
        1 => (key.clone(), values())
            .prop_map(|(key, value)| json!({ "kind": "event_property_is", "key": key, "value": value })),
        1 => (key, values())
            .prop_map(|(key, value)| json!({ "kind": "event_property_contains", "key": key, "value": value })),
        1 => is.prop_map(|is| json!({ "kind": "room_member_count", "is": is })),
        1 => Just(json!({ "kind": "sender_notification_permission", "key": "room" })),
        1 => Just(json!({ "kind": "org.example" })),
    ]
}

proptest! {
    /// Where ruma's own evaluation can be trusted with what it is given.
    #[test]
    fn conditions_hold_as_with_ruma(
        conditions in proptest::collection::vec(condition(), 1..3),
        body in proptest::option::of(values()),
        x in proptest::option::of(prop_oneof![
            values(),
            proptest::collection::vec(values(), 0..4).prop_map(Value::from),
            values().prop_map(|value| json!({ "y": value })),
        ]),
        dotted in proptest::option::of(values()),
    ) {
        let mut content = json!({});
        for (key, value) in [("body", body), ("x", x), ("x.y", dotted)] {
            if let Some(value) = value {
                content[key] = value;
            }
        }
        let mut room = room();
        let rules = alone(json!(conditions), json!([]));
        let event = room.send(draft("ben", "m.x", None, content));
        let context = context(&room, &user("cleo"), 4);
        let ours = evaluate(&rules, &EventFields::new(&event), &context).is_some();
        prop_assert_eq!(ours, by_ruma(&rules, &event, &context).is_some());
    }
}

#[test]
fn event_property_is() {
    let values = [json!(true), json!("true"), json!(1), json!(0), json!(null), json!(""), json!([true]), json!({})];
    for wanted in &values[..6] {
        let condition = json!([{ "kind": "event_property_is", "key": r"content.m\.federate", "value": wanted }]);
        for value in &values {
            let content = json!({ "m.federate": value });
            assert_eq!(applies(&condition, "m.x", None, &content), wanted == value, "{wanted} {value}");
        }
        assert!(!applies(&condition, "m.x", None, &json!({})), "{wanted}, absent");
    }
}

#[test]
fn event_property_contains() {
    for (wanted, list, expected) in [
        (json!("#myroom:here"), json!(["#somewhere:here", "#myroom:here"]), true),
        (json!(":here"), json!(["#myroom:here"]), false),
        (json!(1), json!([{ "a": 1 }, [1], 1]), true),
        (json!(1), json!([[1], { "a": 1 }, "1", true]), false),
        (json!(null), json!([null]), true),
        (json!(null), json!([]), false),
        (json!(true), json!([false, true]), true),
        (json!("a"), json!("a"), false),
    ] {
        let condition = json!([{ "kind": "event_property_contains", "key": "content.list", "value": wanted }]);
        assert_eq!(applies(&condition, "m.x", None, &json!({ "list": list })), expected, "{wanted} {list}");
        assert!(!applies(&condition, "m.x", None, &json!({})), "{wanted}, absent");
    }
}

#[test]
fn contains_display_name() {
    let condition = json!([{ "kind": "contains_display_name" }]);
    for (body, expected) in [("hello ann!", true), ("hello anna", false), ("Ann", true), ("", false)] {
        assert_eq!(applies(&condition, "m.room.message", None, &json!({ "body": body })), expected, "{body}");
    }
    assert!(!applies(&condition, "m.room.message", None, &json!({ "formatted_body": "ann" })));
    let mut room = room();
    let ruleset = alone(condition, json!([]));
    assert!(asks_for_display_name(&ruleset) && !asks_for_display_name(&Ruleset::server_default(&user("ann"))));
    let event = room.send(draft("ben", "m.room.message", None, json!({ "body": "" })));
    let mut nameless = context(&room, &user("ann"), 4);
    nameless.display_name.clear();
    assert!(evaluate(&ruleset, &EventFields::new(&event), &nameless).is_none(), "who has no name is not named");
}

#[test]
fn room_member_count() {
    let yes = ["4", "==4", ">3", ">=4", "<5", "<=4"];
    let no = ["3", "==5", ">4", ">=5", "<4", "<=3"];
    for (is, expected) in yes.map(|is| (is, true)).into_iter().chain(no.map(|is| (is, false))) {
        let condition = json!([{ "kind": "room_member_count", "is": is }]);
        assert_eq!(applies(&condition, "m.x", None, &json!({})), expected, "{is}");
    }
}

#[test]
fn sender_notification_permission() {
    let mut room = room();
    let condition = json!([{ "kind": "sender_notification_permission", "key": "room" }]);
    let ruleset = alone(condition, json!([]));
    for (sender, expected) in [("creator", true), ("ann", true), ("ben", false)] {
        let event = room.send(draft(sender, "m.x", None, json!({})));
        let mut context = context(&room, &user("cleo"), 4);
        assert_eq!(evaluate(&ruleset, &EventFields::new(&event), &context).is_some(), expected, "{sender}");
        context.power_levels = None;
        assert!(evaluate(&ruleset, &EventFields::new(&event), &context).is_none(), "{sender} without levels");
    }
    let other = json!([{ "kind": "sender_notification_permission", "key": "org.example" }]);
    assert!(!applies(&other, "m.x", None, &json!({})), "it takes 50 where nothing is said");
    let levels = json!({ "users": { "@creator:here": 100, "@ann:here": 20 }, "notifications": { "org.example": 20 } });
    let mut room = Room::new(ruma::RoomVersionId::V11);
    for name in ["ann", "ben"] {
        room.send(member(name, name, "join"));
    }
    room.send(state("creator", "m.room.power_levels", "", levels));
    let ruleset = alone(other, json!([]));
    for (sender, expected) in [("creator", true), ("ann", true), ("ben", false)] {
        let event = room.send(draft(sender, "m.x", None, json!({})));
        let context = context(&room, &user("cleo"), 4);
        assert_eq!(evaluate(&ruleset, &EventFields::new(&event), &context).is_some(), expected, "{sender}");
    }
}

#[test]
fn unknown_conditions_and_several() {
    let (unknown, known) = (json!({ "kind": "org.example" }), json!({ "kind": "room_member_count", "is": ">1" }));
    let false_one = json!({ "kind": "room_member_count", "is": "1" });
    assert!(applies(&json!([]), "m.x", None, &json!({})), "no condition always holds");
    assert!(applies(&json!([known, known]), "m.x", None, &json!({})));
    for with in [json!([unknown]), json!([known, unknown]), json!([unknown, known]), json!([known, false_one])] {
        assert!(!applies(&with, "m.x", None, &json!({})), "{with}");
    }
}

#[test]
fn what_actions_say() {
    let mut room = room();
    let event = EventFields::new(&room.send(draft("ben", "m.x", None, json!({}))));
    let context = context(&room, &user("ann"), 4);
    let sound = json!({ "set_tweak": "sound", "value": "default" });
    let (highlight, not) = (json!({ "set_tweak": "highlight" }), json!({ "set_tweak": "highlight", "value": false }));
    for (actions, expected) in [
        (json!([]), (false, false, None)),
        (json!(["notify"]), (true, false, None)),
        (json!(["dont_notify"]), (false, false, None)),
        (json!(["coalesce"]), (false, false, None)),
        (json!(["notify", highlight, sound]), (true, true, Some("default"))),
        (json!(["notify", not]), (true, false, None)),
        (json!([highlight, sound]), (false, false, None)),
        (json!(["notify", { "set_tweak": "sound", "value": "cake.wav" }]), (true, false, Some("cake.wav"))),
    ] {
        let ruleset = alone(json!([]), actions.clone());
        let outcome = outcome(&ruleset, &event, &context);
        let said = (outcome.notify, outcome.highlight, outcome.sound.map(SoundTweakValue::as_str));
        assert_eq!(said, expected, "{actions}");
        assert_eq!(outcome.actions.len(), actions.as_array().unwrap().len());
    }
    assert!(!outcome(&Ruleset::default(), &event, &context).notify, "no rule, no notification");
}

#[test]
fn stored_rules_follow_the_servers_default_rules() {
    let mut stored = Ruleset::server_default(&user("ann"));
    let own = NewPushRule::Content(NewPatternedPushRule::new("mine".into(), "cake".into(), vec![Action::Notify]));
    stored.insert(own, None, None).unwrap();
    stored.set_enabled(RuleKind::Underride, ".m.rule.message", false).unwrap();
    stored.set_actions(RuleKind::Underride, ".m.rule.call", vec![]).unwrap();
    let mut content = json!({ "global": stored });
    let underride = content["global"]["underride"].as_array_mut().unwrap();
    underride.retain(|rule| rule["rule_id"] != ".m.rule.encrypted");
    let old = json!({ "rule_id": ".m.rule.old", "default": true, "enabled": true, "actions": [], "conditions": [] });
    underride.push(old);
    let rules = effective(Some(&content.to_string()), &user("ann"));
    assert!(!rules.get(RuleKind::Underride, ".m.rule.message").unwrap().enabled());
    assert!(rules.get(RuleKind::Underride, ".m.rule.call").unwrap().actions().is_empty());
    assert!(rules.get(RuleKind::Underride, ".m.rule.encrypted").is_some(), "a rule that is new");
    assert!(rules.get(RuleKind::Underride, ".m.rule.old").is_none(), "a rule that is gone");
    assert_eq!(rules.get(RuleKind::Content, "mine").unwrap().rule_id(), "mine");
    for broken in [None, Some("{}"), Some("no JSON")] {
        let default = serde_json::to_value(Ruleset::server_default(&user("ann"))).unwrap();
        assert_eq!(serde_json::to_value(effective(broken, &user("ann"))).unwrap(), default);
    }
}

/// The predefined rules of the specification, in its order.
#[test]
fn the_default_rules_are_those_of_the_specification() {
    let rules = Ruleset::server_default(&user("ann"));
    let ids: Vec<_> = rules.iter().map(|rule| rule.rule_id().trim_start_matches(".m.rule.").to_owned()).collect();
    let expected = "master suppress_notices invite_for_me member_event is_user_mention is_room_mention tombstone \
                    reaction room.server_acl suppress_edits call encrypted_room_one_to_one room_one_to_one message \
                    encrypted";
    assert_eq!(ids.join(" "), expected);
    let disabled = rules.iter().filter(|rule| !rule.enabled()).map(|rule| rule.rule_id().to_owned());
    assert_eq!(disabled.collect::<Vec<_>>(), [".m.rule.master"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::testing::cases(300), ..ProptestConfig::default() })]

    /// Words are found where the specification's definition, word for word, finds them.
    #[test]
    fn words_as_defined(pattern in "[ab_ ?*é]{0,5}", body in "[abAB_ é-]{0,9}") {
        let condition = json!([{ "kind": "event_match", "key": "content.body", "pattern": pattern.clone() }]);
        let expected = word_by_word(&pattern, &body);
        prop_assert_eq!(applies(&condition, "m.x", None, &json!({ "body": body })), expected);
    }
}

/// Every substring between two word boundaries, against the whole of the pattern.
fn word_by_word(pattern: &str, body: &str) -> bool {
    fn whole(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, first) => first.is_none(),
            (Some(('*', rest)), first) => whole(rest, text) || first.is_some_and(|(_, text)| whole(pattern, text)),
            (Some(_), None) => false,
            (Some((token, rest)), Some((c, text))) => (*token == '?' || token == c) && whole(rest, text),
        }
    }
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    let (pattern, body) = (lower(pattern), lower(body));
    if pattern.is_empty() {
        return body.is_empty();
    }
    let word = |at: usize| body.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_');
    let boundary = |at: usize| at == 0 || at == body.len() || !word(at - 1) || !word(at);
    let ends: Vec<_> = (0..=body.len()).filter(|at| boundary(*at)).collect();
    ends.iter().any(|from| ends.iter().any(|to| from <= to && whole(&pattern, &body[*from..*to])))
}
