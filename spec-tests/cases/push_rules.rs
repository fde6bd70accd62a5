//! Push rules. Client-server API, "Push rules".

use depesche_spec_tests::prelude::*;

/// The ids of the user's rules of a kind, most important first.
async fn ids(user: &User, kind: &str) -> Vec<String> {
    let rules = user.get("/_matrix/client/v3/pushrules/global/", &[]).await.ok();
    let list = rules[kind].as_array().cloned().unwrap_or_default();
    list.iter().filter_map(|rule| rule["rule_id"].as_str().map(str::to_owned)).collect()
}

async fn put(user: &User, kind: &str, id: &str, rule: Value) -> Answer {
    user.put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &[kind, id]).json(rule).await
}

async fn word(user: &User, id: &str, beside: &[(&str, &str)]) -> Answer {
    let rule = json!({ "pattern": "x", "actions": ["notify"] });
    user.put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["content", id]).query(beside).json(rule).await
}

#[tokio::test]
async fn push_rules_are_listed_in_two_ways() {
    let alice = shared().user("alice").await;
    let all = alice.get("/_matrix/client/v3/pushrules/", &[]).await.ok();
    let global = alice.get("/_matrix/client/v3/pushrules/global/", &[]).await.ok();
    assert_eq!(all["global"], global);
    let override_ = ids(&alice, "override").await;
    assert_eq!(override_[0], ".m.rule.master");
    let specified = [
        "suppress_notices",
        "invite_for_me",
        "member_event",
        "is_user_mention",
        "is_room_mention",
        "tombstone",
        "reaction",
        "room.server_acl",
        "suppress_edits",
    ];
    for id in specified {
        assert!(override_.contains(&format!(".m.rule.{id}")), "{id} is not in {override_:?}");
    }
    let underride = ids(&alice, "underride").await;
    for id in ["call", "encrypted_room_one_to_one", "room_one_to_one", "message", "encrypted"] {
        assert!(underride.contains(&format!(".m.rule.{id}")), "{id} is not in {underride:?}");
    }
}

/// What the specification says of its default rules: id, conditions, actions. In the order they are checked in.
fn default_rules(kind: &str, user: &str) -> Vec<(&'static str, Value, Value)> {
    let is = |key: &str, pattern: &str| json!({ "kind": "event_match", "key": key, "pattern": pattern });
    let of_two = json!({ "kind": "room_member_count", "is": "2" });
    let may_name_the_room = json!({ "kind": "sender_notification_permission", "key": "room" });
    let has = |way: &str, key: &str, value: Value| json!({ "kind": way, "key": key, "value": value });
    let names_me = has("event_property_contains", "content.m\\.mentions.user_ids", json!(user));
    let names_all = has("event_property_is", "content.m\\.mentions.room", json!(true));
    let edits = has("event_property_is", "content.m\\.relates_to.rel_type", json!("m.replace"));
    let invites = json!([is("type", "m.room.member"), is("content.membership", "invite"), is("state_key", user)]);
    let sound = |value: &str| json!({ "set_tweak": "sound", "value": value });
    let highlight = json!({ "set_tweak": "highlight" });
    match kind {
        "override" => vec![
            ("master", json!([]), json!([])),
            ("suppress_notices", json!([is("content.msgtype", "m.notice")]), json!([])),
            ("invite_for_me", invites, json!(["notify", sound("default")])),
            ("member_event", json!([is("type", "m.room.member")]), json!([])),
            ("is_user_mention", json!([names_me]), json!(["notify", sound("default"), highlight])),
            ("is_room_mention", json!([names_all, may_name_the_room]), json!(["notify", highlight])),
            ("tombstone", json!([is("type", "m.room.tombstone"), is("state_key", "")]), json!(["notify", highlight])),
            ("reaction", json!([is("type", "m.reaction")]), json!([])),
            ("room.server_acl", json!([is("type", "m.room.server_acl"), is("state_key", "")]), json!([])),
            ("suppress_edits", json!([edits]), json!([])),
        ],
        "underride" => vec![
            ("call", json!([is("type", "m.call.invite")]), json!(["notify", sound("ring")])),
            (
                "encrypted_room_one_to_one",
                json!([of_two, is("type", "m.room.encrypted")]),
                json!(["notify", sound("default")]),
            ),
            ("room_one_to_one", json!([of_two, is("type", "m.room.message")]), json!(["notify", sound("default")])),
            ("message", json!([is("type", "m.room.message")]), json!(["notify"])),
            ("encrypted", json!([is("type", "m.room.encrypted")]), json!(["notify"])),
        ],
        _ => Vec::new(),
    }
}

