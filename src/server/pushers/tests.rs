//! What pushers are taken, and whose they are.

use ruma::push::HttpPusherData;
use serde_json::{Value, json};

use super::*;
use crate::{
    records::accounts::Device,
    testing::{Fixture, user},
};

const URL: &str = "https://gateway.test/_matrix/push/v1/notify";

async fn open() -> (Fixture, Pushers) {
    let fixture = Fixture::new();
    let tx = fixture.base.tx();
    for name in ["ann", "ben"] {
        tx.put(&DEVICE, &(user(name), "D".into()), &Device { display_name: None, created_ms: 0 });
    }
    fixture.base.commit(&tx).await.unwrap();
    let pushers = Pushers::open(Arc::clone(&fixture.base)).await.unwrap();
    (fixture, pushers)
}

fn pusher(pushkey: &str, data: Value) -> ClientPusher {
    let data: HttpPusherData = serde_json::from_value(data).unwrap();
    let init = PusherInit {
        ids: PusherIds::new(pushkey.to_owned(), "org.app".to_owned()),
        kind: PusherKind::Http(data),
        app_display_name: "App".to_owned(),
        device_display_name: "Phone".to_owned(),
        profile_tag: Some("tag".to_owned()),
        lang: "de".to_owned(),
    };
    init.into()
}

async fn keys(pushers: &Pushers, name: &str) -> Vec<String> {
    pushers.list(&user(name)).await.unwrap().into_iter().map(|pusher| pusher.ids.pushkey).collect()
}

#[tokio::test]
async fn a_pusher_is_kept_as_it_was_set() {
    let (fixture, pushers) = open().await;
    assert_eq!(fixture.base.pushers.load(Ordering::Relaxed), 0);
    let set = pusher("key", json!({ "url": URL, "format": "event_id_only", "org.own": { "a": 1 } }));
    pushers.set(&user("ann"), "D".into(), &set, false).await.unwrap();
    let listed = pushers.list(&user("ann")).await.unwrap();
    assert_eq!(serde_json::to_value(&listed).unwrap(), serde_json::to_value([&set]).unwrap());
    assert!(fixture.base.pushers.load(Ordering::Relaxed) > 0);
    // After a restart it is known too that somebody has one.
    fixture.base.pushers.store(0, Ordering::Relaxed);
    Pushers::open(Arc::clone(&fixture.base)).await.unwrap();
    assert!(fixture.base.pushers.load(Ordering::Relaxed) > 0);
    pushers.remove(&user("ann"), &set.ids).await.unwrap();
    pushers.remove(&user("ann"), &set.ids).await.unwrap();
    assert!(keys(&pushers, "ann").await.is_empty());
}

#[tokio::test]
async fn a_phone_changes_hands_unless_it_is_shared() {
    let (_, pushers) = open().await;
    let (ann, ben) = (user("ann"), user("ben"));
    let set = pusher("key", json!({ "url": URL }));
    pushers.set(&ann, "D".into(), &set, false).await.unwrap();
    pushers.set(&ben, "D".into(), &set, true).await.unwrap();
    assert_eq!((keys(&pushers, "ann").await.len(), keys(&pushers, "ben").await.len()), (1, 1));
    pushers.set(&ben, "D".into(), &set, false).await.unwrap();
    assert_eq!((keys(&pushers, "ann").await.len(), keys(&pushers, "ben").await.len()), (0, 1));
}

#[tokio::test]
async fn urls_of_gateways() {
    for (url, allow_http, expected) in [
        (URL, false, true),
        ("https://gateway.test:8443/_matrix/push/v1/notify", false, true),
        ("http://gateway.test/_matrix/push/v1/notify", false, false),
        ("http://gateway.test/_matrix/push/v1/notify", true, true),
        ("https://gateway.test/_matrix/push/v1/notify/", false, false),
        ("https://gateway.test/", false, false),
        ("ftp://gateway.test/_matrix/push/v1/notify", true, false),
        ("/_matrix/push/v1/notify", true, false),
        ("", true, false),
    ] {
        assert_eq!(is_gateway(url, allow_http), expected, "{url}");
    }
}

