//! Finding users. Client-server API, "User Directory".

use std::time::Duration;

use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::unique;

const SEARCH: &str = "/_matrix/client/v3/user_directory/search";
const NAME: &str = "/_matrix/client/v3/profile/{userId}/displayname";
/// A server may take its time to know a change.
const LIMIT: Duration = Duration::from_secs(20);

/// Searches until the answer is as wanted.
async fn until(user: &User, term: &str, wanted: impl Fn(&[&str]) -> bool) -> Value {
    let mut last = Value::Null;
    let look = async {
        loop {
            last = user.post(SEARCH, &[]).json(json!({ "search_term": term })).await.ok();
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

fn ids(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().expect("results").iter().filter_map(|user| user["user_id"].as_str()).collect()
}

async fn named(name: &str) -> User {
    let user = shared().user("person").await;
    rename(&user, name).await;
    user
}

async fn rename(user: &User, name: &str) {
    user.put(NAME, &[&user.id]).json(json!({ "displayname": name })).await.ok();
}

/// Two users in the order of their ids.
async fn two() -> [User; 2] {
    let mut two = [shared().user("person").await, shared().user("person").await];
    two.sort_by(|a, b| a.id.cmp(&b.id));
    two
}

#[tokio::test]
async fn a_member_of_a_public_room_is_found_by_name_and_id() {
    let alice = shared().user("alice").await;
    let word = unique("surname");
    let bob = named(&format!("Robert {word}")).await;
    bob.public_room().await;
    let found = until(&alice, &word, |ids| ids == [&bob.id]).await;
    assert_eq!(found["results"][0]["display_name"], format!("Robert {word}"));
    assert_eq!(found["limited"], false);
    until(&alice, &word.to_uppercase(), |ids| ids == [&bob.id]).await;
    until(&alice, bob.localpart(), |ids| ids.contains(&&*bob.id)).await;
    let answer =
        alice.post("/_matrix/client/v3/user_directory/search", &[]).json(json!({ "search_term": word })).await.ok();
    assert_eq!(ids(&answer), [&bob.id]);
}

#[tokio::test]
async fn a_stranger_in_no_common_room_is_not_found() {
    let alice = shared().user("alice").await;
    let word = unique("surname");
    // Of two alike the one with the smaller id comes first.
    let [seen, hidden] = two().await;
    rename(&hidden, &format!("Hidden {word}")).await;
    rename(&seen, &format!("Seen {word}")).await;
    hidden.create_room(json!({ "preset": "private_chat" })).await;
    seen.public_room().await;
    until(&alice, &word, |ids| ids == [&seen.id]).await;
    let room = alice.create_room(json!({ "preset": "private_chat" })).await;
    alice.invite(&room, &hidden).await;
    hidden.join(&room).await;
    let found = until(&alice, &word, |ids| ids.len() == 2 && ids.contains(&&*hidden.id)).await;
    // Who shares a room comes first; Synapse on SQLite knows no such order.
    if target() == Target::Depesche {
        assert_eq!(ids(&found), [&hidden.id, &seen.id]);
    }
}

#[tokio::test]
async fn who_is_named_as_sought_comes_before_who_is_named_a_little_longer() {
    let alice = shared().user("alice").await;
    let name = unique("exactly");
    let [longer, exact] = two().await;
    rename(&longer, &format!("{name}x")).await;
    rename(&exact, &name).await;
    // Not even that they share a room puts them before.
    let room = alice.public_room().await;
    longer.join(&room).await;
    exact.public_room().await;
    let found = until(&alice, &name, |ids| ids.len() == 2).await;
    if target() == Target::Depesche {
        assert_eq!(ids(&found), [&exact.id, &longer.id]);
    } else {
        assert!(ids(&found).contains(&&*exact.id), "{found}");
    }
}

#[tokio::test]
async fn a_limited_search_says_so() {
    let alice = shared().user("alice").await;
    let word = unique("surname");
    for _ in 0..3 {
        named(&format!("Many {word}")).await.public_room().await;
    }
    until(&alice, &word, |ids| ids.len() == 3).await;
    let answer = alice.post(SEARCH, &[]).json(json!({ "search_term": word, "limit": 2 })).await.ok();
    assert_eq!((ids(&answer).len(), &answer["limited"]), (2, &json!(true)));
}

#[tokio::test]
async fn a_new_name_is_found_and_the_old_one_is_not() {
    let alice = shared().user("alice").await;
    let (before, after) = (unique("before"), unique("after"));
    let bob = named(&before).await;
    bob.public_room().await;
    until(&alice, &before, |ids| ids == [&bob.id]).await;
    bob.put(NAME, &[&bob.id]).json(json!({ "displayname": after })).await.ok();
    until(&alice, &after, |ids| ids == [&bob.id]).await;
    until(&alice, &before, |found| found.is_empty()).await;
}

#[tokio::test]
async fn a_search_needs_a_term_and_a_token() {
    let alice = shared().user("alice").await;
    let answer = alice.post(SEARCH, &[]).json(json!({ "limit": 1 })).await;
    assert_eq!(answer.status, 400, "{answer}");
    let answer = alice.without_token().post(SEARCH, &[]).json(json!({ "search_term": "x" })).await;
    answer.error(401, "M_MISSING_TOKEN");
    let answer = alice.post(SEARCH, &[]).json(json!({ "search_term": unique("nobody") })).await.ok();
    assert_eq!((ids(&answer).len(), &answer["limited"]), (0, &json!(false)));
}
