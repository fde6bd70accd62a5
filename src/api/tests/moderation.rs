//! `/_matrix/client/v1/admin/`: what an administrator does to others.

use ruma::user_id;
use serde_json::json;

use super::{Home, Person, refused};

/// An administrator, another one, and alice.
async fn people(home: &Home) -> (Person, Person, Person) {
    let (boss, other, alice) = (home.user("boss").await, home.user("other").await, home.user("alice").await);
    for admin in [user_id!("@boss:test"), user_id!("@other:test")] {
        home.app.server.accounts.set_admin(admin, true).await.unwrap();
    }
    (boss, other, alice)
}

#[tokio::test]
async fn put_and_get_admin_suspend_and_lock() {
    let home = Home::open().await;
    let (boss, _, _) = people(&home).await;
    for (what, flag) in [("suspend", "suspended"), ("lock", "locked")] {
        for prefix in ["v1", "unstable/uk.timedout.msc4323"] {
            let path = format!("/_matrix/client/{prefix}/admin/{what}/@alice:test");
            for value in [true, false] {
                let wanted = json!({ flag: value });
                assert_eq!(home.send_as(&boss, &format!("PUT {path}"), wanted.clone()).await.body, wanted);
                assert_eq!(home.ask_as(&boss, &format!("GET {path}"), "").await.body, wanted);
            }
            let answer = home.send_as(&boss, &format!("PUT {path}"), json!({})).await;
            assert_eq!(refused(&answer), (400, "M_BAD_JSON"));
        }
    }
}

#[tokio::test]
async fn who_may_and_whom_they_reach() {
    let home = Home::open().await;
    let (boss, other, alice) = people(&home).await;
    home.app.server.deactivate(user_id!("@other:test"), false).await.unwrap();
    home.app.server.accounts.set_admin(user_id!("@alice:test"), true).await.unwrap();
    home.user("carol").await;
    for (what, flag) in [("suspend", "suspended"), ("lock", "locked")] {
        for (target, put, get) in [
            ("@carol:test", (200, "none"), (200, "none")),
            ("@boss:test", (403, "M_FORBIDDEN"), (200, "none")),
            ("@alice:test", (403, "M_FORBIDDEN"), (403, "M_FORBIDDEN")),
            (other.id.as_str(), (404, "M_NOT_FOUND"), (404, "M_NOT_FOUND")),
            ("@nobody:test", (404, "M_NOT_FOUND"), (404, "M_NOT_FOUND")),
            ("@alice:elsewhere", (400, "M_INVALID_PARAM"), (400, "M_INVALID_PARAM")),
        ] {
            let path = format!("/_matrix/client/v1/admin/{what}/{target}");
            let answer = home.send_as(&boss, &format!("PUT {path}"), json!({ flag: true })).await;
            assert_eq!(refused(&answer), put, "{path}");
            assert_eq!(refused(&home.ask_as(&boss, &format!("GET {path}"), "").await), get, "{path}");
        }
    }
    home.app.server.accounts.set_admin(user_id!("@alice:test"), false).await.unwrap();
    for target in ["@carol:test", "@nobody:test", "@alice:test", "@alice:elsewhere"] {
        for (what, flag) in [("suspend", "suspended"), ("lock", "locked")] {
            let path = format!("/_matrix/client/v1/admin/{what}/{target}");
            let answer = home.send_as(&alice, &format!("PUT {path}"), json!({ flag: true })).await;
            assert_eq!(refused(&answer), (403, "M_FORBIDDEN"), "{path}");
            assert_eq!(refused(&home.ask_as(&alice, &format!("GET {path}"), "").await), (403, "M_FORBIDDEN"), "{path}");
        }
    }
}

#[tokio::test]
async fn get_admin_whois() {
    let home = Home::open().await;
    let (boss, _, alice) = people(&home).await;
    let line = "GET /_matrix/client/v3/admin/whois/@alice:test";
    let device = json!({ "PHONE": { "sessions": [{}] } });
    for asker in [&boss, &alice] {
        let mut answer = home.ask_as(asker, line, "").await.body;
        if answer["devices"]["PHONE"]["sessions"][0]["connections"].is_array() {
            // Noted beside an earlier answer.
            answer["devices"]["PHONE"]["sessions"][0] = json!({});
        }
        assert_eq!(answer, json!({ "user_id": "@alice:test", "devices": device }));
    }
    for (target, wanted) in [("@nobody:test", (404, "M_NOT_FOUND")), ("@alice:elsewhere", (400, "M_INVALID_PARAM"))] {
        let line = format!("GET /_matrix/client/v3/admin/whois/{target}");
        assert_eq!(refused(&home.ask_as(&boss, &line, "").await), wanted);
        assert_eq!(refused(&home.ask_as(&alice, &line, "").await), (403, "M_FORBIDDEN"));
    }
}

#[tokio::test]
async fn only_administrators_are_told_of_moderation() {
    let home = Home::open().await;
    let (boss, _, alice) = people(&home).await;
    let line = "GET /_matrix/client/v3/capabilities";
    let capability = async |who| home.ask_as(who, line, "").await.body["capabilities"]["m.account_moderation"].clone();
    assert_eq!(capability(&boss).await, json!({ "suspend": true, "lock": true }));
    assert!(capability(&alice).await.is_null());
}
