//! Rooms that two users share. Client-server API, "Mutual rooms".

use depesche_spec_tests::prelude::*;

const PATH: &str = "/_matrix/client/v1/mutual_rooms";

#[tokio::test]
async fn rooms_that_both_are_joined_to() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let mutual = async |with: &str| alice.get("/_matrix/client/v1/mutual_rooms", &[]).query(&[("user_id", with)]).await;
    assert_eq!(mutual(&bob.id).await.ok(), json!({ "joined": [], "count": 0 }));
    let (shared_room, left) = (alice.public_room().await, alice.public_room().await);
    alice.public_room().await;
    bob.public_room().await;
    let invited = alice.create_room(json!({ "invite": [bob.id] })).await;
    bob.join(&shared_room).await;
    bob.join(&left).await;
    bob.leave(&left).await;
    assert_eq!(mutual(&bob.id).await.ok(), json!({ "joined": [shared_room], "count": 1 }));
    bob.join(&invited).await;
    let both = mutual(&bob.id).await.ok();
    assert_eq!((&both["count"], both["joined"].as_array().map(Vec::len)), (&json!(2), Some(2)), "{both}");
    assert!(both.get("next_batch").is_none(), "{both}");
    assert_eq!(mutual("@nobody:depesche.test").await.ok(), json!({ "joined": [], "count": 0 }));
}

#[tokio::test]
async fn mutual_rooms_are_asked_with_another_user_and_a_token() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    for query in [
        vec![],
        vec![("user_id", "nobody")],
        vec![("user_id", alice.id.as_str())],
        vec![("user_id", "@Not Compliant:depesche.test")],
        vec![("user_id", bob.id.as_str()), ("from", "nonsense")],
    ] {
        let answer = alice.get(PATH, &[]).query(&query).await;
        assert!(answer.status == 400, "{query:?}: {answer}");
        answer.error_in(400, &["M_INVALID_PARAM", "M_MISSING_PARAM"]);
    }
}

#[tokio::test]
async fn rooms_that_both_are_joined_to_are_told_by_the_older_name_too() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    let path = "/_matrix/client/unstable/uk.half-shot.msc2666/user/mutual_rooms";
    let answer = alice.get(path, &[]).query(&[("user_id", &bob.id)]).await;
    let nonsense = alice.get(path, &[]).query(&[("user_id", &bob.id), ("batch_token", "nonsense")]).await;
    let versions = alice.get("/_matrix/client/versions", &[]).await.ok();
    differs(
        "client-server-api#get_matrixclientv1mutual_rooms",
        || {
            assert_eq!((answer.status, &answer.body), (200, &json!({ "joined": [room], "count": 1 })));
            nonsense.error(400, "M_INVALID_PARAM");
            assert_eq!(versions["unstable_features"]["uk.half-shot.msc2666.query_mutual_rooms"], true);
        },
        || assert_eq!((answer.status, &answer.body["errcode"]), (404, &json!("M_UNRECOGNIZED"))),
    );
}