/// The rule with what may be said in two ways said in one: a highlight without a value is one of `true`, none is one of
/// `false`, and the order of conditions and tweaks means nothing.
fn plain(mut rule: Value) -> Value {
    let sorted = |list: &Value| {
        let mut list = list.as_array().expect("a list").clone();
        list.retain(|entry| *entry != json!({ "set_tweak": "highlight", "value": false }));
        for entry in list.iter_mut().filter(|entry| entry["set_tweak"] == "highlight") {
            entry["value"] = json!(true);
        }
        list.sort_by_key(Value::to_string);
        json!(list)
    };
    for field in ["conditions", "actions"] {
        rule[field] = sorted(&rule[field]);
    }
    rule
}

#[tokio::test]
async fn the_default_push_rules_are_those_of_the_specification() {
    let alice = shared().user("alice").await;
    let all = alice.get("/_matrix/client/v3/pushrules/", &[]).await.ok();
    // Synapse keeps the rules that v1.17 removed, and has one of its own.
    let not_specified = differs("client-server-api#predefined-rules", Vec::new, || {
        vec![".m.rule.contains_display_name", ".m.rule.roomnotif", ".m.rule.contains_user_name", ".im.vector.jitsi"]
    });
    let mut more = Vec::new();
    for kind in ["override", "content", "room", "sender", "underride"] {
        // A kind without rules may be left out.
        let mut rules = all["global"][kind].as_array().cloned().unwrap_or_default();
        rules.retain(|rule| {
            let is_specified = !not_specified.contains(&rule["rule_id"].as_str().expect("an id"));
            more.extend((!is_specified).then(|| rule["rule_id"].clone()));
            is_specified
        });
        let wanted = default_rules(kind, &alice.id).into_iter().map(|(id, conditions, actions)| {
            let (id, enabled) = (format!(".m.rule.{id}"), id != "master");
            plain(json!({
                "rule_id": id, "default": true, "enabled": enabled, "conditions": conditions, "actions": actions,
            }))
        });
        assert_eq!(rules.into_iter().map(plain).collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{kind}");
    }
    assert_eq!(more.len(), not_specified.len(), "{more:?}");
}

#[tokio::test]
async fn a_push_rule_is_made_read_changed_and_deleted() {
    let alice = shared().user("alice").await;
    let rule = json!({ "pattern": "cake*lie", "actions": ["notify", { "set_tweak": "sound", "value": "bing" }] });
    assert_eq!(put(&alice, "content", "nocake", rule.clone()).await.ok(), json!({}));
    let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
    let read = alice.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["content", "nocake"]).await.ok();
    assert_eq!((&read["rule_id"], &read["pattern"]), (&json!("nocake"), &json!("cake*lie")));
    assert_eq!((&read["enabled"], &read["default"]), (&json!(true), &json!(false)), "{read}");
    assert_eq!(read["actions"], rule["actions"]);
    put(&alice, "content", "nocake", json!({ "pattern": "tea", "actions": [] })).await.ok();
    let read = alice.get(path, &["content", "nocake"]).await.ok();
    assert_eq!((&read["pattern"], &read["actions"]), (&json!("tea"), &json!([])));
    let deleted = alice.delete("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["content", "nocake"]).await;
    assert_eq!(deleted.ok(), json!({}));
    alice.get(path, &["content", "nocake"]).await.error(404, "M_NOT_FOUND");
    assert!(!ids(&alice, "content").await.contains(&"nocake".to_owned()));
}

#[tokio::test]
async fn push_rules_of_every_kind() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    let is_big = json!({ "kind": "room_member_count", "is": ">10" });
    for (kind, id, rule) in [
        ("override", "mine", json!({ "actions": [], "conditions": [is_big] })),
        ("underride", "mine", json!({ "actions": ["notify"], "conditions": [{ "kind": "org.example.new", "a": 1 }] })),
        ("sender", "@spambot:example.org", json!({ "actions": [] })),
        ("room", room.as_str(), json!({ "actions": [] })),
        ("content", "mine", json!({ "actions": ["notify"], "pattern": "cake" })),
    ] {
        put(&alice, kind, id, rule.clone()).await.ok();
        let read = alice.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &[kind, id]).await.ok();
        assert_eq!(read["actions"], rule["actions"], "{kind}");
        assert_eq!(read["rule_id"], id);
        if rule["conditions"].is_array() {
            assert_eq!(read["conditions"], rule["conditions"], "{kind}");
        }
    }
}

