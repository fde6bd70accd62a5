//! `POST /search`: what it refuses, and the shape of its answer. What is found is tested in the server and by the
//! black-box cases.

use serde_json::{Value, json};

use super::{Home, Person, refused};

const SEARCH: &str = "POST /_matrix/client/v3/search";

async fn say(home: &Home, person: &Person, room: &str, txn: &str, body: &str) {
    let line = format!("PUT /_matrix/client/v3/rooms/{room}/send/m.room.message/{txn}");
    let content = json!({ "msgtype": "m.text", "body": body });
    assert_eq!(home.send_as(person, &line, content).await.status, 200);
}

fn asking(criteria: &Value) -> Value {
    json!({ "search_categories": { "room_events": criteria } })
}

#[tokio::test]
async fn post_search() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let room = home.send_as(&alice, "POST /_matrix/client/v3/createRoom", json!({})).await;
    let room = room.body["room_id"].as_str().unwrap().to_owned();
    for n in 0..3 {
        say(&home, &alice, &room, &n.to_string(), "Hello there").await;
    }
    let by = |order: &str| {
        asking(&json!({ "search_term": "hello", "order_by": order, "include_state": true, "filter": { "limit": 2 },
            "event_context": { "include_profile": true },
            "groupings": { "group_by": [{ "key": "sender" }, { "key": "room_id" }] } }))
    };
    for order in ["recent", "rank"] {
        let answer = home.send_as(&alice, SEARCH, by(order)).await;
        let found = &answer.body["search_categories"]["room_events"];
        assert_eq!((&found["count"], &found["highlights"]), (&json!(3), &json!(["hello"])), "{found}");
        assert_eq!(found["results"].as_array().unwrap().len(), 2);
        assert_eq!(found["results"][0]["rank"], 0.5);
        assert_eq!(found["results"][0]["result"]["room_id"], json!(room));
        let context = &found["results"][0]["context"];
        assert!(context["start"].is_string() && context["end"].is_string(), "{context}");
        assert_eq!(context["profile_info"], json!({ alice.id.clone(): { "displayname": "alice" } }));
        assert!(found["state"][&room].as_array().unwrap().len() > 4);
        for (key, value) in [("sender", &alice.id), ("room_id", &room)] {
            let group = &found["groups"][key][value];
            assert_eq!((group["results"].as_array().unwrap().len(), &group["order"]), (2, &json!(0)), "{group}");
            let line = format!("{SEARCH}?next_batch={}", group["next_batch"].as_str().unwrap());
            let rest = home.send_as(&alice, &line, by(order)).await;
            let rest = &rest.body["search_categories"]["room_events"];
            assert_eq!(rest["results"].as_array().unwrap().len(), 1, "{rest}");
            assert_eq!((&rest["count"], rest.get("next_batch")), (&json!(3), None));
        }
    }
    let none = home.send_as(&alice, SEARCH, asking(&json!({ "search_term": "" }))).await;
    let empty = json!({ "count": 0, "highlights": [], "results": [] });
    assert_eq!(none.body["search_categories"]["room_events"], empty);
    let none = home.send_as(&alice, SEARCH, json!({ "search_categories": {} })).await;
    assert_eq!((none.status, none.body), (200, json!({ "search_categories": {} })));
}

#[tokio::test]
async fn post_search_is_refused() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    for (criteria, errcode) in [
        (json!({}), "M_BAD_JSON"),
        (json!({ "search_term": 5 }), "M_BAD_JSON"),
        (json!({ "search_term": "a", "event_context": { "before_limit": -1 } }), "M_BAD_JSON"),
        (json!({ "search_term": "a", "filter": { "senders": vec!["@a:b"; 1001] } }), "M_BAD_JSON"),
        (json!({ "search_term": "a".repeat(1025) }), "M_INVALID_PARAM"),
        (json!({ "search_term": "a", "keys": ["body"] }), "M_INVALID_PARAM"),
        (json!({ "search_term": "a", "order_by": "chance" }), "M_INVALID_PARAM"),
        (json!({ "search_term": "a", "groupings": { "group_by": [{ "key": "type" }] } }), "M_INVALID_PARAM"),
    ] {
        assert_eq!(refused(&home.send_as(&alice, SEARCH, asking(&criteria)).await), (400, errcode), "{criteria}");
    }
    let plain = asking(&json!({ "search_term": "a" }));
    let wrong = home.send_as(&alice, &format!("{SEARCH}?next_batch=x"), plain.clone()).await;
    assert_eq!(refused(&wrong), (400, "M_INVALID_PARAM"));
    assert_eq!(refused(&home.send(SEARCH, plain.clone()).await), (401, "M_MISSING_TOKEN"));
    let off = Home::with("[server]\nname = \"test\"\n[search]\nenabled = false").await;
    let bob = off.user("bob").await;
    assert_eq!(refused(&off.send_as(&bob, SEARCH, plain).await), (404, "M_UNRECOGNIZED"));
}
