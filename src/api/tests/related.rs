//! `rooms/{roomId}/relations`, `threads` and `hierarchy`, and what sending refuses of relations: which codes, and what a
//! page is made of. What is related is tested in the server and by the black-box cases.

use serde_json::{Value, json};

use super::{Home, Person, refused};

/// A room with an event.
struct Scene {
    room: String,
    root: String,
}

async fn scene(home: &Home, creator: &Person) -> Scene {
    let answer = home.send_as(creator, "POST /_matrix/client/v3/createRoom", json!({})).await;
    let room = answer.body["room_id"].as_str().unwrap().to_owned();
    let mut scene = Scene { room, root: String::new() };
    scene.root = say(home, creator, &scene, "root", json!({})).await;
    scene
}

async fn say(home: &Home, person: &Person, scene: &Scene, txn: &str, relates_to: Value) -> String {
    let content = json!({ "msgtype": "m.text", "body": txn, "m.relates_to": relates_to });
    let line = format!("PUT /_matrix/client/v3/rooms/{}/send/m.room.message/{txn}", scene.room);
    let said = home.send_as(person, &line, content).await;
    said.body["event_id"].as_str().unwrap().to_owned()
}

fn ids(body: &Value) -> Vec<&str> {
    body["chunk"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn get_relations() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let scene = scene(&home, &alice).await;
    let refers = json!({ "rel_type": "m.reference", "event_id": scene.root });
    let one = say(&home, &alice, &scene, "one", refers.clone()).await;
    let two = say(&home, &alice, &scene, "two", refers).await;
    let path = format!("GET /_matrix/client/v1/rooms/{}/relations", scene.room);
    let get = async |rest: &str| home.ask_as(&alice, &format!("{path}/{}{rest}", scene.root), "").await;
    for (rest, found) in [
        ("", vec![&two, &one]),
        ("?dir=f", vec![&one, &two]),
        ("?recurse=true", vec![&two, &one]),
        ("/m.reference", vec![&two, &one]),
        ("/m.thread", vec![]),
        ("/m.reference/m.room.message", vec![&two, &one]),
        ("/m.reference/m.sticker", vec![]),
    ] {
        assert_eq!(ids(&get(rest).await.body), found, "{rest}");
    }
    for rest in ["?recurse=true", "/m.reference?dir=f&recurse=true", "/m.reference/m.room.message?recurse=true"] {
        assert_eq!(get(rest).await.body["recursion_depth"], 3, "{rest}");
    }
    assert_eq!(get("?recurse=false&limit=5").await.body["recursion_depth"], 1);
    assert!(get("?limit=5").await.body.get("recursion_depth").is_none());
    let first = get("?limit=1").await.body;
    let second = get(&format!("?limit=1&from={}", first["next_batch"].as_str().unwrap())).await.body;
    assert_eq!((ids(&first), ids(&second)), (vec![&*two], vec![&*one]));
    assert_eq!((&second["prev_batch"], second.get("next_batch")), (&first["next_batch"], None));
    for rest in ["?from=x", "?to=x", "?limit=x", "?limit=-1", "?dir=x", "?recurse=perhaps", "/m.reference?from=x"] {
        assert_eq!(refused(&get(rest).await), (400, "M_INVALID_PARAM"), "{rest}");
    }
    let root = format!("{path}/{}", scene.root);
    assert_eq!(refused(&home.ask(&root, "").await), (401, "M_MISSING_TOKEN"));
    assert_eq!(refused(&home.ask_as(&bob, &root, "").await), (404, "M_NOT_FOUND"));
    assert_eq!(refused(&home.ask_as(&alice, &format!("{path}/$nothing"), "").await), (404, "M_NOT_FOUND"));
    let nowhere = format!("GET /_matrix/client/v1/rooms/!none:test/relations/{}", scene.root);
    assert_eq!(refused(&home.ask_as(&alice, &nowhere, "").await), (404, "M_NOT_FOUND"));
}

#[tokio::test]
async fn get_threads() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let scene = scene(&home, &alice).await;
    let other = say(&home, &alice, &scene, "other", json!({})).await;
    let latest = say(&home, &alice, &scene, "a", json!({ "rel_type": "m.thread", "event_id": scene.root })).await;
    say(&home, &alice, &scene, "b", json!({ "rel_type": "m.thread", "event_id": other })).await;
    let path = format!("GET /_matrix/client/v1/rooms/{}/threads", scene.room);
    let get = async |rest: &str| home.ask_as(&alice, &format!("{path}{rest}"), "").await;
    for rest in ["", "?include=all", "?include=participated", "?limit=2"] {
        assert_eq!(ids(&get(rest).await.body), [&other, &scene.root], "{rest}");
    }
    let first = get("?limit=1").await.body;
    let second = get(&format!("?limit=1&from={}", first["next_batch"].as_str().unwrap())).await.body;
    assert_eq!((ids(&first), ids(&second)), (vec![&*other], vec![&*scene.root]));
    let thread = &second["chunk"][0]["unsigned"]["m.relations"]["m.thread"];
    assert_eq!((&thread["count"], &thread["current_user_participated"]), (&json!(1), &json!(true)));
    assert_eq!(thread["latest_event"]["event_id"], latest);
    for rest in ["?include=some", "?limit=0", "?limit=x", "?from=x"] {
        assert_eq!(refused(&get(rest).await), (400, "M_INVALID_PARAM"), "{rest}");
    }
    assert_eq!(refused(&home.ask(&path, "").await), (401, "M_MISSING_TOKEN"));
    assert_eq!(refused(&home.ask_as(&bob, &path, "").await), (403, "M_FORBIDDEN"));
    let nowhere = "GET /_matrix/client/v1/rooms/!none:test/threads";
    assert_eq!(refused(&home.ask_as(&alice, nowhere, "").await), (403, "M_FORBIDDEN"));
}

