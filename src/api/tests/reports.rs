//! Reports of rooms, events and users, and the queue in which the operator finds them.

use serde_json::json;

use super::{Home, ask, refused};
use crate::admin;

#[tokio::test]
async fn reports_are_taken_shown_and_closed() {
    let home = Home::open().await;
    let (alice, bob) = (home.user("alice").await, home.user("bob").await);
    let room = home.send_as(&bob, "POST /_matrix/client/v3/createRoom", json!({ "preset": "public_chat" })).await;
    let room = room.body["room_id"].as_str().unwrap().to_owned();
    let path = format!("/_matrix/client/v3/rooms/{room}");
    let said = home.send_as(&bob, &format!("PUT {path}/send/org.example.x/1"), json!({ "body": "rude" })).await;
    let said = said.body["event_id"].as_str().unwrap().to_owned();
    let report = async |line: String, body| home.send_as(&alice, &line, body).await;
    let why = json!({ "reason": "because" });

    let line = format!("POST {path}/report/{said}");
    assert_eq!(refused(&report(line.clone(), why.clone()).await), (404, "M_NOT_FOUND"), "not joined");
    home.send_as(&alice, &format!("POST {path}/join"), json!({})).await;
    assert_eq!(report(line, json!({})).await.body, json!({}));
    assert_eq!(refused(&report(format!("POST {path}/report/$nothing"), why.clone()).await), (404, "M_NOT_FOUND"));
    // Of rooms and users nobody learns whether they exist.
    for line in [
        format!("POST {path}/report"),
        "POST /_matrix/client/v3/rooms/!nowhere:test/report".to_owned(),
        format!("POST /_matrix/client/v3/users/{}/report", bob.id),
        "POST /_matrix/client/v3/users/@nobody:test/report".to_owned(),
    ] {
        assert_eq!(report(line.clone(), why.clone()).await.body, json!({}), "{line}");
        assert_eq!(refused(&report(line.clone(), json!({})).await), (400, "M_BAD_JSON"), "{line}");
        assert_eq!(refused(&report(line.clone(), json!({ "reason": 7 })).await), (400, "M_BAD_JSON"), "{line}");
        let long = json!({ "reason": "x".repeat(4097) });
        if !line.contains("no") {
            assert_eq!(refused(&report(line.clone(), long).await), (413, "M_TOO_LARGE"), "{line}");
        }
    }

    let router = admin::router(&home.app);
    let list = ask(&router, None, "GET /_depesche/admin/reports", "").await.body;
    let kinds: Vec<_> = list["reports"].as_array().unwrap().iter().map(|report| report["kind"].clone()).collect();
    assert_eq!(kinds, ["event", "room", "user"]);
    let shown = ask(&router, None, "GET /_depesche/admin/reports/1", "").await.body;
    assert_eq!((&shown["event_id"], &shown["user_id"]), (&json!(said), &json!(bob.id)));
    assert_eq!(shown["event"]["content"]["body"], "rude");
    let closed = json!({ "note": "a word was had" }).to_string();
    let answer = ask(&router, None, "POST /_depesche/admin/reports/1/close", closed.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(ask(&router, None, "POST /_depesche/admin/reports/1/close", closed.clone()).await.status, 409);
    let answer = ask(&router, None, "POST /_depesche/admin/reports/9/close", closed).await;
    assert_eq!(refused(&answer), (404, "M_NOT_FOUND"));
    let missing = ask(&router, None, "GET /_depesche/admin/reports/9", "").await;
    assert_eq!((missing.status, &missing.body["error"]), (404, &json!("there is no such report")));
    assert_eq!(refused(&ask(&router, None, "GET /_depesche/admin/reports/x", "").await), (404, "M_NOT_FOUND"));
    let list = ask(&router, None, "GET /_depesche/admin/reports?limit=1", "").await.body;
    assert_eq!((&list["reports"][0]["number"], &list["next"]), (&json!(2), &json!(2)));
    let list = ask(&router, None, "GET /_depesche/admin/reports?all=true", "").await.body;
    assert_eq!(list["reports"][0]["note"], "a word was had");
}
