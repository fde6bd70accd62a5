//! Spaces. Client-server API, "Spaces": which rooms are below one.

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::SERVER_NAME;

const HIERARCHY: &str = "/_matrix/client/v1/rooms/{roomId}/hierarchy";

async fn space(user: &User, name: &str) -> String {
    let body = json!({ "preset": "public_chat", "name": name, "creation_content": { "type": "m.space" } });
    user.create_room(body).await
}

async fn room(user: &User, name: &str) -> String {
    user.create_room(json!({ "preset": "public_chat", "name": name })).await
}

/// Puts a room into a space, with what else is to be said of it.
async fn put(user: &User, space: &str, room: &str, more: Value) {
    let mut content = more;
    content["via"] = json!([SERVER_NAME]);
    set(user, space, room, content).await;
}

async fn set(user: &User, space: &str, room: &str, content: Value) {
    let path = "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}";
    user.put(path, &[space, "m.space.child", room]).json(content).await.ok();
}

async fn page(user: &User, room: &str, query: &[(&str, &str)]) -> Value {
    user.get("/_matrix/client/v1/rooms/{roomId}/hierarchy", &[room]).query(query).await.ok()
}

fn ids(page: &Value) -> Vec<&str> {
    page["rooms"].as_array().expect("a list of rooms").iter().filter_map(|room| room["room_id"].as_str()).collect()
}

#[tokio::test]
async fn a_space_shows_its_rooms_in_order_and_into_depth() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let (top, inner) = (space(&alice, "Top").await, space(&alice, "Inner").await);
    let (first, last, deep) = (room(&alice, "first").await, room(&alice, "last").await, room(&alice, "deep").await);
    put(&alice, &top, &last, json!({})).await;
    put(&alice, &top, &inner, json!({ "order": "b" })).await;
    put(&alice, &top, &first, json!({ "order": "a" })).await;
    put(&alice, &inner, &deep, json!({})).await;
    let all = page(&bob, &top, &[]).await;
    assert_eq!(ids(&all), [&top, &first, &inner, &deep, &last], "{all}");
    assert!(all.get("next_batch").is_none(), "{all}");
    let shown = &all["rooms"][0];
    for (field, value) in [
        ("name", json!("Top")),
        ("room_type", json!("m.space")),
        ("num_joined_members", json!(1)),
        ("world_readable", json!(false)),
        ("guest_can_join", json!(false)),
    ] {
        assert_eq!(shown[field], value, "{field} in {shown}");
    }
    assert_eq!(shown["join_rule"], "public", "{shown}");
    let children = shown["children_state"].as_array().expect("its children");
    let keys: Vec<_> = children.iter().filter_map(|child| child["state_key"].as_str()).collect();
    assert_eq!(keys, [&first, &inner, &last]);
    assert_eq!(children[0]["type"], "m.space.child");
    assert_eq!(children[0]["sender"], alice.id);
    assert_eq!(children[0]["content"], json!({ "order": "a", "via": [SERVER_NAME] }));
    assert!(children[0]["origin_server_ts"].is_u64(), "{shown}");
    // Only spaces have children.
    put(&alice, &last, &deep, json!({})).await;
    assert_eq!(page(&bob, &last, &[]).await["rooms"][0]["children_state"], json!([]));
}

#[tokio::test]
async fn a_space_shows_what_its_viewer_may_join_or_read() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let top = space(&alice, "Top").await;
    let private = alice.create_room(json!({ "preset": "private_chat" })).await;
    let invited = alice.create_room(json!({ "preset": "private_chat", "invite": [bob.id] })).await;
    let ruled = |content: Value| json!({ "initial_state": [{ "type": "m.room.join_rules", "content": content }] });
    let knocked = alice.create_room(ruled(json!({ "join_rule": "knock" }))).await;
    let allow = json!([{ "type": "m.room_membership", "room_id": top }]);
    let restricted = alice.create_room(ruled(json!({ "join_rule": "restricted", "allow": allow }))).await;
    let state = json!([{ "type": "m.room.history_visibility", "content": { "history_visibility": "world_readable" } }]);
    let readable = alice.create_room(json!({ "preset": "private_chat", "initial_state": state })).await;
    for (order, room) in [&private, &invited, &knocked, &restricted, &readable].into_iter().enumerate() {
        put(&alice, &top, room, json!({ "order": order.to_string() })).await;
    }
    put(&alice, &top, &format!("!nowhere:{SERVER_NAME}"), json!({ "order": "9" })).await;
    assert_eq!(ids(&page(&alice, &top, &[]).await), [&top, &private, &invited, &knocked, &restricted, &readable]);
    assert_eq!(ids(&page(&bob, &top, &[]).await), [&top, &invited, &knocked, &readable]);
    bob.join(&top).await;
    let all = page(&bob, &top, &[]).await;
    assert_eq!(ids(&all), [&top, &invited, &knocked, &restricted, &readable]);
    assert_eq!(all["rooms"][3]["join_rule"], "restricted");
    assert_eq!(all["rooms"][3]["allowed_room_ids"], json!([top]));
}