#[tokio::test]
async fn a_push_rule_without_conditions_holds_always() {
    let alice = shared().user("alice").await;
    let answer = put(&alice, "override", "always", json!({ "actions": ["notify"] })).await;
    let known = differs(
        "client-server-api#put_matrixclientv3pushrulesglobalkindruleid",
        || {
            answer.clone().ok();
            vec!["always", "empty"]
        },
        || {
            answer.clone().error(400, "M_UNKNOWN");
            vec!["empty"]
        },
    );
    put(&alice, "override", "empty", json!({ "actions": ["notify"], "conditions": [] })).await.ok();
    for id in known {
        let read = alice.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["override", id]).await.ok();
        assert_eq!(read["conditions"].as_array().map_or(0, Vec::len), 0, "{read}");
    }
}

#[tokio::test]
async fn push_rules_are_put_in_order() {
    let alice = shared().user("alice").await;
    for id in ["c", "b", "a"] {
        word(&alice, id, &[]).await.ok();
    }
    assert_eq!(own(&alice).await, ["a", "b", "c"], "the newest is the most important");
    word(&alice, "d", &[("before", "b")]).await.ok();
    assert_eq!(own(&alice).await, ["a", "d", "b", "c"]);
    word(&alice, "e", &[("after", "c")]).await.ok();
    assert_eq!(own(&alice).await, ["a", "d", "b", "c", "e"]);
    // Known rules move, also to the end and down.
    word(&alice, "a", &[("after", "e")]).await.ok();
    assert_eq!(own(&alice).await, ["d", "b", "c", "e", "a"]);
    word(&alice, "d", &[("before", "e")]).await.ok();
    assert_eq!(own(&alice).await, ["b", "c", "d", "e", "a"]);
    word(&alice, "b", &[]).await.ok();
    let order = own(&alice).await;
    assert_eq!(order.len(), 5, "{order:?}");
}

/// The ids of the content rules that a case made.
async fn own(user: &User) -> Vec<String> {
    ids(user, "content").await.into_iter().filter(|id| !id.starts_with('.')).collect()
}

#[tokio::test]
async fn a_users_own_push_rules_come_before_the_servers_but_for_the_master() {
    let alice = shared().user("alice").await;
    put(&alice, "override", "mine", json!({ "actions": [], "conditions": [] })).await.ok();
    assert_eq!(ids(&alice, "override").await[..2], [".m.rule.master", "mine"]);
    put(&alice, "underride", "mine", json!({ "actions": [], "conditions": [] })).await.ok();
    assert_eq!(ids(&alice, "underride").await[0], "mine");
}

