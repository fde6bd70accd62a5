//! Pushers: who is told, over which gateway. Client-server API, "Push notifications".

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::unique;
use depesche_spec_tests::user::PASSWORD;

fn pusher(pushkey: &str) -> Value {
    json!({
        "kind": "http", "app_id": "org.example.app", "pushkey": pushkey, "app_display_name": "App",
        "device_display_name": "Phone", "profile_tag": "tag", "lang": "de",
        "data": { "url": "https://push.example.org/_matrix/push/v1/notify", "format": "event_id_only", "own": { "a": 1 } },
    })
}

async fn set(user: &User, pusher: Value) -> Answer {
    user.post("/_matrix/client/v3/pushers/set", &[]).json(pusher).await
}

async fn pushkeys(user: &User) -> Vec<String> {
    let answer = user.get("/_matrix/client/v3/pushers", &[]).await.ok();
    let pushers = answer["pushers"].as_array().expect("pushers").iter();
    pushers.filter_map(|pusher| pusher["pushkey"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_pusher_is_set_listed_changed_and_removed() {
    let alice = shared().user("alice").await;
    let key = unique("key");
    assert!(pushkeys(&alice).await.is_empty());
    let mut wanted = pusher(&key);
    assert_eq!(set(&alice, wanted.clone()).await.ok(), json!({}));
    let answer = alice.get("/_matrix/client/v3/pushers", &[]).await.ok();
    let listed = &answer["pushers"][0];
    for field in ["kind", "app_id", "pushkey", "app_display_name", "device_display_name", "profile_tag", "lang", "data"]
    {
        assert_eq!(listed[field], wanted[field], "{field}");
    }
    wanted["lang"] = json!("fr");
    set(&alice, wanted).await.ok();
    let answer = alice.get("/_matrix/client/v3/pushers", &[]).await.ok();
    assert_eq!(answer["pushers"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["pushers"][0]["lang"], "fr");
    let removal = json!({ "kind": null, "app_id": "org.example.app", "pushkey": key });
    assert_eq!(set(&alice, removal.clone()).await.ok(), json!({}));
    assert!(pushkeys(&alice).await.is_empty());
    set(&alice, removal).await.ok();
}

#[tokio::test]
async fn a_phone_that_changes_hands() {
    let (alice, bob, cleo) = (shared().user("a").await, shared().user("b").await, shared().user("c").await);
    let key = unique("key");
    set(&alice, pusher(&key)).await.ok();
    let mut appended = pusher(&key);
    appended["append"] = json!(true);
    set(&bob, appended).await.ok();
    assert_eq!((pushkeys(&alice).await.len(), pushkeys(&bob).await.len()), (1, 1));
    set(&cleo, pusher(&key)).await.ok();
    let left = (pushkeys(&alice).await.len(), pushkeys(&bob).await.len(), pushkeys(&cleo).await.len());
    assert_eq!(left, (0, 0, 1));
}

#[tokio::test]
async fn pushers_that_lack_something() {
    let alice = shared().user("alice").await;
    for field in ["kind", "app_id", "pushkey", "app_display_name", "device_display_name", "lang", "data"] {
        let mut lacking = pusher("key");
        lacking.as_object_mut().expect("an object").remove(field);
        set(&alice, lacking).await.error(400, "M_MISSING_PARAM");
    }
    let mut lacking = pusher("key");
    lacking["data"] = json!({});
    set(&alice, lacking).await.error(400, "M_MISSING_PARAM");
    assert!(pushkeys(&alice).await.is_empty());
}

#[tokio::test]
async fn pushers_with_a_wrong_url_or_kind() {
    let alice = shared().user("alice").await;
    let codes = ["M_INVALID_PARAM", "M_MISSING_PARAM", "M_UNKNOWN"];
    for url in ["https://push.example.org/other", "https://push.example.org", "not a url", ""] {
        let mut wrong = pusher("key");
        wrong["data"]["url"] = json!(url);
        set(&alice, wrong).await.error_in(400, &codes);
    }
    assert!(pushkeys(&alice).await.is_empty());
    let key = unique("key");
    let mut wrong = pusher(&key);
    wrong["kind"] = json!("org.example.pigeon");
    let answer = set(&alice, wrong).await;
    let kept = pushkeys(&alice).await;
    differs(
        "client-server-api#post_matrixclientv3pushersset",
        || {
            answer.clone().error_in(400, &codes);
            assert!(kept.is_empty());
        },
        || {
            answer.clone().ok();
            assert_eq!(kept, [key.as_str()]);
        },
    );
}

#[tokio::test]
async fn pushers_with_something_too_long() {
    let alice = shared().user("alice").await;
    for (field, length) in [("pushkey", 513), ("app_id", 65)] {
        let mut wrong = pusher("key");
        wrong[field] = json!("x".repeat(length));
        let answer = set(&alice, wrong).await;
        differs(
            "client-server-api#post_matrixclientv3pushersset",
            || drop(answer.clone().error(400, "M_INVALID_PARAM")),
            || drop(answer.clone().ok()),
        );
    }
}

#[tokio::test]
async fn a_pusher_ends_with_its_device() {
    let alice = shared().user("alice").await;
    let (one, two) = (alice.another_device().await, alice.another_device().await);
    let keys = [unique("key"), unique("key"), unique("key")];
    for (device, key) in [&alice, &one, &two].into_iter().zip(&keys) {
        set(device, pusher(key)).await.ok();
    }
    assert_eq!(pushkeys(&alice).await.len(), 3);
    one.post("/_matrix/client/v3/logout", &[]).json(json!({})).await.ok();
    let mut left = pushkeys(&alice).await;
    left.sort();
    assert_eq!(left, [keys[0].clone(), keys[2].clone()]);
    let body = json!({ "new_password": "another long password", "logout_devices": true });
    let asked = alice.post("/_matrix/client/v3/account/password", &[]).json(body.clone()).await.status(401);
    let mut confirmed = body;
    confirmed["auth"] = json!({
        "type": "m.login.password", "session": asked["session"], "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": alice.id },
    });
    alice.post("/_matrix/client/v3/account/password", &[]).json(confirmed).await.ok();
    assert_eq!(pushkeys(&alice).await, [keys[0].clone()], "the device that asked stays");
}

#[tokio::test]
async fn pushers_are_ones_own() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let key = unique("key");
    set(&alice, pusher(&key)).await.ok();
    assert!(pushkeys(&bob).await.is_empty());
    set(&bob, json!({ "kind": null, "app_id": "org.example.app", "pushkey": key })).await.ok();
    assert_eq!(pushkeys(&alice).await, [key]);
    shared().client().get("/_matrix/client/v3/pushers", &[]).await.error(401, "M_MISSING_TOKEN");
    shared().client().post("/_matrix/client/v3/pushers/set", &[]).json(pusher("k")).await.error(401, "M_MISSING_TOKEN");
}
