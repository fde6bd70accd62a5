//! Searching messages. Client-server API, "Server-side search".

use depesche_spec_tests::prelude::*;

/// The answer's category of events.
async fn search(user: &User, criteria: Value) -> Value {
    search_from(user, &[], criteria).await
}

async fn search_from(user: &User, query: &[(&str, &str)], criteria: Value) -> Value {
    let body = json!({ "search_categories": { "room_events": criteria } });
    let answer = user.post("/_matrix/client/v3/search", &[]).query(query).json(body).await.ok();
    let found = answer["search_categories"]["room_events"].clone();
    assert!(found["results"].is_array() && found["count"].is_u64() && found["highlights"].is_array(), "{answer}");
    found
}

/// The newest first.
async fn recent(user: &User, term: &str) -> Vec<String> {
    ids(&search(user, json!({ "search_term": term, "order_by": "recent" })).await)
}

fn ids(found: &Value) -> Vec<String> {
    let results = found["results"].as_array().expect("results").iter();
    results.map(|result| result["result"]["event_id"].as_str().expect("an event id").to_owned()).collect()
}

fn event_ids(events: &Value) -> Vec<&str> {
    events.as_array().expect("events").iter().map(|event| event["event_id"].as_str().expect("an event id")).collect()
}

async fn two_in_a_room() -> (User, User, String) {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    (alice, bob, room)
}

#[tokio::test]
async fn a_message_is_found_by_all_of_its_words() {
    let (alice, bob, room) = two_in_a_room().await;
    let one = alice.say(&room, "Martians and men met in Paris").await;
    let two = alice.say(&room, "men of Paris").await;
    alice.say(&room, "nothing of the kind").await;
    let found = search(&bob, json!({ "search_term": "paris men" })).await;
    let mut both = ids(&found);
    both.sort();
    let mut expected = [one.clone(), two.clone()];
    expected.sort();
    assert_eq!((&both[..], &found["count"]), (&expected[..], &json!(2)));
    let mut words: Vec<_> = found["highlights"].as_array().expect("a list").iter().collect();
    words.sort_by_key(|word| word.to_string());
    assert_eq!(words, [&json!("men"), &json!("paris")]);
    assert_eq!(recent(&bob, "martians").await, [one]);
    assert_eq!(recent(&alice, "PARIS").await.len(), 2);
    let found = search(&bob, json!({ "search_term": "kangaroo" })).await;
    assert_eq!((&found["results"], &found["count"]), (&json!([]), &json!(0)));
    assert_eq!(found.get("next_batch"), None);
}

#[tokio::test]
async fn a_result_is_the_event_with_its_rank() {
    let (alice, bob, room) = two_in_a_room().await;
    let id = alice.say(&room, "the yellow submarine").await;
    let found = search(&bob, json!({ "search_term": "submarine" })).await;
    let result = &found["results"][0];
    assert!(result["rank"].is_number(), "{result}");
    let event = &result["result"];
    assert_eq!((&event["event_id"], &event["room_id"]), (&json!(id), &json!(room)), "{event}");
    assert_eq!((&event["sender"], &event["type"]), (&json!(alice.id), &json!("m.room.message")), "{event}");
    assert_eq!(event["content"], json!({ "msgtype": "m.text", "body": "the yellow submarine" }));
    assert!(event["origin_server_ts"].is_u64() && event["unsigned"]["age"].is_u64(), "{event}");
}

#[tokio::test]
async fn a_message_is_found_as_soon_as_it_is_sent() {
    let (alice, bob, room) = two_in_a_room().await;
    for n in 0..5 {
        let id = alice.say(&room, &format!("hurry{n} now")).await;
        assert_eq!(recent(&bob, &format!("hurry{n}")).await, [id]);
    }
}

#[tokio::test]
async fn the_keys_say_where_to_search() {
    let (alice, bob, room) = two_in_a_room().await;
    let name = alice.set_state(&room, "m.room.name", "", json!({ "name": "Lighthouse keepers" })).await;
    let topic = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "What a lighthouse says" })).await;
    let said = alice.say(&room, "in the lighthouse").await;
    assert_eq!(recent(&bob, "lighthouse").await, [&*said, &*topic, &*name]);
    for (key, id) in [("content.body", &said), ("content.name", &name), ("content.topic", &topic)] {
        let found = search(&bob, json!({ "search_term": "lighthouse", "keys": [key] })).await;
        assert_eq!(ids(&found), [&**id], "{key}");
    }
    let keys = json!(["content.name", "content.topic"]);
    let found = search(&bob, json!({ "search_term": "lighthouse", "keys": keys, "order_by": "recent" })).await;
    assert_eq!(ids(&found), [&*topic, &*name]);
    let wrong = json!({ "search_categories": { "room_events": { "search_term": "a", "keys": ["content.url"] } } });
    let answer = bob.post("/_matrix/client/v3/search", &[]).json(wrong).await;
    differs(
        "client-server-api#post_matrixclientv3search",
        || drop(answer.clone().error(400, "M_INVALID_PARAM")),
        || drop(answer.clone().ok()),
    );
}