#[tokio::test]
async fn a_room_that_was_taken_out_is_not_shown_and_a_loop_ends() {
    let alice = shared().user("alice").await;
    let (top, inner) = (space(&alice, "Top").await, space(&alice, "Inner").await);
    let (gone, never) = (room(&alice, "gone").await, room(&alice, "never").await);
    put(&alice, &top, &inner, json!({})).await;
    put(&alice, &inner, &top, json!({})).await;
    put(&alice, &top, &gone, json!({})).await;
    assert_eq!(ids(&page(&alice, &top, &[]).await), [&top, &inner, &gone]);
    set(&alice, &top, &gone, json!({})).await;
    set(&alice, &top, &never, json!({ "via": "not a list" })).await;
    let all = page(&alice, &top, &[]).await;
    assert_eq!(ids(&all), [&top, &inner]);
    assert_eq!(all["rooms"][0]["children_state"].as_array().map(Vec::len), Some(1), "{all}");
}

#[tokio::test]
async fn a_child_that_says_nonsense_of_itself_is_a_child() {
    let alice = shared().user("alice").await;
    let (top, one, two) = (space(&alice, "Top").await, room(&alice, "one").await, room(&alice, "two").await);
    put(&alice, &top, &one, json!({ "order": "a", "suggested": "yes" })).await;
    put(&alice, &top, &two, json!({ "order": 2, "suggested": null })).await;
    assert_eq!(ids(&page(&alice, &top, &[]).await), [&top, &one, &two]);
}

#[tokio::test]
async fn a_hierarchy_goes_as_deep_and_as_far_as_asked() {
    let alice = shared().user("alice").await;
    let (top, inner) = (space(&alice, "Top").await, space(&alice, "Inner").await);
    let (deep, plain) = (room(&alice, "deep").await, room(&alice, "plain").await);
    put(&alice, &top, &inner, json!({ "order": "a", "suggested": true })).await;
    put(&alice, &top, &plain, json!({ "order": "b" })).await;
    put(&alice, &inner, &deep, json!({ "suggested": true })).await;
    assert_eq!(ids(&page(&alice, &top, &[("max_depth", "0")]).await), [&top]);
    assert_eq!(ids(&page(&alice, &top, &[("max_depth", "1")]).await), [&top, &inner, &plain]);
    let suggested = page(&alice, &top, &[("suggested_only", "true")]).await;
    assert_eq!(ids(&suggested), [&top, &inner, &deep]);
    let (mut seen, mut from) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("limit", "2")];
        query.extend(from.as_deref().map(|from| ("from", from)));
        let part = page(&alice, &top, &query).await;
        assert!(ids(&part).len() <= 2, "{part}");
        seen.extend(ids(&part).into_iter().map(str::to_owned));
        from = part["next_batch"].as_str().map(str::to_owned);
        if from.is_none() {
            break;
        }
    }
    assert_eq!(seen, [top, inner, deep, plain]);
}

#[tokio::test]
async fn the_question_stays_the_same_from_page_to_page() {
    let alice = shared().user("alice").await;
    let (top, inner) = (space(&alice, "Top").await, room(&alice, "inner").await);
    put(&alice, &top, &inner, json!({})).await;
    let first = page(&alice, &top, &[("limit", "1"), ("max_depth", "3")]).await;
    let from = first["next_batch"].as_str().expect("there is more");
    let ask = async |query: &[(&str, &str)]| alice.get(HIERARCHY, &[&top]).query(query).await;
    ask(&[("from", from), ("max_depth", "2")]).await.error(400, "M_INVALID_PARAM");
    let other = [("from", from), ("max_depth", "3"), ("suggested_only", "true")];
    ask(&other).await.error(400, "M_INVALID_PARAM");
    ask(&[("from", "nonsense")]).await.error(400, "M_INVALID_PARAM");
    assert_eq!(ids(&ask(&[("from", from), ("max_depth", "3")]).await.ok()), [&inner]);
    for (name, wrong) in [("limit", "x"), ("max_depth", "-1"), ("suggested_only", "perhaps")] {
        ask(&[(name, wrong)]).await.error(400, "M_INVALID_PARAM");
    }
    let none = ask(&[("limit", "0")]).await;
    differs(
        "client-server-api#get_matrixclientv1roomsroomidhierarchy",
        || none.clone().error(400, "M_INVALID_PARAM"),
        || none.clone().ok(),
    );
}

#[tokio::test]
async fn a_hierarchy_is_for_those_who_may_see_the_space() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let private = alice.create_room(json!({ "creation_content": { "type": "m.space" } })).await;
    bob.get(HIERARCHY, &[&private]).await.error(403, "M_FORBIDDEN");
    bob.get(HIERARCHY, &[&format!("!nowhere:{SERVER_NAME}")]).await.error(403, "M_FORBIDDEN");
    shared().client().get(HIERARCHY, &[&private]).await.error(401, "M_MISSING_TOKEN");
    alice.invite(&private, &bob).await;
    assert_eq!(ids(&page(&bob, &private, &[]).await), [&private]);
}

#[tokio::test]
async fn what_is_near_enough_is_shown_whatever_came_before() {
    let alice = shared().user("alice").await;
    let (top, first, second) = (space(&alice, "Top").await, space(&alice, "1").await, space(&alice, "2").await);
    let plain = room(&alice, "plain").await;
    put(&alice, &top, &first, json!({ "order": "a" })).await;
    put(&alice, &top, &second, json!({ "order": "b" })).await;
    put(&alice, &first, &second, json!({})).await;
    put(&alice, &second, &plain, json!({})).await;
    let near = page(&alice, &top, &[("max_depth", "2")]).await;
    differs(
        "client-server-api#get_matrixclientv1roomsroomidhierarchy",
        || assert_eq!(ids(&near), [&top, &first, &second, &plain]),
        || assert_eq!(ids(&near), [&top, &first, &second]),
    );
}
