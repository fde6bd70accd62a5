//! `/_matrix/client/v3/events` and `/_matrix/client/v3/initialSync`.

use serde_json::{Value, json};

use super::{CONFIG, Home, Person, refused};

async fn room(home: &Home, creator: &Person, body: Value) -> String {
    let answer = home.send_as(creator, "POST /_matrix/client/v3/createRoom", body).await;
    answer.body["room_id"].as_str().unwrap().to_owned()
}

async fn say(home: &Home, person: &Person, room: &str, n: usize) -> String {
    let line = format!("PUT /_matrix/client/v3/rooms/{room}/send/org.example.x/{n}");
    let said = home.send_as(person, &line, json!({ "n": n })).await;
    said.body["event_id"].as_str().unwrap().to_owned()
}

async fn now(home: &Home, person: &Person) -> String {
    let answer = home.ask_as(person, "GET /_matrix/client/v3/initialSync?limit=0", "").await;
    answer.body["end"].as_str().unwrap().to_owned()
}

async fn listen(home: &Home, person: &Person, query: &str) -> Value {
    let answer = home.ask_as(person, &format!("GET /_matrix/client/v3/events?timeout=0{query}"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn ids(chunk: &Value) -> Vec<&str> {
    chunk["chunk"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_comes_is_heard_once_and_in_order() {
    let home = Home::with(&format!("{CONFIG}\n[rate_limits]\nenabled = false\n")).await;
    let alice = home.user("alice").await;
    let rooms = [room(&home, &alice, json!({})).await, room(&home, &alice, json!({})).await];
    let from = now(&home, &alice).await;
    let nothing = listen(&home, &alice, &format!("&from={from}")).await;
    assert_eq!((&nothing["start"], &nothing["chunk"]), (&json!(from), &json!([])), "{nothing}");
    let mut said = Vec::new();
    for n in 0..250 {
        said.push(say(&home, &alice, &rooms[n % 2], n).await);
    }
    let (mut heard, mut end) = (Vec::new(), from);
    for _ in 0..3 {
        let chunk = listen(&home, &alice, &format!("&from={end}")).await;
        assert_eq!(chunk["start"], end);
        assert!(ids(&chunk).len() <= 100 && !ids(&chunk).is_empty());
        heard.extend(ids(&chunk).into_iter().map(str::to_owned));
        end = chunk["end"].as_str().unwrap().to_owned();
    }
    assert_eq!(heard, said);
    assert_eq!(listen(&home, &alice, &format!("&from={end}")).await["chunk"], json!([]));
    let of_one = listen(&home, &alice, &format!("&from={end}&room_id={}", rooms[0])).await;
    assert_eq!(of_one["chunk"], json!([]));
    assert_eq!(listen(&home, &alice, "").await["chunk"], json!([]), "from now on");
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_something_comes_or_its_time_is_over() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let room = room(&home, &alice, json!({})).await;
    let line = "GET /_matrix/client/v3/events?timeout=20000";
    let began = tokio::time::Instant::now();
    assert_eq!(home.ask_as(&alice, line, "").await.body["chunk"], json!([]));
    assert_eq!(began.elapsed().as_secs(), 20);
    for line in [line.to_owned(), format!("{line}&room_id={room}"), "GET /_matrix/client/v3/events".to_owned()] {
        let began = tokio::time::Instant::now();
        let (heard, said) = tokio::join!(home.ask_as(&alice, &line, ""), async {
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            say(&home, &alice, &room, line.len()).await
        });
        assert_eq!(ids(&heard.body), [said], "{line}");
        assert_eq!(began.elapsed().as_secs(), 5);
    }
}

#[tokio::test]
async fn only_what_one_may_read_is_heard() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let from = now(&home, &bob).await;
    let closed = room(&home, &alice, json!({ "invite": [bob.id] })).await;
    let visibility = json!({ "history_visibility": "world_readable" });
    let state = json!([{ "type": "m.room.history_visibility", "content": visibility }]);
    let open = room(&home, &alice, json!({ "initial_state": state })).await;
    say(&home, &alice, &closed, 1).await;
    let said = say(&home, &alice, &open, 2).await;
    let heard = listen(&home, &bob, &format!("&from={from}")).await;
    let of = |event: &Value| (event["type"].clone(), event["state_key"].clone(), event["room_id"].clone());
    let own: Vec<_> = heard["chunk"].as_array().unwrap().iter().map(of).collect();
    assert_eq!(own, [(json!("m.room.member"), json!(bob.id), json!(closed))], "the invite alone");
    let heard = listen(&home, &bob, &format!("&from={from}&room_id={open}")).await;
    assert_eq!(ids(&heard).last(), Some(&said.as_str()));
    for room in [closed.as_str(), "!none:test"] {
        let line = format!("GET /_matrix/client/v3/events?timeout=0&room_id={room}");
        assert_eq!(refused(&home.ask_as(&bob, &line, "").await), (403, "M_FORBIDDEN"), "{room}");
    }
    for query in ["from=x", "from=s1_99999_0", "room_id=x", "timeout=x"] {
        let line = format!("GET /_matrix/client/v3/events?{query}");
        assert_eq!(refused(&home.ask_as(&bob, &line, "").await), (400, "M_INVALID_PARAM"), "{query}");
    }
}

#[tokio::test]
async fn whom_one_ignores_is_not_heard() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let line = format!("PUT /_matrix/client/v3/user/{}/account_data/m.ignored_user_list", bob.id);
    home.send_as(&bob, &line, json!({ "ignored_users": { &alice.id: {} } })).await;
    let from = now(&home, &bob).await;
    room(&home, &alice, json!({ "invite": [bob.id] })).await;
    assert_eq!(listen(&home, &bob, &format!("&from={from}")).await["chunk"], json!([]));
    let shown = home.ask_as(&bob, "GET /_matrix/client/v3/initialSync", "").await;
    assert_eq!(shown.body["rooms"], json!([]));
}

#[tokio::test]
async fn one_event() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let room = room(&home, &alice, json!({})).await;
    let said = say(&home, &alice, &room, 1).await;
    for version in ["v3", "r0"] {
        let line = format!("GET /_matrix/client/{version}/events/{said}");
        let shown = home.ask_as(&alice, &line, "").await.body;
        assert_eq!((&shown["room_id"], &shown["content"]), (&json!(room), &json!({ "n": 1 })));
        assert_eq!(refused(&home.ask_as(&bob, &line, "").await), (404, "M_NOT_FOUND"));
    }
    for id in ["$unknown", "nonsense"] {
        let line = format!("GET /_matrix/client/v3/events/{id}");
        assert_eq!(refused(&home.ask_as(&alice, &line, "").await), (404, "M_NOT_FOUND"), "{id}");
    }
}

#[tokio::test]
async fn all_rooms_at_once() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let open = room(&home, &alice, json!({ "preset": "public_chat", "visibility": "public" })).await;
    for n in 0..30 {
        say(&home, &alice, &open, n).await;
    }
    home.send_as(&bob, &format!("POST /_matrix/client/v3/rooms/{open}/join"), json!({})).await;
    let ask = async |query: &str| home.ask_as(&bob, &format!("GET /_matrix/client/v3/initialSync{query}"), "").await;
    let shown = ask("").await.body;
    let messages = &shown["rooms"][0]["messages"];
    assert_eq!((shown["rooms"][0]["visibility"].as_str(), ids(messages).len()), (Some("public"), 20));
    assert_eq!(ids(&ask("?limit=3").await.body["rooms"][0]["messages"]).len(), 3);
    home.send_as(&bob, &format!("POST /_matrix/client/v3/rooms/{open}/leave"), json!({})).await;
    assert_eq!(ask("?archived=false").await.body["rooms"], json!([]));
    assert_eq!(ask("?archived=true").await.body["rooms"][0]["membership"], "leave");
    home.send_as(&bob, &format!("POST /_matrix/client/v3/rooms/{open}/forget"), json!({})).await;
    assert_eq!(ask("?archived=true").await.body["rooms"], json!([]));
    for query in ["?limit=x", "?limit=-1", "?archived=perhaps"] {
        assert_eq!(refused(&ask(query).await), (400, "M_INVALID_PARAM"), "{query}");
    }
    assert_eq!(refused(&home.ask("GET /_matrix/client/v3/initialSync", "").await), (401, "M_MISSING_TOKEN"));
}
