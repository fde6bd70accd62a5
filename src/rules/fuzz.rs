//! Fuzz targets for the parsing of events. As plain tests they run the committed corpus in `__fuzz__/` and some random
//! input, for as long as `DEPESCHE_FUZZ_SECONDS` says; `cargo bolero test` runs them on a fuzzing engine.

use std::time::Duration;

use bolero::check;
use ruma::{RoomVersionId, events::AnyTimelineEvent};

use crate::{
    client_event::{RoomField, Unsigned, client_event, federation_format},
    json::{canonical_text, parse_object, parse_value},
    pdu::{Pdu, event_id},
    push::{EventFields, default_effect},
    redaction::redact,
    testing::{Room, message},
    versions::room_version_rules,
};

const VERSIONS: [RoomVersionId; 3] = [RoomVersionId::V6, RoomVersionId::V11, RoomVersionId::V12];

/// How many inputs a target is given, and for how long: few in passing, or for the seconds of `DEPESCHE_FUZZ_SECONDS`.
fn bounds() -> (usize, Duration) {
    let seconds = std::env::var("DEPESCHE_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    seconds.map_or((2_000, Duration::from_hours(1)), |seconds| (usize::MAX, Duration::from_secs(seconds)))
}

/// Whatever is accepted stays what it is through all that is done with an event. Returns whether it was accepted.
fn exercise(bytes: &[u8]) -> bool {
    let _ = parse_value(bytes);
    let mut accepted = false;
    for version in VERSIONS {
        let rules = room_version_rules(&version).unwrap();
        let Ok(event) = Pdu::from_json(bytes, rules) else { continue };
        accepted = true;
        assert_eq!(canonical_text(&event.to_object().unwrap()), event.json());
        assert_eq!(Pdu::from_json(event.json().as_bytes(), rules).unwrap(), event);
        let redacted = redact(&event, rules).unwrap();
        assert_eq!(event_id(&redacted.to_object().unwrap(), rules).unwrap(), *event.event_id());
        let client = client_event::<AnyTimelineEvent>(&event, RoomField::Present, &Unsigned::default());
        let client = parse_object(client.json().get().as_bytes()).unwrap();
        assert_eq!(client["event_id"].as_str(), Some(event.event_id().as_str()));
        parse_object(&serde_json::to_vec(&federation_format(&event)).unwrap()).unwrap();
        let room = Room::bare(version);
        default_effect(&event, &room.levels());
        EventFields::new(&event);
    }
    accepted
}

#[test]
fn event_from_json() {
    check!(name = "event_from_json").with_iterations(bounds().0).with_test_time(bounds().1).for_each(
        |bytes: &[u8]| {
            exercise(bytes);
        },
    );
}

/// A good event with bytes of it replaced: most random input is not even JSON.
#[test]
fn event_with_changed_bytes() {
    let mut room = Room::new(RoomVersionId::V12);
    let content = serde_json::json!({ "body": "hello", "m.mentions": { "user_ids": ["@ann:here"] }, "n": 12 });
    let good = room.send(message("creator", content)).json().as_bytes().to_vec();
    assert!(exercise(&good));
    check!(name = "event_with_changed_bytes")
        .with_iterations(bounds().0)
        .with_test_time(bounds().1)
        .with_type::<Vec<(u16, u8)>>()
        .for_each(|changes: &Vec<(u16, u8)>| {
            let mut bytes = good.clone();
            for (at, byte) in changes.iter().take(4) {
                let at = usize::from(*at) % bytes.len();
                bytes[at] = *byte;
            }
            exercise(&bytes);
        });
}

/// The corpus is worth its place only while it has both.
#[test]
fn the_corpus_has_good_and_bad_events() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/__fuzz__/event_from_json/corpus");
    let (mut good, mut bad) = (0, 0);
    for file in std::fs::read_dir(corpus).unwrap() {
        let accepted = exercise(&std::fs::read(file.unwrap().path()).unwrap());
        *(if accepted { &mut good } else { &mut bad }) += 1;
    }
    assert!(good >= 5 && bad >= 8, "{good} good, {bad} bad");
}