#[tokio::test]
async fn a_topic_is_found_by_its_text_representation() {
    let (alice, bob, room) = two_in_a_room().await;
    let rich = json!({ "m.text": [
        { "body": "<b>zebra</b> crossing", "mimetype": "text/html" },
        { "body": "zebra parade", "mimetype": "text/plain" },
    ] });
    let topic = alice.set_state(&room, "m.room.topic", "", json!({ "topic": "giraffe", "m.topic": rich })).await;
    assert_eq!(recent(&bob, "parade").await, [&*topic]);
    assert_eq!(recent(&bob, "crossing").await, [] as [&str; 0]);
    let by_plain = recent(&bob, "giraffe").await;
    differs(
        "client-server-api#room_events",
        || assert_eq!(by_plain, [&*topic]),
        // It has one text or the other.
        || assert!(by_plain.len() <= 1, "{by_plain:?}"),
    );
}

#[tokio::test]
async fn a_filter_says_which_events_are_found() {
    let (alice, bob, room) = two_in_a_room().await;
    let other = alice.public_room().await;
    bob.join(&other).await;
    let first = alice.say(&room, "filtered one").await;
    let second = bob.say(&room, "filtered two").await;
    let third = alice.say(&other, "filtered three").await;
    let name = alice.set_state(&other, "m.room.name", "", json!({ "name": "filtered room" })).await;
    for (filter, expected) in [
        (json!({}), vec![&name, &third, &second, &first]),
        (json!({ "rooms": [room] }), vec![&second, &first]),
        (json!({ "not_rooms": [room] }), vec![&name, &third]),
        (json!({ "senders": [bob.id] }), vec![&second]),
        (json!({ "not_senders": [alice.id] }), vec![&second]),
        (json!({ "types": ["m.room.message"] }), vec![&third, &second, &first]),
        (json!({ "not_types": ["m.room.message"] }), vec![&name]),
        (json!({ "limit": 1 }), vec![&name]),
    ] {
        let criteria = json!({ "search_term": "filtered", "order_by": "recent", "filter": filter });
        assert_eq!(ids(&search(&alice, criteria).await).iter().collect::<Vec<_>>(), expected, "{filter}");
    }
}

#[tokio::test]
async fn results_are_ordered_by_rank_or_by_time() {
    let (alice, bob, room) = two_in_a_room().await;
    let best = alice.say(&room, "pelican pelican pelican").await;
    let worst = alice.say(&room, "one pelican among very many other words that somebody wrote").await;
    for order in [json!({ "search_term": "pelican" }), json!({ "search_term": "pelican", "order_by": "rank" })] {
        let found = search(&bob, order).await;
        assert_eq!(ids(&found), [&*best, &*worst]);
        let rank = |at: usize| found["results"][at]["rank"].as_f64().expect("a number");
        assert!(rank(0) > rank(1), "{found}");
    }
    assert_eq!(recent(&bob, "pelican").await, [&*worst, &*best]);
}

#[tokio::test]
async fn the_context_of_a_result() {
    let (alice, bob, room) = two_in_a_room().await;
    alice
        .put("/_matrix/client/v3/profile/{userId}/{keyName}", &[&alice.id, "displayname"])
        .json(json!({ "displayname": "Alice L" }))
        .await
        .ok();
    let mut said = Vec::new();
    for n in 0..15 {
        let sender = if n % 2 == 0 { &alice } else { &bob };
        said.push(sender.say(&room, if n == 7 { "needle" } else { "hay" }).await);
    }
    let context = async |event_context: Value| {
        let criteria = json!({ "search_term": "needle", "event_context": event_context });
        search(&alice, criteria).await["results"][0]["context"].clone()
    };
    let around = context(json!({ "before_limit": 2, "after_limit": 1 })).await;
    assert_eq!(event_ids(&around["events_before"]), [&*said[6], &*said[5]]);
    assert_eq!(event_ids(&around["events_after"]), [&*said[8]]);
    assert_eq!(around.get("profile_info"), None);
    for (from, dir, expected) in [("start", "b", &said[4]), ("end", "f", &said[9])] {
        let query = [("dir", dir), ("from", around[from].as_str().expect("a token")), ("limit", "1")];
        let page = alice.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&room]).query(&query).await.ok();
        assert_eq!(event_ids(&page["chunk"]), [&**expected], "{from}");
    }
    let five = context(json!({})).await;
    assert_eq!(event_ids(&five["events_before"]).len(), 5);
    assert_eq!(event_ids(&five["events_after"]).len(), 5);
    let none = context(json!({ "before_limit": 0, "after_limit": 0 })).await;
    assert_eq!((&none["events_before"], &none["events_after"]), (&json!([]), &json!([])));
    let profiles = context(json!({ "include_profile": true })).await["profile_info"].clone();
    assert_eq!(profiles[&alice.id]["displayname"], "Alice L", "{profiles}");
    assert!(profiles[&bob.id]["displayname"].is_string(), "{profiles}");
    let plain = search(&alice, json!({ "search_term": "needle" })).await;
    assert!(plain["results"][0]["context"].get("events_before").is_none(), "{plain}");
}

