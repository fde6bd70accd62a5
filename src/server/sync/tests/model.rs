//! A client that applies what it is told ends with the state the server has, whatever the filter leaves out.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ruma::{OwnedRoomId, events::StateEventType};

use super::*;
use crate::{
    rooms::{membership::Action, send::State},
    testing::{object, user},
};

/// What happens in the room.
#[derive(Clone, Debug)]
enum Step {
    Say,
    Set(u8, u8),
    Come(u8),
    Go(u8),
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Say),
        3 => (0..4u8, 0..4u8).prop_map(|(key, value)| Step::Set(key, value)),
        2 => (0..4u8).prop_map(Step::Come),
        1 => (0..4u8).prop_map(Step::Go),
        2 => Just(Step::Sync),
    ]
}

/// State as a client keeps it: type and state key to event id.
type Known = BTreeMap<(String, String), String>;

fn apply(known: &mut Known, events: &Value) {
    for event in events["events"].as_array().into_iter().flatten() {
        if let Some(key) = event["state_key"].as_str() {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            known.insert((text("type"), key.to_owned()), text("event_id"));
        }
    }
}

async fn truth(server: &Server, room: &OwnedRoomId) -> Known {
    let view = server.rooms.rooms.find(room).await.unwrap().unwrap();
    let numbers: Vec<_> = view.state_all(view.root()).await.unwrap().into_iter().map(|(_, no)| no).collect();
    let events = view.events(&numbers).await.unwrap();
    let entry = |event: &crate::rooms::view::Event| {
        let key = (event.pdu.kind().to_string(), event.pdu.state_key().unwrap().to_owned());
        (key, event.pdu.event_id().to_string())
    };
    events.iter().map(entry).collect()
}

async fn play(steps: Vec<Step>, limit: usize, after: bool, timeline: Value) {
    let server = Server::new();
    let alice = user("alice");
    let room = server.rooms.public_room(&alice).await;
    let mut filter = json!({ "room": { "timeline": timeline } });
    filter["room"]["timeline"]["limit"] = json!(limit);
    let mut client = server.client_with(&alice, filter);
    client.request.use_state_after = after;
    let mut known = Known::new();
    for step in steps.into_iter().chain([Step::Sync]) {
        let member = |n: u8| user(&format!("member{n}"));
        match step {
            Step::Say => drop(server.rooms.say(&room, &alice, "hello").await),
            Step::Set(key, value) => {
                let state = State {
                    sender: alice.clone(),
                    kind: StateEventType::from("test.state"),
                    state_key: key.to_string(),
                    content: object(json!({ "value": value })),
                };
                server.rooms.rooms.submit(&room, state).await.unwrap();
            }
            Step::Come(n) => server.rooms.join(&room, &member(n)).await,
            // Who is not there cannot go.
            Step::Go(n) => drop(server.rooms.change(&room, &member(n), &member(n), Action::Leave).await),
            Step::Sync => {
                let answer = client.sync().await;
                let joined = &answer["rooms"]["join"][room.as_str()];
                if after {
                    apply(&mut known, &joined["state_after"]);
                } else {
                    apply(&mut known, &joined["state"]);
                    apply(&mut known, &joined["timeline"]);
                }
                assert_eq!(known, truth(&server, &room).await);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::testing::cases(48)))]

    #[test]
    fn a_client_knows_the_state(
        steps in prop::collection::vec(step(), 1..40),
        limit in 0..8usize,
        after: bool,
        filter in prop_oneof![
            Just(json!({})),
            Just(json!({ "types": ["m.room.message"] })),
            Just(json!({ "not_types": ["m.room.member"] })),
            Just(json!({ "types": [] })),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps, limit, after, filter));
    }
}
