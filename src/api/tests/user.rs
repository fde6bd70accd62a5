//! `/user`: filters, account data, tags.

use depesche_server::workflows::create::{Creation, Preset};
use ruma::{CanonicalJsonObject, user_id};
use serde_json::json;

use super::{Home, refused};

const ALICE: &str = "/_matrix/client/v3/user/@alice:test";

/// A private room of alice.
async fn room(home: &Home) -> String {
    let creation = Creation {
        creator: user_id!("@alice:test").to_owned(),
        version: None,
        preset: Preset::PrivateChat,
        published: false,
        alias: None,
        name: None,
        topic: None,
        invite: Vec::new(),
        creation_content: CanonicalJsonObject::new(),
        initial_state: Vec::new(),
        power_levels: CanonicalJsonObject::new(),
    };
    home.app.server.rooms.create(creation).await.unwrap().to_string()
}

#[tokio::test]
async fn a_filter_is_given_back() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let filter = json!({
        "event_format": "client", "event_fields": ["type"], "presence": { "not_types": [] }, "org.example.own": 1.5,
        "room": { "include_leave": false, "timeline": { "limit": 7 } },
    });
    let stored = home.send_as(&alice, &format!("POST {ALICE}/filter"), filter.clone()).await.body;
    let line = format!("GET {ALICE}/filter/{}", stored["filter_id"].as_str().unwrap());
    assert_eq!(home.ask_as(&alice, &line, "").await.body, filter);
    assert_eq!(refused(&home.ask_as(&bob, &line, "").await), (403, "M_FORBIDDEN"));
    assert_eq!(refused(&home.ask_as(&alice, &format!("GET {ALICE}/filter/99"), "").await), (404, "M_NOT_FOUND"));
    let answer = home.send_as(&alice, &format!("POST {ALICE}/filter"), json!({ "room": 7 })).await;
    assert_eq!(refused(&answer), (400, "M_BAD_JSON"));
}

#[tokio::test]
async fn account_data_are_kept_for_their_user() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let room = room(&home).await;
    for path in [format!("{ALICE}/account_data"), format!("{ALICE}/rooms/{room}/account_data")] {
        let (put, get) = (format!("PUT {path}/org.example.x"), format!("GET {path}/org.example.x"));
        assert_eq!(refused(&home.ask_as(&alice, &get, "").await), (404, "M_NOT_FOUND"));
        assert_eq!(home.send_as(&alice, &put, json!({ "a": [1, null] })).await.body, json!({}));
        assert_eq!(home.ask_as(&alice, &get, "").await.body, json!({ "a": [1, null] }));
        assert_eq!(refused(&home.ask_as(&bob, &get, "").await), (403, "M_FORBIDDEN"));
        assert_eq!(refused(&home.send_as(&bob, &put, json!({})).await), (403, "M_FORBIDDEN"));
        assert_eq!(refused(&home.ask_as(&alice, &put, "[]").await), (400, "M_BAD_JSON"));
        assert_eq!(refused(&home.ask_as(&alice, &put, "{").await), (400, "M_NOT_JSON"));
        for kind in ["m.fully_read", "m.push_rules"] {
            let answer = home.send_as(&alice, &format!("PUT {path}/{kind}"), json!({})).await;
            assert_eq!(refused(&answer), (405, "M_BAD_JSON"), "{kind}");
        }
    }
    let rules = home.ask_as(&alice, &format!("GET {ALICE}/account_data/m.push_rules"), "").await.body;
    assert!(rules["global"]["override"].is_array(), "{rules}");
}

#[tokio::test]
async fn account_data_of_no_room() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let get = async |room: &str| {
        home.ask_as(&alice, &format!("GET {ALICE}/rooms/{room}/account_data/org.example.x"), "").await
    };
    assert_eq!(refused(&get("nothing").await), (400, "M_INVALID_PARAM"));
    assert_eq!(refused(&get("!unknown:test").await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn of_a_room_that_one_was_never_in_one_learns_nothing() {
    let home = Home::open().await;
    home.user("alice").await;
    let bob = home.user("bob").await;
    for room in ["!unknown:test".to_owned(), room(&home).await] {
        let path = format!("/_matrix/client/v3/user/@bob:test/rooms/{room}");
        let (data, tag) = (format!("{path}/account_data/org.example.x"), format!("{path}/tags/u.work"));
        for line in [format!("PUT {data}"), format!("PUT {tag}")] {
            assert_eq!(refused(&home.send_as(&bob, &line, json!({})).await), (403, "M_FORBIDDEN"), "{line}");
        }
        assert_eq!(refused(&home.ask_as(&bob, &format!("GET {data}"), "").await), (404, "M_NOT_FOUND"));
        assert_eq!(home.ask_as(&bob, &format!("GET {path}/tags"), "").await.body, json!({ "tags": {} }));
        assert_eq!(home.ask_as(&bob, &format!("DELETE {tag}"), "").await.body, json!({}));
    }
}

#[tokio::test]
async fn tags_are_set_listed_and_removed() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let tags = format!("{ALICE}/rooms/{}/tags", room(&home).await);
    let list = async || home.ask_as(&alice, &format!("GET {tags}"), "").await.body;
    assert_eq!(list().await, json!({ "tags": {} }));
    let put = async |tag: &str, info| home.send_as(&alice, &format!("PUT {tags}/{tag}"), info).await;
    put("m.favourite", json!({ "order": 0.25 })).await;
    let work = json!({ "org.example.colour": { "red": 1 } });
    put("u.work", work.clone()).await;
    assert_eq!(list().await, json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": work } }));
    put("u.work", json!({ "order": null })).await;
    assert_eq!(list().await, json!({ "tags": { "m.favourite": { "order": 0.25 }, "u.work": {} } }));
    assert_eq!(refused(&put("u.work", json!({ "order": "first" })).await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&put("u.work", json!({ "order": [0.5] })).await), (400, "M_BAD_JSON"));
    assert_eq!(refused(&put("u.work", json!([])).await), (400, "M_BAD_JSON"));
    assert_eq!(home.ask_as(&alice, &format!("DELETE {tags}/m.favourite"), "").await.body, json!({}));
    assert_eq!(list().await, json!({ "tags": { "u.work": {} } }));
    for line in [format!("GET {tags}"), format!("DELETE {tags}/u.work")] {
        assert_eq!(refused(&home.ask_as(&bob, &line, "").await), (403, "M_FORBIDDEN"), "{line}");
    }
}

#[tokio::test]
async fn whose_an_openid_token_is() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let line = format!("POST /_matrix/client/v3/user/{}/openid/request_token", alice.id);
    let token = home.send_as(&alice, &line, json!({})).await.body["access_token"].as_str().unwrap().to_owned();
    let ask = async |query: &str| home.ask(&format!("GET /_matrix/federation/v1/openid/userinfo{query}"), "").await;
    assert_eq!(ask(&format!("?access_token={token}")).await.body, json!({ "sub": alice.id }));
    assert_eq!(refused(&ask(&format!("?access_token={}", alice.token)).await), (401, "M_UNKNOWN_TOKEN"));
    assert_eq!(refused(&ask("").await), (401, "M_MISSING_TOKEN"));
}
