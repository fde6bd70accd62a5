//! Tokens that tell another service who a user is. Client-server API, "OpenID".

use depesche_spec_tests::prelude::*;

const TOKEN: &str = "/_matrix/client/v3/user/{userId}/openid/request_token";

#[tokio::test]
async fn a_user_gets_a_token_for_other_services() {
    let alice = shared().user("alice").await;
    let answer = alice.post(TOKEN, &[&alice.id]).json(json!({})).await.ok();
    assert_eq!((&answer["token_type"], &answer["matrix_server_name"]), (&json!("Bearer"), &json!("depesche.test")));
    assert!(answer["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "{answer}");
    let token = answer["access_token"].as_str().expect("a token");
    // It is good for nothing else.
    let whoami = alice.with_token(token).get("/_matrix/client/v3/account/whoami", &[]).await;
    whoami.error(401, "M_UNKNOWN_TOKEN");
}

#[tokio::test]
async fn nobody_gets_a_token_of_another_user() {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    alice.post(TOKEN, &[&bob.id]).json(json!({})).await.error(403, "M_FORBIDDEN");
    alice.without_token().post(TOKEN, &[&alice.id]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn a_service_asks_whose_token_it_is() {
    let alice = shared().user("alice").await;
    let answer = alice.post(TOKEN, &[&alice.id]).json(json!({})).await.ok();
    let token = answer["access_token"].as_str().expect("a token");
    let service = shared().client();
    let whose = |token| service.get("/_matrix/federation/v1/openid/userinfo", &[]).query(&[("access_token", token)]);
    assert_eq!(whose(token).await.ok(), json!({ "sub": alice.id }));
    whose("nonsense").await.error(401, "M_UNKNOWN_TOKEN");
    // A token of the client is none.
    whose(alice.token()).await.error(401, "M_UNKNOWN_TOKEN");
    service.get("/_matrix/federation/v1/openid/userinfo", &[]).await.error(401, "M_MISSING_TOKEN");
}
