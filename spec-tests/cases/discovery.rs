//! What a client asks first: versions, well-known, capabilities. Client-server API, "Web Browser Clients", "API
//! Standards", "Server Discovery" and "Capabilities negotiation".

use depesche_spec_tests::prelude::*;

#[tokio::test]
async fn versions_list_the_run_of_stable_releases() {
    let versions = shared().client().get("/_matrix/client/versions", &[]).await.ok();
    let listed: Vec<&str> = versions["versions"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    for version in ["v1.1", "v1.5", "v1.11", "v1.12"] {
        assert!(listed.contains(&version), "{version} is not in {listed:?}");
    }
    assert!(versions.get("unstable_features").is_none_or(Value::is_object));
}

#[tokio::test]
async fn versions_name_the_features_without_which_clients_leave_things_undone() {
    let versions = shared().client().get("/_matrix/client/versions", &[]).await.ok();
    let features = &versions["unstable_features"];
    // Element sets up encryption, shows threads and private receipts, and finds spaces by these.
    for feature in [
        "org.matrix.e2e_cross_signing",
        "org.matrix.msc2285.stable",
        "org.matrix.msc2432",
        "org.matrix.msc3440.stable",
        "org.matrix.msc3827.stable",
        "org.matrix.msc4380.stable",
        "uk.tcpip.msc4133.stable",
    ] {
        assert_eq!(features[feature], true, "{feature}: {features}");
    }
}

#[tokio::test]
async fn versions_need_no_token_and_accept_one() {
    let alice = shared().user("alice").await;
    alice.get("/_matrix/client/versions", &[]).await.ok();
    alice.without_token().get("/_matrix/client/versions", &[]).await.ok();
}

#[tokio::test]
async fn well_known_names_the_homeserver() {
    let answer = shared().client().get("/.well-known/matrix/client", &[]).await.ok();
    let url = answer["m.homeserver"]["base_url"].as_str().expect("a base URL");
    assert!(url.starts_with("http"), "{url}");
}

#[tokio::test]
async fn contacts_that_are_not_configured_are_not_found() {
    let answer = shared().client().get("/.well-known/matrix/support", &[]).await;
    answer.status(404);
}

#[tokio::test]
async fn capabilities_need_a_token() {
    shared().client().get("/_matrix/client/v3/capabilities", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn capabilities_say_which_room_versions_there_are() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/capabilities", &[]).await.ok();
    let versions = &answer["capabilities"]["m.room_versions"];
    for version in ["6", "7", "8", "9", "10", "11", "12"] {
        assert_eq!(versions["available"][version], "stable", "{versions}");
    }
    let default = versions["default"].as_str().expect("a default");
    assert_eq!(versions["available"][default], "stable");
}

#[tokio::test]
async fn capabilities_say_that_the_password_can_be_changed() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/capabilities", &[]).await.ok();
    // A server that says nothing means yes.
    assert_ne!(answer["capabilities"]["m.change_password"]["enabled"], false, "{answer}");
}

#[tokio::test]
async fn capabilities_say_in_both_ways_that_the_profile_can_be_changed() {
    let alice = shared().user("alice").await;
    let answer = alice.get("/_matrix/client/v3/capabilities", &[]).await.ok();
    // Who says the first must say the others, for older clients.
    for name in ["m.profile_fields", "m.set_displayname", "m.set_avatar_url"] {
        assert_eq!(answer["capabilities"][name], json!({ "enabled": true }), "{name}: {answer}");
    }
}

#[tokio::test]
async fn browsers_may_call_from_anywhere() {
    let client = shared().client();
    let options = client.request("OPTIONS".parse().expect("a method"), "/_matrix/client/v3/login", &[]);
    let preflight =
        options.header("Origin", "https://app.example").header("Access-Control-Request-Method", "POST").await;
    assert!([200, 204].contains(&preflight.status), "{preflight}");
    let answer = client.get("/_matrix/client/v3/login", &[]).header("Origin", "https://app.example").await;
    for answer in [preflight, answer] {
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer}");
        let methods = answer.header("access-control-allow-methods").to_owned();
        assert!(methods.is_empty() || ["GET", "POST", "PUT", "DELETE", "OPTIONS"].iter().all(|m| methods.contains(m)));
    }
}

#[tokio::test]
async fn errors_too_may_be_read_by_browsers() {
    let answer = shared().client().get("/_matrix/client/v3/account/whoami", &[]).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*", "{answer}");
    answer.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn no_other_networks_are_bridged() {
    let alice = shared().user("alice").await;
    assert_eq!(alice.get("/_matrix/client/v3/thirdparty/protocols", &[]).await.ok(), json!({}));
    let answer = alice.get("/_matrix/client/v3/thirdparty/protocol/{protocol}", &["irc"]).await;
    differs(
        "client-server-api#get_matrixclientv3thirdpartyprotocolprotocol",
        || answer.clone().error(404, "M_NOT_FOUND"),
        || answer.clone().status(404),
    );
    shared().client().get("/_matrix/client/v3/thirdparty/protocols", &[]).await.error(401, "M_MISSING_TOKEN");
}

#[tokio::test]
async fn nobody_and_no_room_is_on_another_network() {
    let alice = shared().user("alice").await;
    let asked = async |asker: &Client| {
        let alias = [("alias", "#matrix:depesche.test")];
        [
            asker.get("/_matrix/client/v3/thirdparty/location/{protocol}", &["irc"]).await,
            asker.get("/_matrix/client/v3/thirdparty/location", &[]).query(&alias).await,
            asker.get("/_matrix/client/v3/thirdparty/user/{protocol}", &["irc"]).await,
            asker.get("/_matrix/client/v3/thirdparty/user", &[]).query(&[("userid", &*alice.id)]).await,
        ]
    };
    for answer in asked(&alice).await {
        differs(
            "client-server-api#third-party-networks",
            || drop(answer.clone().error(404, "M_NOT_FOUND")),
            || assert_eq!(answer.clone().ok(), json!([])),
        );
    }
    for answer in asked(&alice.without_token()).await {
        answer.error(401, "M_MISSING_TOKEN");
    }
}
