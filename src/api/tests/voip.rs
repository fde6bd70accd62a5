//! `/_matrix/client/v3/voip/turnServer`.

use serde_json::json;

use super::{CONFIG, Home, refused};

const LINE: &str = "GET /_matrix/client/v3/voip/turnServer";

#[tokio::test]
async fn a_user_gets_a_name_and_a_password_for_a_while() {
    let turn =
        "[turn]\nuris = [\"turn:turn.test\", \"turns:turn.test\"]\nlifetime = \"1h\"\nshared_secret_file = \"/a\"\n";
    let home = Home::with(&format!("{CONFIG}\n{turn}")).await;
    let alice = home.user("alice").await;
    // The password was made by another implementation.
    let expected = json!({
        "username": "1700003600:@alice:test", "password": "khmpmg9fZgaFFuMqO5zBun4uVn4=",
        "uris": ["turn:turn.test", "turns:turn.test"], "ttl": 3600,
    });
    assert_eq!(home.ask_as(&alice, LINE, "").await.body, expected);
    assert_eq!(refused(&home.ask(LINE, "").await), (401, "M_MISSING_TOKEN"));
}

#[tokio::test]
async fn without_servers_there_is_nothing_to_show() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let answer = home.ask_as(&alice, LINE, "").await;
    assert_eq!((answer.status, answer.body), (200, json!({})));
}