#[tokio::test]
async fn the_state_of_the_rooms_of_the_results() {
    let (alice, bob, room) = two_in_a_room().await;
    alice.public_room().await;
    alice.say(&room, "stately").await;
    let found = search(&bob, json!({ "search_term": "stately", "include_state": true })).await;
    let state = found["state"].as_object().expect("rooms");
    assert_eq!(state.keys().collect::<Vec<_>>(), [&room]);
    let events = state[&room].as_array().expect("events");
    let has = |kind: &str, key: &str| events.iter().any(|event| event["type"] == kind && event["state_key"] == key);
    assert!(has("m.room.create", "") && has("m.room.member", &bob.id), "{events:?}");
    let found = search(&bob, json!({ "search_term": "stately", "include_state": false })).await;
    assert_eq!(found.get("state"), None);
}

#[tokio::test]
async fn results_are_grouped() {
    let (alice, bob, room) = two_in_a_room().await;
    let other = alice.public_room().await;
    let first = alice.say(&room, "grouped").await;
    let second = bob.say(&room, "grouped").await;
    let third = alice.say(&other, "grouped").await;
    let sorted = |ids: &Value| {
        let mut ids: Vec<_> = ids.as_array().expect("ids").clone();
        ids.sort_by_key(Value::to_string);
        ids
    };
    let group_by = json!([{ "key": "room_id" }, { "key": "sender" }]);
    let criteria = json!({ "search_term": "grouped", "groupings": { "group_by": group_by } });
    let groups = search(&alice, criteria).await["groups"].clone();
    for (key, value, ids) in [
        ("room_id", &room, json!([first, second])),
        ("room_id", &other, json!([third])),
        ("sender", &alice.id, json!([first, third])),
        ("sender", &bob.id, json!([second])),
    ] {
        assert_eq!(sorted(&groups[key][value]["results"]), sorted(&ids), "{groups}");
        assert!(groups[key][value]["order"].is_number(), "{groups}");
    }
    let group_by = json!([{ "key": "room_id" }]);
    let criteria = json!({ "search_term": "grouped", "groupings": { "group_by": group_by } });
    let groups = search(&alice, criteria).await["groups"].clone();
    assert_eq!(groups.as_object().expect("groups").keys().collect::<Vec<_>>(), ["room_id"]);
    let plain = search(&alice, json!({ "search_term": "grouped" })).await;
    assert_eq!(plain.get("groups"), None);
}

#[tokio::test]
async fn results_come_in_pages() {
    let (alice, bob, room) = two_in_a_room().await;
    let other = alice.public_room().await;
    bob.join(&other).await;
    let mut said = Vec::new();
    for n in 0..7 {
        said.insert(0, alice.say([&room, &other][n % 2], "paged").await);
    }
    let criteria = json!({ "search_term": "paged", "order_by": "recent", "filter": { "limit": 3 },
        "groupings": { "group_by": [{ "key": "room_id" }] } });
    let first = search(&bob, criteria.clone()).await;
    assert_eq!(ids(&first), said[..3]);
    let (mut seen, mut page) = (ids(&first), first.clone());
    while let Some(next) = page["next_batch"].as_str().map(str::to_owned) {
        page = search_from(&bob, &[("next_batch", &next)], criteria.clone()).await;
        seen.extend(ids(&page));
        assert!(seen.len() <= said.len(), "{seen:?}");
    }
    assert_eq!(seen, said);
    // A token of a group has more of the group alone.
    let within = first["groups"]["room_id"][&room]["next_batch"].as_str().expect("a token");
    let rest = search_from(&bob, &[("next_batch", within)], criteria).await;
    let mut of_room: Vec<_> = said.iter().step_by(2).cloned().collect();
    of_room.retain(|id| !ids(&first).contains(id));
    assert_eq!(ids(&rest), of_room);
}

#[tokio::test]
async fn a_room_that_was_left_is_searched_up_to_then() {
    let (alice, bob, room) = two_in_a_room().await;
    let before = alice.say(&room, "farewell before").await;
    bob.leave(&room).await;
    alice.say(&room, "farewell after").await;
    let found = recent(&bob, "farewell").await;
    differs(
        "client-server-api#server-side-search",
        || assert_eq!(found, [&*before]),
        || assert_eq!(found, [] as [&str; 0]),
    );
    bob.post("/_matrix/client/v3/rooms/{roomId}/forget", &[&room]).json(json!({})).await.ok();
    assert_eq!(recent(&bob, "farewell").await, [] as [&str; 0]);
    let carol = shared().user("carol").await;
    assert_eq!(recent(&carol, "farewell").await, [] as [&str; 0]);
}

