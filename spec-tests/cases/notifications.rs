//! The list of notifications. Client-server API, "Listing notifications".

use depesche_spec_tests::prelude::*;

async fn page(user: &User, query: &[(&str, &str)]) -> Value {
    user.get("/_matrix/client/v3/notifications", &[]).query(query).await.ok()
}

fn ids(page: &Value) -> Vec<String> {
    let list = page["notifications"].as_array().expect("notifications").iter();
    list.map(|notification| notification["event"]["event_id"].as_str().expect("an event id").to_owned()).collect()
}

#[tokio::test]
async fn notifications_of_all_rooms_newest_first() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let rooms = [alice.public_room().await, alice.public_room().await];
    alice.say(&rooms[0], "before bob came").await;
    for room in &rooms {
        bob.join(room).await;
    }
    let mut said = Vec::new();
    for n in 0..6 {
        said.insert(0, alice.say(&rooms[n % 2], "hello").await);
        alice.send(&rooms[n % 2], "m.room.message", json!({ "msgtype": "m.notice", "body": "silent" })).await;
    }
    let all = page(&bob, &[]).await;
    assert_eq!(ids(&all), said);
    let first = &all["notifications"][0];
    assert_eq!((&first["room_id"], &first["read"]), (&json!(rooms[1]), &json!(false)), "{first}");
    assert!(first["ts"].is_u64(), "{first}");
    assert_eq!(first["event"]["content"]["body"], "hello");
    let actions = first["actions"].as_array().expect("actions");
    assert!(actions.contains(&json!("notify")), "{first}");
    assert!(actions.contains(&json!({ "set_tweak": "sound", "value": "default" })), "{first}");
    assert!(ids(&page(&alice, &[]).await).is_empty(), "nobody is notified of their own messages");
}

#[tokio::test]
async fn notifications_come_in_pages() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let mut said = Vec::new();
    for _ in 0..5 {
        said.insert(0, alice.say(&room, "hello").await);
    }
    let (mut seen, mut from) = (Vec::new(), None::<String>);
    for _ in 0..20 {
        let mut query = vec![("limit", "2")];
        query.extend(from.as_deref().map(|from| ("from", from)));
        let answer = page(&bob, &query).await;
        let ids = ids(&answer);
        assert!(ids.len() <= 2, "{answer}");
        seen.extend(ids);
        from = answer["next_token"].as_str().map(str::to_owned);
        if from.is_none() {
            break;
        }
    }
    assert_eq!((seen, from), (said, None));
}

#[tokio::test]
async fn notifications_that_are_highlights() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    alice.say(&room, "plain").await;
    let content = json!({ "msgtype": "m.text", "body": "look", "m.mentions": { "user_ids": [bob.id] } });
    let named = alice.send(&room, "m.room.message", content).await;
    alice.say(&room, "plain").await;
    assert_eq!(ids(&page(&bob, &[("only", "highlight")]).await), [named]);
    assert_eq!(ids(&page(&bob, &[]).await).len(), 3);
}

#[tokio::test]
async fn notifications_from_a_wrong_token() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/notifications", &[]).query(&[("from", "nonsense")]).await;
    differs(
        "client-server-api#get_matrixclientv3notifications",
        || drop(answer.clone().error(400, "M_INVALID_PARAM")),
        || drop(answer.clone().error(400, "M_UNKNOWN")),
    );
    shared().client().get("/_matrix/client/v3/notifications", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn an_invite_is_among_the_notifications() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    alice.invite(&room, &bob).await;
    let all = page(&bob, &[]).await;
    let list = all["notifications"].as_array().expect("notifications");
    assert_eq!(list.len(), 1, "{all}");
    let (invite, event) = (&list[0], &list[0]["event"]);
    assert_eq!((&invite["room_id"], &invite["read"]), (&json!(room), &json!(false)), "{all}");
    assert_eq!((&event["type"], &event["content"]["membership"]), (&json!("m.room.member"), &json!("invite")), "{all}");
}
