//! The table of routes, and the endpoints that need no server.

use std::collections::BTreeSet;

use super::{Home, refused};
use crate::{client::versions::FEATURES, listing};

/// The modules that a path leads to, by the rule of the house.
fn modules(path: &str) -> Vec<String> {
    let mut segments = path.trim_matches('/').split('/').peekable();
    let mut modules = Vec::new();
    while let Some(segment) = segments.next() {
        let is_version = segment.len() <= 3
            && segment.starts_with(['v', 'r'])
            && segment[1..].chars().all(|digit| digit.is_ascii_digit());
        if segment == "_matrix" || is_version || segment.starts_with('{') {
            continue;
        }
        if segment == "unstable" {
            // The vendor's prefix, if there is one, is no part of the name.
            segments.next_if(|next| next.contains('.'));
            continue;
        }
        modules.push(snake_case(segment));
    }
    modules
}

fn snake_case(segment: &str) -> String {
    let mut name = String::new();
    for character in segment.trim_start_matches('.').chars() {
        if character.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(if matches!(character, '-' | '.') { '_' } else { character.to_ascii_lowercase() });
    }
    name
}

#[test]
fn the_rule_from_url_to_file() {
    for (path, expected) in [
        ("/_matrix/client/v3/rooms/{room_id}/send/{event_type}/{txn_id}", "client/rooms/send"),
        ("/_matrix/client/r0/createRoom", "client/create_room"),
        ("/_matrix/client/unstable/org.matrix.msc3916/media/config", "client/media/config"),
        ("/_matrix/client/versions", "client/versions"),
        ("/.well-known/matrix/client", "well_known/matrix/client"),
    ] {
        assert_eq!(modules(path).join("/"), expected);
    }
}

#[test]
fn every_handler_lies_where_its_url_leads() {
    for routed in listing() {
        let file = routed.file.trim_start_matches("src/api/").trim_end_matches(".rs");
        // What became `room_summary` was a part of `rooms` before it was specified.
        for path in routed.paths.iter().filter(|path| !path.contains("/im.nheko.summary/")) {
            let modules = modules(path).join("/");
            let is_prefix = modules == file || modules.starts_with(&format!("{file}/"));
            assert!(is_prefix, "{} {path} leads to {modules}, but is handled in {file}", routed.method);
        }
    }
}

#[test]
fn no_route_is_registered_twice() {
    let mut seen = BTreeSet::new();
    for routed in listing() {
        assert!(!routed.paths.is_empty());
        for path in routed.paths {
            let shape = path.split('/').map(|segment| if segment.starts_with('{') { "{}" } else { segment });
            let shape = shape.collect::<Vec<_>>().join("/");
            assert!(seen.insert((routed.method.clone(), shape)), "{} {path}", routed.method);
        }
    }
}

#[tokio::test]
async fn get_well_known_matrix_client() {
    let answer = Home::open().await.ask("GET /.well-known/matrix/client", "").await;
    assert_eq!(answer.body, serde_json::json!({ "m.homeserver": { "base_url": "https://matrix.test" } }));
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn get_well_known_matrix_support() {
    let answer = Home::open().await.ask("GET /.well-known/matrix/support", "").await;
    let admin = serde_json::json!({ "matrix_id": "@admin:test", "role": "m.role.admin" });
    assert_eq!(answer.body, serde_json::json!({ "contacts": [admin], "support_page": "https://test/help" }));
}

#[tokio::test]
async fn get_client_versions() {
    let answer = Home::open().await.ask("GET /_matrix/client/versions", "").await;
    let versions = answer.body["versions"].as_array().unwrap();
    assert_eq!((versions.len(), &versions[0], &versions[18]), (19, &"v1.1".into(), &"v1.19".into()));
    let features = answer.body["unstable_features"].as_object().unwrap();
    assert!(features.values().all(|served| *served == true), "{features:?}");
    assert!(
        features.contains_key("org.matrix.e2e_cross_signing") && features.contains_key("org.matrix.msc3827.stable")
    );
    assert!(!features.contains_key("org.matrix.simplified_msc3575"));
}

#[test]
fn a_feature_is_announced_by_its_unstable_name_where_its_unstable_paths_are_served() {
    let paths: Vec<String> = listing().into_iter().flat_map(|routed| routed.paths).collect();
    let proposals = FEATURES.iter().filter(|name| name.contains(".msc") && !name.ends_with(".stable"));
    for name in proposals {
        // Of several parts of a proposal, the paths have the proposal's name alone.
        let proposal = name.strip_suffix(".query_mutual_rooms").unwrap_or(name);
        let prefix = format!("/_matrix/client/unstable/{proposal}/");
        assert!(paths.iter().any(|path| path.starts_with(&prefix)), "{name}");
    }
}

#[tokio::test]
async fn get_client_capabilities() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let answer = home.ask_as(&alice, "GET /_matrix/client/v3/capabilities", "").await;
    let versions = &answer.body["capabilities"]["m.room_versions"];
    assert_eq!(versions["default"], "12");
    for (version, stability) in [("3", "unstable"), ("5", "unstable"), ("6", "stable"), ("12", "stable")] {
        assert_eq!(versions["available"][version], stability, "{version}");
    }
    assert_eq!(versions["available"].as_object().unwrap().len(), 10);
    assert_eq!(answer.body["capabilities"]["m.3pid_changes"]["enabled"], false);
    for name in ["m.profile_fields", "m.set_displayname", "m.set_avatar_url"] {
        assert_eq!(answer.body["capabilities"][name]["enabled"], true, "{name}");
    }
}

#[tokio::test]
async fn get_client_thirdparty() {
    let home = Home::open().await;
    let alice = home.user("alice").await;
    let path = "/_matrix/client/v3/thirdparty";
    for (rest, missing) in [("location", "?alias=x"), ("location/irc", ""), ("user", "?userid=x"), ("user/irc", "")] {
        let line = format!("GET {path}/{rest}");
        assert_eq!(refused(&home.ask(&line, "").await), (401, "M_MISSING_TOKEN"), "{line}");
        let expected = if missing.is_empty() { (404, "M_NOT_FOUND") } else { (400, "M_MISSING_PARAM") };
        assert_eq!(refused(&home.ask_as(&alice, &line, "").await), expected, "{line}");
        let expected = if missing.is_empty() { (404, "M_NOT_FOUND") } else { (400, "M_INVALID_PARAM") };
        assert_eq!(refused(&home.ask_as(&alice, &format!("{line}{missing}"), "").await), expected, "{line}");
    }
    for query in ["location?alias=%23a:test", "user?userid=@a:test"] {
        let answer = home.ask_as(&alice, &format!("GET {path}/{query}"), "").await;
        assert_eq!(refused(&answer), (404, "M_NOT_FOUND"), "{query}");
    }
}