#[tokio::test]
async fn push_rules_are_enabled_and_disabled() {
    let alice = shared().user("alice").await;
    word(&alice, "mine", &[]).await.ok();
    let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled";
    for (kind, id) in [("content", "mine"), ("underride", ".m.rule.message")] {
        let answer = alice.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", &[kind, id]).await.ok();
        assert_eq!(answer, json!({ "enabled": true }));
        let disable = json!({ "enabled": false });
        alice
            .put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled", &[kind, id])
            .json(disable.clone())
            .await
            .ok();
        assert_eq!(alice.get(path, &[kind, id]).await.ok(), disable);
        let rule = alice.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &[kind, id]).await.ok();
        assert_eq!(rule["enabled"], false);
    }
    word(&alice, "mine", &[]).await.ok();
    assert_eq!(alice.get(path, &["content", "mine"]).await.ok(), json!({ "enabled": false }), "a change keeps it so");
    let answer = alice.put(path, &["content", "mine"]).json(json!({})).await;
    answer.error_in(400, &["M_BAD_JSON", "M_MISSING_PARAM", "M_UNKNOWN"]);
}

/// As Element for iOS and the older one for Android say it.
#[tokio::test]
async fn a_push_rule_is_enabled_by_a_bare_flag() {
    let alice = shared().user("alice").await;
    let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled";
    for enabled in [true, false] {
        let answer = alice.put(path, &["override", ".m.rule.master"]).json(json!(enabled)).await;
        assert_eq!(answer.ok(), json!({}));
        assert_eq!(alice.get(path, &["override", ".m.rule.master"]).await.ok(), json!({ "enabled": enabled }));
    }
    let answer = alice.put(path, &["override", ".m.rule.master"]).json(json!("true")).await;
    answer.error_in(400, &["M_BAD_JSON", "M_UNKNOWN"]);
}

#[tokio::test]
async fn a_sound_without_a_value_is_one() {
    let alice = shared().user("alice").await;
    let actions = json!(["notify", { "set_tweak": "sound" }]);
    put(&alice, "content", "mine", json!({ "pattern": "x", "actions": actions })).await.ok();
    let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions";
    let sounds = async || alice.get(path, &["content", "mine"]).await.ok()["actions"][1]["set_tweak"] == "sound";
    assert!(sounds().await);
    alice.put(path, &["content", "mine"]).json(json!({ "actions": [] })).await.ok();
    assert!(!sounds().await);
    alice.put(path, &["content", "mine"]).json(json!({ "actions": actions })).await.ok();
    assert!(sounds().await);
}

#[tokio::test]
async fn actions_of_push_rules_are_set() {
    let alice = shared().user("alice").await;
    word(&alice, "mine", &[]).await.ok();
    let actions = json!({ "actions": ["notify", { "set_tweak": "highlight" }, { "set_tweak": "own", "value": [1] }] });
    let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions";
    for (kind, id) in [("content", "mine"), ("override", ".m.rule.is_user_mention")] {
        alice
            .put("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", &[kind, id])
            .json(actions.clone())
            .await
            .ok();
        let read = alice.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions", &[kind, id]).await.ok();
        assert_eq!(read, actions);
    }
    let answer = alice.put(path, &["content", "mine"]).json(json!({})).await;
    answer.error_in(400, &["M_BAD_JSON", "M_MISSING_PARAM", "M_UNKNOWN"]);
}

#[tokio::test]
async fn push_rules_that_are_not_there_are_not_found() {
    let alice = shared().user("alice").await;
    let none = ["content", "none"];
    alice.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &none).await.error(404, "M_NOT_FOUND");
    alice.delete("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &none).await.error(404, "M_NOT_FOUND");
    let enabled = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled";
    alice.get(enabled, &none).await.error(404, "M_NOT_FOUND");
    alice.put(enabled, &none).json(json!({ "enabled": true })).await.error(404, "M_NOT_FOUND");
    let actions = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions";
    alice.get(actions, &none).await.error(404, "M_NOT_FOUND");
    alice.put(actions, &none).json(json!({ "actions": [] })).await.error(404, "M_NOT_FOUND");
    // Kinds have ids of their own.
    alice
        .get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["underride", ".m.rule.master"])
        .await
        .error(404, "M_NOT_FOUND");
}