#[tokio::test]
async fn bounds() {
    let (fixture, pushers) = open().await;
    let ann = user("ann");
    let good = || pusher(&"k".repeat(MAX_PUSHKEY_BYTES), json!({ "url": URL }));
    let mut at_the_limit = good();
    at_the_limit.ids.app_id = "ä".repeat(MAX_APP_ID_CHARS);
    at_the_limit.app_display_name = "a".repeat(MAX_PUSHER_TEXT_BYTES);
    at_the_limit.lang = "a".repeat(MAX_PUSHER_TEXT_BYTES);
    pushers.set(&ann, "D".into(), &at_the_limit, false).await.unwrap();
    let mut wrong = vec![good(), good(), good(), good(), pusher("k", json!({ "url": URL, "x": "y".repeat(9000) }))];
    wrong[0].ids.app_id = "ä".repeat(MAX_APP_ID_CHARS + 1);
    wrong[1].ids.pushkey.push('k');
    wrong[2].app_display_name = "a".repeat(MAX_PUSHER_TEXT_BYTES + 1);
    wrong[3].profile_tag = Some("a".repeat(MAX_PUSHER_TEXT_BYTES + 1));
    for wrong in wrong {
        let refused = pushers.set(&ann, "D".into(), &wrong, false).await.unwrap_err();
        assert!(matches!(refused, PusherError::TooLong(_)), "{refused}");
    }
    for n in 1..fixture.base.config.push.pushers_per_user {
        pushers.set(&ann, "D".into(), &pusher(&n.to_string(), json!({ "url": URL })), false).await.unwrap();
    }
    let one_more = pusher("one more", json!({ "url": URL }));
    let refused = pushers.set(&ann, "D".into(), &one_more, false).await.unwrap_err();
    assert!(matches!(refused, PusherError::TooMany), "{refused}");
    let gone = pushers.set(&ann, "gone".into(), &one_more, false).await.unwrap_err();
    assert!(matches!(gone, PusherError::NoDevice), "{gone}");
}

#[tokio::test]
async fn only_who_comes_to_have_a_pusher_makes_rooms_look_for_them_anew() {
    let (fixture, pushers) = open().await;
    let (ann, ben) = (user("ann"), user("ben"));
    let generation = || fixture.base.pushers.load(Ordering::Relaxed);
    let set = |key: &str| pusher(key, json!({ "url": URL }));
    pushers.set(&ann, "D".into(), &set("key"), true).await.unwrap();
    let first = generation();
    pushers.set(&ann, "D".into(), &set("key"), true).await.unwrap();
    pushers.set(&ann, "D".into(), &set("other"), true).await.unwrap();
    pushers.remove(&ann, &set("other").ids).await.unwrap();
    assert_eq!(generation(), first);
    pushers.set(&ben, "D".into(), &set("bens"), true).await.unwrap();
    assert!(generation() > first);
    let second = generation();
    pushers.remove(&ann, &set("key").ids).await.unwrap();
    assert_eq!(generation(), second);
    pushers.set(&ann, "D".into(), &set("key"), true).await.unwrap();
    assert!(generation() > second);
}

#[tokio::test]
async fn a_pusher_that_is_set_while_its_device_ends_ends_too() {
    let (fixture, pushers) = open().await;
    let (ann, device) = (user("ann"), OwnedDeviceId::from("D"));
    let tx = fixture.base.tx();
    tx.put(&DEVICE, &(ann.clone(), "OTHER".into()), &Device { display_name: None, created_ms: 0 });
    fixture.base.commit(&tx).await.unwrap();
    let end = async || {
        let tx = fixture.base.tx();
        tx.delete(&DEVICE, &(ann.clone(), device.clone()));
        forget_devices(&tx, &ann, std::slice::from_ref(&device)).await.unwrap();
        tx
    };
    let end_all = async || {
        let tx = fixture.base.tx();
        forget_user(&tx, &ann).await.unwrap();
        tx.delete(&DEVICE, &(ann.clone(), device.clone()));
        tx
    };
    let set = async |device: &str, key: &str| {
        pushers.set(&ann, device.into(), &pusher(key, json!({ "url": URL })), false).await.unwrap();
    };
    let (one, all) = (end().await, end_all().await);
    set("D", "new").await;
    for tx in [one, all] {
        assert!(fixture.base.commit(&tx).await.is_err(), "a new one was overlooked");
    }
    set("OTHER", "new").await;
    let one = end().await;
    set("D", "new").await;
    assert!(fixture.base.commit(&one).await.is_err(), "one that came from another device was overlooked");
    fixture.base.commit(&end().await).await.unwrap();
    assert!(keys(&pushers, "ann").await.is_empty());
}
