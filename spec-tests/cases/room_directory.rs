//! The published room directory and room summaries. Client-server API, "Published room directory", "Room Summaries".

use std::time::Duration;

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::{SERVER_NAME, unique};

const LISTED: &str = "/_matrix/client/v3/directory/list/room/{roomId}";
const ROOMS: &str = "/_matrix/client/v3/publicRooms";
const SUMMARY: &str = "/_matrix/client/v1/room_summary/{roomIdOrAlias}";
/// A server may take its time to list a change.
const LIMIT: Duration = Duration::from_secs(20);

/// A published room whose name has a word of its own.
async fn published(user: &User, word: &str) -> String {
    user.create_room(json!({ "visibility": "public", "preset": "public_chat", "name": format!("The {word} room") }))
        .await
}

fn ids(page: &Value) -> Vec<&str> {
    page["chunk"].as_array().expect("a list of rooms").iter().filter_map(|room| room["room_id"].as_str()).collect()
}

fn search(term: &str) -> Value {
    json!({ "filter": { "generic_search_term": term } })
}

/// Searches until the rooms found are as wanted.
async fn until(user: &User, term: &str, wanted: impl Fn(&[&str]) -> bool) -> Value {
    let mut last = Value::Null;
    let look = async {
        loop {
            last = user.post(ROOMS, &[]).json(search(term)).await.ok();
            if wanted(&ids(&last)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(LIMIT, look).await;
    assert!(found.is_ok(), "{term} finds {last}");
    last
}

/// A word that no other room has, nor the beginning of one.
fn distinct(name: &str) -> String {
    unique(name) + "z"
}

#[tokio::test]
async fn a_room_is_published_and_taken_out() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let word = distinct("word");
    let body = json!({ "preset": "public_chat", "name": format!("{word} room") });
    let room = alice.create_room(body).await;
    let shown = alice.get("/_matrix/client/v3/directory/list/room/{roomId}", &[&room]).await.ok();
    assert_eq!(shown["visibility"], "private");
    assert!(ids(&bob.post(ROOMS, &[]).json(search(&word)).await.ok()).is_empty());
    let path = "/_matrix/client/v3/directory/list/room/{roomId}";
    alice
        .put("/_matrix/client/v3/directory/list/room/{roomId}", &[&room])
        .json(json!({ "visibility": "public" }))
        .await
        .ok();
    assert_eq!(shared().client().get(path, &[&room]).await.ok()["visibility"], "public");
    until(&bob, &word, |ids| ids == [&room]).await;
    alice.put(path, &[&room]).json(json!({ "visibility": "private" })).await.ok();
    until(&bob, &word, |ids| ids.is_empty()).await;
    // Public is the default.
    alice.put(path, &[&room]).json(json!({})).await.ok();
    assert_eq!(alice.get(path, &[&room]).await.ok()["visibility"], "public");
}

#[tokio::test]
async fn a_room_is_born_published() {
    let alice = shared().user("alice").await;
    let room = published(&alice, &unique("word")).await;
    assert_eq!(alice.get(LISTED, &[&room]).await.ok()["visibility"], "public");
}

#[tokio::test]
async fn who_may_not_set_the_main_alias_publishes_nothing() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.put(LISTED, &[&room]).json(json!({ "visibility": "public" })).await.error(403, "M_FORBIDDEN");
    bob.join(&room).await;
    bob.put(LISTED, &[&room]).json(json!({ "visibility": "public" })).await.error(403, "M_FORBIDDEN");
    let answer = alice.without_token().put(LISTED, &[&room]).json(json!({ "visibility": "public" })).await;
    answer.error(401, "M_MISSING_TOKEN");
    assert_eq!(alice.get(LISTED, &[&room]).await.ok()["visibility"], "private");
}

#[tokio::test]
async fn a_visibility_is_public_or_private() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for visibility in [json!("secret"), json!(7)] {
        let answer = alice.put(LISTED, &[&room]).json(json!({ "visibility": visibility })).await;
        assert_eq!(answer.status, 400, "{answer}");
    }
}