#[tokio::test]
async fn what_may_not_be_said_of_an_event() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let scene = scene(&home, &alice).await;
    let reply = say(&home, &alice, &scene, "a", json!({ "rel_type": "m.thread", "event_id": scene.root })).await;
    let send = async |kind: &str, txn: &str, relates_to: Value| {
        let line = format!("PUT /_matrix/client/v3/rooms/{}/send/{kind}/{txn}", scene.room);
        home.send_as(&alice, &line, json!({ "m.relates_to": relates_to })).await
    };
    let reaction = json!({ "rel_type": "m.annotation", "event_id": scene.root, "key": "+" });
    assert_eq!(send("m.reaction", "1", reaction.clone()).await.status, 200);
    assert_eq!(refused(&send("m.reaction", "2", reaction).await), (400, "M_DUPLICATE_ANNOTATION"));
    let nested = json!({ "rel_type": "m.thread", "event_id": reply });
    assert_eq!(refused(&send("org.example.x", "3", nested).await), (400, "M_UNKNOWN"));
}

#[tokio::test]
async fn get_hierarchy() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let body = json!({ "creation_content": { "type": "m.space" } });
    let space = home.send_as(&alice, "POST /_matrix/client/v3/createRoom", body).await;
    let space = space.body["room_id"].as_str().unwrap().to_owned();
    let inner = scene(&home, &alice).await.room;
    let child = format!("PUT /_matrix/client/v3/rooms/{space}/state/m.space.child/{inner}");
    home.send_as(&alice, &child, json!({ "via": ["test"] })).await;
    let path = format!("GET /_matrix/client/v1/rooms/{space}/hierarchy");
    let get = async |rest: &str| home.ask_as(&alice, &format!("{path}{rest}"), "").await;
    let rooms = |body: &Value| body["rooms"].as_array().unwrap().len();
    for (rest, found) in [("", 2), ("?max_depth=0", 1), ("?suggested_only=true", 1), ("?limit=1", 1)] {
        assert_eq!(rooms(&get(rest).await.body), found, "{rest}");
    }
    let next = get("?limit=1").await.body["next_batch"].as_str().unwrap().to_owned();
    assert_eq!(get(&format!("?from={next}")).await.body["rooms"][0]["room_id"], inner);
    let changed = [format!("?from={next}&max_depth=1"), format!("?from={next}&suggested_only=true")];
    let wrong = ["?from=x", "?limit=0", "?limit=x", "?max_depth=x", "?max_depth=-1", "?suggested_only=x"];
    for rest in changed.iter().map(String::as_str).chain(wrong) {
        assert_eq!(refused(&get(rest).await), (400, "M_INVALID_PARAM"), "{rest}");
    }
    assert_eq!(refused(&home.ask(&path, "").await), (401, "M_MISSING_TOKEN"));
    assert_eq!(refused(&home.ask_as(&bob, &path, "").await), (403, "M_FORBIDDEN"));
    let nowhere = "GET /_matrix/client/v1/rooms/!none:test/hierarchy";
    assert_eq!(refused(&home.ask_as(&alice, nowhere, "").await), (403, "M_FORBIDDEN"));
}