#[tokio::test]
async fn push_rules_that_cannot_be_put() {
    let alice = shared().user("alice").await;
    word(&alice, "known", &[]).await.ok();
    for id in [".m.rule.mine", "a/b", "a\\b"] {
        word(&alice, id, &[]).await.error_in(400, &["M_INVALID_PARAM", "M_UNKNOWN", "M_UNRECOGNIZED"]);
    }
    for beside in [("before", "none"), ("after", "none"), ("before", ".m.rule.master"), ("after", ".m.rule.master")] {
        word(&alice, "mine", &[beside]).await.error(400, "M_UNKNOWN");
    }
    let bad = ["M_BAD_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM", "M_UNKNOWN"];
    put(&alice, "content", "mine", json!({ "pattern": "x" })).await.error_in(400, &bad);
    put(&alice, "content", "mine", json!({ "actions": [] })).await.error_in(400, &bad);
    put(&alice, "override", "mine", json!({ "actions": "notify" })).await.error_in(400, &bad);
    assert_eq!(own(&alice).await, ["known"]);
}

#[tokio::test]
async fn push_rules_of_an_unknown_kind() {
    let alice = shared().user("alice").await;
    let codes = ["M_INVALID_PARAM", "M_UNKNOWN", "M_UNRECOGNIZED"];
    put(&alice, "nonsense", "mine", json!({ "actions": [] })).await.error_in(400, &codes);
    let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
    // A rule of a kind that is not there is not there either.
    for request in [alice.get(path, &["nonsense", "mine"]), alice.delete(path, &["nonsense", "mine"])] {
        let answer = request.await;
        if answer.status == 404 {
            answer.error(404, "M_NOT_FOUND");
        } else {
            answer.error_in(400, &codes);
        }
    }
}

#[tokio::test]
async fn the_servers_push_rules_are_not_deleted() {
    let alice = shared().user("alice").await;
    let answer =
        alice.delete("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["override", ".m.rule.master"]).await;
    assert!([400, 404].contains(&answer.status), "{answer}");
    assert_eq!(ids(&alice, "override").await[0], ".m.rule.master");
}

#[tokio::test]
async fn push_rules_come_with_sync() {
    let alice = shared().user("alice").await;
    let other = alice.another_device().await;
    let rules = |sync: &Value| {
        let events = sync["account_data"]["events"].as_array().cloned().unwrap_or_default();
        events.into_iter().find(|event| event["type"] == "m.push_rules").map(|event| event["content"].clone())
    };
    let mut syncer = other.syncer();
    assert!(rules(&syncer.next().await).is_some(), "the first sync has them");
    word(&alice, "mine", &[]).await.ok();
    let has = |sync: &Value, id: &str| {
        let content = rules(sync).unwrap_or_default();
        let list = content["global"]["content"].as_array().cloned().unwrap_or_default();
        list.iter().any(|rule| rule["rule_id"] == id)
    };
    let sync = syncer.until(|sync| has(sync, "mine")).await;
    let all = alice.get("/_matrix/client/v3/pushrules/", &[]).await.ok();
    assert_eq!(rules(&sync), Some(all), "the whole of them");
}

#[tokio::test]
async fn push_rules_are_ones_own() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    word(&alice, "mine", &[]).await.ok();
    bob.get("/_matrix/client/v3/pushrules/global/{kind}/{ruleId}", &["content", "mine"])
        .await
        .error(404, "M_NOT_FOUND");
    let nobody = shared().client();
    nobody.get("/_matrix/client/v3/pushrules/", &[]).await.error(401, "M_MISSING_TOKEN");
}