#[tokio::test]
async fn the_visibility_of_an_unknown_room_is_not_found() {
    let alice = shared().user("alice").await;
    let nowhere = format!("!nowhere:{SERVER_NAME}");
    alice.get(LISTED, &[&nowhere]).await.error(404, "M_NOT_FOUND");
    let answer = alice.put(LISTED, &[&nowhere]).json(json!({ "visibility": "public" })).await;
    differs(
        "client-server-api#put_matrixclientv3directorylistroomroomid",
        || answer.clone().error(404, "M_NOT_FOUND"),
        || answer.clone().error(400, "M_UNKNOWN"),
    );
}

#[tokio::test]
async fn the_directory_says_what_rooms_are_like() {
    let alice = shared().user("alice").await;
    let (word, name) = (distinct("word"), unique("alias"));
    let state = json!([
        { "type": "m.room.avatar", "content": { "url": "mxc://depesche.test/abc" } },
        { "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } },
        { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
    ]);
    let body = json!({
        "visibility": "public", "preset": "public_chat", "name": word, "topic": "of all kinds",
        "room_alias_name": name, "initial_state": state, "creation_content": { "type": "org.example.kind" },
    });
    let room = alice.create_room(body).await;
    let page = until(&alice, &word, |ids| ids == [&room]).await;
    let shown = &page["chunk"][0];
    for (field, value) in [
        ("room_id", json!(room)),
        ("name", json!(word)),
        ("topic", json!("of all kinds")),
        ("avatar_url", json!("mxc://depesche.test/abc")),
        ("canonical_alias", json!(format!("#{name}:{SERVER_NAME}"))),
        ("num_joined_members", json!(1)),
        ("world_readable", json!(true)),
        ("guest_can_join", json!(true)),
        ("room_type", json!("org.example.kind")),
    ] {
        assert_eq!(shown[field], value, "{field} in {page}");
    }
    assert_eq!(shown["join_rule"], "public", "{page}");
    assert!(page["total_room_count_estimate"].as_u64().is_some_and(|count| count > 0), "{page}");
}

#[tokio::test]
async fn a_search_looks_at_name_topic_and_alias() {
    let alice = shared().user("alice").await;
    let (name, topic, alias) = (distinct("name"), distinct("topic"), distinct("alias"));
    let body = json!({
        "visibility": "public", "preset": "public_chat", "name": format!("A {name}"), "topic": format!("on {topic}"),
        "room_alias_name": alias
    });
    let room = alice.create_room(body).await;
    for term in [&name, &topic, &alias, &name.to_uppercase()] {
        until(&alice, term, |ids| ids == [&room]).await;
    }
    assert!(ids(&alice.post(ROOMS, &[]).json(search(&unique("nothing"))).await.ok()).is_empty());
}

#[tokio::test]
async fn a_search_can_be_for_types() {
    let alice = shared().user("alice").await;
    let word = distinct("word");
    let plain = published(&alice, &word).await;
    let body = json!({
        "visibility": "public", "preset": "public_chat", "name": format!("{word} space"),
        "creation_content": { "type": "m.space" }
    });
    let space = alice.create_room(body).await;
    until(&alice, &word, |ids| ids.len() == 2).await;
    let found = async |types: Value| {
        let filter = json!({ "filter": { "generic_search_term": word, "room_types": types } });
        let page = alice.post(ROOMS, &[]).json(filter).await.ok();
        let mut found: Vec<String> = ids(&page).into_iter().map(str::to_owned).collect();
        found.sort_unstable();
        found
    };
    assert_eq!(found(json!([null])).await, std::slice::from_ref(&plain));
    assert_eq!(found(json!(["m.space"])).await, std::slice::from_ref(&space));
    let mut both = vec![plain, space];
    both.sort_unstable();
    assert_eq!(found(json!([null, "m.space"])).await, both);
}

#[tokio::test]
async fn the_directory_is_paged_both_ways() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let word = distinct("word");
    let mut rooms = Vec::new();
    for _ in 0..3 {
        rooms.push(published(&alice, &word).await);
    }
    bob.join(&rooms[1]).await;
    // Those with most members come first.
    until(&alice, &word, |ids| ids.len() == 3 && ids[0] == rooms[1]).await;
    let page = async |since: Option<&Value>| {
        let mut body = json!({ "limit": 2, "filter": { "generic_search_term": word } });
        if let Some(since) = since {
            body["since"] = since.clone();
        }
        alice.post(ROOMS, &[]).json(body).await.ok()
    };
    let first = page(None).await;
    let second = page(Some(&first["next_batch"])).await;
    assert!(first.get("prev_batch").is_none() && second.get("next_batch").is_none(), "{first} {second}");
    assert_eq!(ids(&first)[0], rooms[1]);
    let mut seen = [ids(&first), ids(&second)].concat();
    assert_eq!(seen.len(), 3, "{first} {second}");
    seen.sort_unstable();
    rooms.sort_unstable();
    assert_eq!(seen, rooms);
    assert_eq!(ids(&page(Some(&second["prev_batch"])).await), ids(&first));
}

#[tokio::test]
async fn the_directory_is_read_without_a_filter() {
    let alice = shared().user("alice").await;
    let word = distinct("word");
    let (first, second) = (published(&alice, &word).await, published(&alice, &word).await);
    until(&alice, &word, |ids| ids.len() == 2).await;
    let page = shared().client().get("/_matrix/client/v3/publicRooms", &[]).query(&[("limit", "1")]).await.ok();
    assert_eq!(ids(&page).len(), 1);
    let unlimited = alice.get(ROOMS, &[]).query(&[("limit", "0")]).await.ok();
    assert!(ids(&unlimited).len() >= 2, "{unlimited}");
    let mut seen: Vec<String> = ids(&page).into_iter().map(str::to_owned).collect();
    let mut next = page["next_batch"].as_str().map(str::to_owned);
    while let Some(since) = next {
        let page = alice.get(ROOMS, &[]).query(&[("limit", "100"), ("since", &since)]).await.ok();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        next = page["next_batch"].as_str().map(str::to_owned);
    }
    assert!(seen.contains(&first) && seen.contains(&second));
}

#[tokio::test]
async fn a_token_of_the_directory_is_one_of_the_server() {
    let alice = shared().user("alice").await;
    let answer = alice.get(ROOMS, &[]).query(&[("since", "nonsense")]).await;
    differs(
        "client-server-api#get_matrixclientv3publicrooms",
        || answer.clone().error(400, "M_INVALID_PARAM"),
        || answer.clone().status(500),
    );
}

#[tokio::test]
async fn a_filtered_directory_needs_a_token() {
    shared().client().post(ROOMS, &[]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn there_is_no_directory_of_a_server_that_cannot_be_asked() {
    let alice = shared().user("alice").await;
    let answer = alice.get(ROOMS, &[]).query(&[("server", "elsewhere.test")]).await;
    assert!(answer.status >= 400 && answer.body["errcode"].is_string(), "{answer}");
    let own = alice.get(ROOMS, &[]).query(&[("server", SERVER_NAME)]).await.ok();
    assert!(own["chunk"].is_array());
}

#[tokio::test]
async fn no_other_network_has_rooms() {
    let alice = shared().user("alice").await;
    let word = distinct("word");
    let room = published(&alice, &word).await;
    until(&alice, &word, |ids| ids == [&room]).await;
    let mut body = search(&word);
    // The specification leaves open what an id looks like: Synapse refuses those that are not two parts.
    body["third_party_instance_id"] = "irc|example".into();
    assert!(ids(&alice.post(ROOMS, &[]).json(body).await.ok()).is_empty());
    let mut body = search(&word);
    body["include_all_networks"] = true.into();
    assert_eq!(ids(&alice.post(ROOMS, &[]).json(body).await.ok()), [&room]);
}

#[tokio::test]
async fn a_summary_says_what_a_room_is_like() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let name = unique("alias");
    let state = json!([{ "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" } }]);
    let body = json!({
        "preset": "public_chat", "name": "Hall", "topic": "talk", "room_alias_name": name, "initial_state": state,
        "room_version": "11", "creation_content": { "type": "m.space" }
    });
    let room = alice.create_room(body).await;
    let alias = format!("#{name}:{SERVER_NAME}");
    for named in [&room, &alias] {
        let summary = bob.get("/_matrix/client/v1/room_summary/{roomIdOrAlias}", &[named]).await.ok();
        for (field, value) in [
            ("room_id", json!(room)),
            ("name", json!("Hall")),
            ("topic", json!("talk")),
            ("canonical_alias", json!(alias)),
            ("num_joined_members", json!(1)),
            ("world_readable", json!(false)),
            ("guest_can_join", json!(false)),
            ("room_type", json!("m.space")),
            ("room_version", json!("11")),
            ("encryption", json!("m.megolm.v1.aes-sha2")),
            ("membership", json!("leave")),
        ] {
            assert_eq!(summary[field], value, "{field} in {summary}");
        }
    }
    assert_eq!(alice.get(SUMMARY, &[&room]).await.ok()["membership"], "join");
    let stranger = shared().client().get(SUMMARY, &[&room]).await.ok();
    assert!(stranger["name"] == "Hall" && stranger.get("membership").is_none(), "{stranger}");
}

#[tokio::test]
async fn a_summary_is_for_those_who_may_join_or_read() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat", "name": "Study" })).await;
    bob.get(SUMMARY, &[&room]).await.error(404, "M_NOT_FOUND");
    shared().client().get(SUMMARY, &[&room]).await.error(404, "M_NOT_FOUND");
    alice.invite(&room, &bob).await;
    let summary = bob.get(SUMMARY, &[&room]).await.ok();
    assert_eq!((&summary["membership"], &summary["join_rule"]), (&json!("invite"), &json!("invite")));
    let nowhere = format!("!nowhere:{SERVER_NAME}");
    let unknown = alice.get(SUMMARY, &[&nowhere]).await;
    // A room of no server that could be asked.
    assert!([400, 404].contains(&unknown.status), "{unknown}");
}

