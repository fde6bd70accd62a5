//! Addresses of mail and telephone, on a server that keeps none. Client-server API, "Adding account administrative
//! contact information".

use depesche_spec_tests::prelude::*;

fn mail() -> Value {
    json!({ "client_secret": "monkeys_are_green", "email": "nobody@example.org", "send_attempt": 1 })
}

fn telephone() -> Value {
    json!({ "client_secret": "monkeys_are_green", "country": "GB", "phone_number": "07700900001", "send_attempt": 1 })
}

#[tokio::test]
async fn an_account_has_no_addresses() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/account/3pid", &[]).await.ok();
    assert_eq!(answer["threepids"], json!([]), "{answer}");
    alice.without_token().get("/_matrix/client/v3/account/3pid", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn no_address_is_added_or_published() {
    let alice = shared().user("alice").await;
    let body = json!({ "client_secret": "monkeys_are_green", "sid": "1" });
    let added = alice.post("/_matrix/client/v3/account/3pid/add", &[]).json(body.clone()).await;
    differs(
        "client-server-api#adding-account-administrative-contact-information",
        || drop(added.clone().error(403, "M_THREEPID_AUTH_FAILED")),
        || drop(added.clone().status(401)),
    );
    let mut body = body;
    body["id_server"] = "identity.example".into();
    body["id_access_token"] = "token".into();
    let bound = alice.post("/_matrix/client/v3/account/3pid/bind", &[]).json(body).await;
    differs(
        "client-server-api#adding-account-administrative-contact-information",
        || drop(bound.clone().error(403, "M_SERVER_NOT_TRUSTED")),
        || drop(bound.clone().status(500)),
    );
}

#[tokio::test]
async fn no_address_is_added_in_the_older_way() {
    let alice = shared().user("alice").await;
    let proof = json!({
        "client_secret": "monkeys_are_green", "sid": "1", "id_server": "identity.example", "id_access_token": "token"
    });
    let added = alice.post("/_matrix/client/v3/account/3pid", &[]).json(json!({ "three_pid_creds": proof })).await;
    differs(
        "client-server-api#post_matrixclientv3account3pid",
        || drop(added.clone().error(403, "M_THREEPID_AUTH_FAILED")),
        || drop(added.clone().error(400, "M_THREEPID_AUTH_FAILED")),
    );
    let answer = alice.post("/_matrix/client/v3/account/3pid", &[]).json(json!({})).await;
    answer.error_in(400, &["M_BAD_JSON", "M_MISSING_PARAM"]);
    let answer = alice.get("/_matrix/client/v3/account/3pid", &[]).await.ok();
    assert_eq!(answer["threepids"], json!([]), "{answer}");
    let path = "/_matrix/client/v3/account/3pid";
    shared().client().post(path, &[]).json(json!({})).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn an_address_that_is_not_there_is_gone() {
    let alice = shared().user("alice").await;
    let body = json!({ "medium": "email", "address": "nobody@example.org" });
    for answer in [
        alice.post("/_matrix/client/v3/account/3pid/delete", &[]).json(body.clone()).await,
        alice.post("/_matrix/client/v3/account/3pid/unbind", &[]).json(body).await,
    ] {
        let result = answer.ok()["id_server_unbind_result"].clone();
        assert!(result == "no-support" || result == "success", "{result}");
    }
}

#[tokio::test]
async fn no_message_is_sent_to_prove_an_address() {
    let client = shared().client();
    for answer in [
        client.post("/_matrix/client/v3/account/3pid/email/requestToken", &[]).json(mail()).await,
        client.post("/_matrix/client/v3/account/3pid/msisdn/requestToken", &[]).json(telephone()).await,
    ] {
        answer.error(400, "M_THREEPID_MEDIUM_NOT_SUPPORTED");
    }
    let registering = [
        client.post("/_matrix/client/v3/register/email/requestToken", &[]).json(mail()).await,
        client.post("/_matrix/client/v3/register/msisdn/requestToken", &[]).json(telephone()).await,
    ];
    differs(
        "client-server-api#legacy-account-registration",
        || registering.clone().into_iter().for_each(|answer| drop(answer.error(403, "M_THREEPID_DENIED"))),
        || registering.clone().into_iter().for_each(|answer| drop(answer.error(400, "M_UNKNOWN"))),
    );
}

#[tokio::test]
async fn no_address_leads_to_a_forgotten_password() {
    let client = shared().client();
    let by_mail = client.post("/_matrix/client/v3/account/password/email/requestToken", &[]).json(mail()).await;
    let by_telephone = client.post("/_matrix/client/v3/account/password/msisdn/requestToken", &[]);
    let by_telephone = by_telephone.json(telephone()).await;
    differs(
        "client-server-api#password-management",
        || {
            by_mail.clone().error(400, "M_THREEPID_NOT_FOUND");
            by_telephone.clone().error(400, "M_THREEPID_NOT_FOUND");
        },
        || {
            by_mail.clone().error(400, "M_UNKNOWN");
            by_telephone.clone().error(404, "M_UNRECOGNIZED");
        },
    );
}