#[tokio::test]
async fn what_one_may_not_read_is_not_found() {
    let (alice, carol) = (shared().user("alice").await, shared().user("carol").await);
    let room = alice.public_room().await;
    alice.set_state(&room, "m.room.history_visibility", "", json!({ "history_visibility": "joined" })).await;
    let hidden = alice.say(&room, "covert hidden").await;
    carol.join(&room).await;
    let seen = alice.say(&room, "covert seen").await;
    assert_eq!(recent(&carol, "covert").await, [&*seen]);
    assert_eq!(recent(&alice, "covert").await, [&*seen, &*hidden]);
    let ignored = json!({ "ignored_users": { &alice.id: {} } });
    let path = "/_matrix/client/v3/user/{userId}/account_data/{type}";
    carol.put(path, &[&carol.id, "m.ignored_user_list"]).json(ignored).await.ok();
    assert_eq!(recent(&carol, "covert").await, [] as [&str; 0]);
}

#[tokio::test]
async fn what_was_redacted_is_not_found() {
    let (alice, bob, room) = two_in_a_room().await;
    let kept = alice.say(&room, "regret kept").await;
    let taken = alice.say(&room, "regret taken").await;
    assert_eq!(recent(&bob, "regret").await, [&*taken, &*kept]);
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    alice.put(path, &[&room, &taken, "regret"]).json(json!({})).await.ok();
    assert_eq!(recent(&bob, "regret").await, [&*kept]);
}

#[tokio::test]
async fn an_edit_is_found_by_the_new_text() {
    let (alice, bob, room) = two_in_a_room().await;
    let said = alice.say(&room, "mispelt").await;
    let content = json!({ "msgtype": "m.text", "body": "* misspelt", "m.new_content": { "msgtype": "m.text",
        "body": "misspelt" }, "m.relates_to": { "rel_type": "m.replace", "event_id": said } });
    let edit = alice.send(&room, "m.room.message", content).await;
    assert_eq!(recent(&bob, "misspelt").await, [edit]);
}

#[tokio::test]
async fn an_encrypted_room_is_not_searched() {
    let (alice, bob, room) = two_in_a_room().await;
    alice.say(&room, "cleartext").await;
    assert_eq!(recent(&bob, "cleartext").await.len(), 1);
    let algorithm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    alice.set_state(&room, "m.room.encryption", "", algorithm).await;
    let found = recent(&bob, "cleartext").await;
    differs("client-server-api#room_events", || assert_eq!(found, [] as [&str; 0]), || assert_eq!(found.len(), 1));
}

#[tokio::test]
async fn a_search_that_is_none_is_refused() {
    let alice = shared().user("alice").await;
    let ask = async |criteria: Value| {
        let body = json!({ "search_categories": { "room_events": criteria } });
        alice.post("/_matrix/client/v3/search", &[]).json(body).await
    };
    for (criteria, errcode) in [
        (json!({}), "M_BAD_JSON"),
        (json!({ "search_term": "a", "order_by": "chance" }), "M_INVALID_PARAM"),
        (json!({ "search_term": "a", "groupings": { "group_by": [{ "key": "type" }] } }), "M_INVALID_PARAM"),
    ] {
        let answer = ask(criteria).await;
        differs(
            "client-server-api#common-error-codes",
            || drop(answer.clone().error(400, errcode)),
            || drop(answer.clone().error(400, "M_UNKNOWN")),
        );
    }
    let plain = json!({ "search_categories": { "room_events": { "search_term": "a" } } });
    let answer = alice.post("/_matrix/client/v3/search", &[]).query(&[("next_batch", "nonsense")]).json(plain).await;
    differs(
        "client-server-api#common-error-codes",
        || drop(answer.clone().error(400, "M_INVALID_PARAM")),
        || drop(answer.clone().error(400, "M_UNKNOWN")),
    );
    // No category is required.
    let answer = alice.post("/_matrix/client/v3/search", &[]).json(json!({ "search_categories": {} })).await;
    differs(
        "client-server-api#post_matrixclientv3search",
        || assert_eq!(answer.clone().ok(), json!({ "search_categories": {} })),
        || drop(answer.clone().error(400, "M_UNKNOWN")),
    );
    let answer = alice.post("/_matrix/client/v3/search", &[]).json(json!({})).await;
    assert_eq!(answer.status, 400, "{answer}");
    shared().client().post("/_matrix/client/v3/search", &[]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
}