#[tokio::test]
async fn a_summary_of_a_restricted_room_is_for_members_of_those_that_it_lets_in() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let club = alice.create_room(json!({ "preset": "private_chat" })).await;
    let rule = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": club }] });
    let state = json!([{ "type": "m.room.join_rules", "content": rule }]);
    let room = alice.create_room(json!({ "initial_state": state })).await;
    bob.get(SUMMARY, &[&room]).await.error(404, "M_NOT_FOUND");
    alice.invite(&club, &bob).await;
    bob.join(&club).await;
    let summary = bob.get(SUMMARY, &[&room]).await.ok();
    assert_eq!((&summary["join_rule"], &summary["allowed_room_ids"]), (&json!("restricted"), &json!([club])));
}

#[tokio::test]
async fn a_summary_has_the_old_topic_where_the_new_one_cannot_be_read() {
    let alice = shared().user("alice").await;
    let room = alice.public_room().await;
    for odd in [json!("odd"), json!({ "m.text": "odd" }), json!({ "m.text": [{ "body": 1 }] })] {
        alice.set_state(&room, "m.room.topic", "", json!({ "topic": "talk", "m.topic": odd })).await;
        let read = async || alice.get(SUMMARY, &[&room]).await.ok()["topic"] == "talk";
        assert!(read().await, "{odd}");
        alice.set_state(&room, "m.room.topic", "", json!({ "topic": "other" })).await;
    }
}

#[tokio::test]
async fn a_summary_tells_of_no_join_rule_that_the_version_does_not_know() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    for (version, rule, known) in [("6", "knock", false), ("7", "knock", true), ("9", "knock_restricted", false)] {
        let state = json!([{ "type": "m.room.join_rules", "content": { "join_rule": rule } }]);
        let room = alice.create_room(json!({ "room_version": version, "initial_state": state })).await;
        let answer = bob.get("/_matrix/client/v1/room_summary/{roomIdOrAlias}", &[&room]).await;
        if known {
            assert_eq!(answer.ok()["join_rule"], rule);
        } else {
            answer.error(404, "M_NOT_FOUND");
        }
    }
}
