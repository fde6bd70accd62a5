//! What one request may say and one answer shows: as much as the bound says, and not one more.

use depesche_rules::bounds::{
    MAX_CREATE_INVITES, MAX_MESSAGE_SEARCH_BYTES, MAX_MUTUAL_ROOMS, MAX_PLAIN_BODY_BYTES, MAX_SEARCH_CONTEXT,
    MAX_SEARCH_RESULTS,
};
use futures::future::join_all;
use serde_json::{Value, json};

use super::{CONFIG, Home, Person, refused};

const SEARCH: &str = "POST /_matrix/client/v3/search";
const CREATE: &str = "POST /_matrix/client/v3/createRoom";

/// A server that lets everybody do as much as they like.
async fn patient() -> Home {
    Home::with(&format!("{CONFIG}\n[rate_limits]\nenabled = false\n")).await
}

async fn create(home: &Home, person: &Person) -> String {
    let made = home.send_as(person, CREATE, json!({ "preset": "public_chat" })).await;
    made.body["room_id"].as_str().unwrap().to_owned()
}

/// Says the same many times.
async fn say(home: &Home, person: &Person, room: &str, body: &str, times: usize) {
    let messages = (0..times).map(async |n| {
        let line = format!("PUT /_matrix/client/v3/rooms/{room}/send/m.room.message/{body}{n}");
        home.send_as(person, &line, json!({ "msgtype": "m.text", "body": body })).await.status
    });
    assert!(join_all(messages).await.iter().all(|status| *status == 200));
}

async fn search(home: &Home, person: &Person, criteria: Value) -> Value {
    let body = json!({ "search_categories": { "room_events": criteria } });
    home.send_as(person, SEARCH, body).await.body["search_categories"]["room_events"].clone()
}

#[tokio::test]
async fn a_search_shows_so_many_results_and_so_much_around_them() {
    let home = patient().await;
    let alice = home.user("alice").await;
    let room = create(&home, &alice).await;
    let (results, around) = (MAX_SEARCH_RESULTS as usize, MAX_SEARCH_CONTEXT as usize);
    say(&home, &alice, &room, "many", results + 1).await;
    for (limit, shown) in [(results - 1, results - 1), (results, results), (results + 1, results)] {
        let found = search(&home, &alice, json!({ "search_term": "many", "filter": { "limit": limit } })).await;
        assert_eq!(found["results"].as_array().unwrap().len(), shown, "{limit}");
    }
    say(&home, &alice, &room, "needle", 1).await;
    say(&home, &alice, &room, "behind", around + 1).await;
    for (limit, shown) in [(around - 1, around - 1), (around, around), (around + 1, around)] {
        let wanted = json!({ "before_limit": limit, "after_limit": limit });
        let found = search(&home, &alice, json!({ "search_term": "needle", "event_context": wanted })).await;
        let context = &found["results"][0]["context"];
        for side in ["events_before", "events_after"] {
            assert_eq!(context[side].as_array().unwrap().len(), shown, "{side}, {limit}");
        }
    }
}

#[tokio::test]
async fn a_term_to_search_for_has_so_many_bytes_and_no_more() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let asking =
        |length: usize| json!({ "search_categories": { "room_events": { "search_term": "a".repeat(length) } } });
    assert_eq!(home.send_as(&alice, SEARCH, asking(MAX_MESSAGE_SEARCH_BYTES)).await.status, 200);
    let answer = home.send_as(&alice, SEARCH, asking(MAX_MESSAGE_SEARCH_BYTES + 1)).await;
    assert_eq!(refused(&answer), (400, "M_INVALID_PARAM"));
}

#[tokio::test]
async fn a_page_of_mutual_rooms_has_so_many_and_no_more() {
    let home = patient().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let line = "GET /_matrix/client/v1/mutual_rooms?user_id=@bob:test";
    for n in 1..=MAX_MUTUAL_ROOMS + 1 {
        let room = create(&home, &alice).await;
        let joined = home.send_as(&bob, &format!("POST /_matrix/client/v3/rooms/{room}/join"), json!({})).await;
        assert_eq!(joined.status, 200, "{}", joined.body);
        if n >= MAX_MUTUAL_ROOMS {
            let page = home.ask_as(&alice, line, "").await.body;
            let rooms = page["joined"].as_array().unwrap().len();
            assert_eq!((rooms, page.get("next_batch").is_some()), (MAX_MUTUAL_ROOMS, n > MAX_MUTUAL_ROOMS), "{page}");
        }
    }
}

#[tokio::test]
async fn a_new_room_invites_so_many_and_no_more() {
    let home = patient().await;
    let alice = home.user("alice").await;
    // One user as often as that: what is named is counted, and each is invited once.
    home.user("bob").await;
    let inviting = |count: usize| json!({ "invite": vec!["@bob:test"; count] });
    assert_eq!(home.send_as(&alice, CREATE, inviting(MAX_CREATE_INVITES)).await.status, 200);
    let answer = home.send_as(&alice, CREATE, inviting(MAX_CREATE_INVITES + 1)).await;
    assert_eq!(refused(&answer), (413, "M_TOO_LARGE"));
}

#[tokio::test]
async fn a_stranger_says_so_many_bytes_and_no_more() {
    let home = Home::open().await;
    home.user("alice").await;
    let who = json!({ "type": "m.id.user", "user": "alice" });
    let login = json!({ "type": "m.login.password", "identifier": who, "password": "pass-word" }).to_string();
    let of = |length: usize| format!("{login}{}", " ".repeat(length - login.len()));
    let line = "POST /_matrix/client/v3/login";
    assert_eq!(home.ask(line, of(MAX_PLAIN_BODY_BYTES)).await.status, 200);
    assert_eq!(refused(&home.ask(line, of(MAX_PLAIN_BODY_BYTES + 1)).await), (413, "M_TOO_LARGE"));
}
