//! The words of events: what is indexed, and what a search term is made of.
//!
//! A word is a stretch of letters and digits in lower case. Scripts that put no spaces between words (Han, Kana) are
//! taken character by character. Words are neither stemmed nor normalised beyond that.

use std::{borrow::Cow, collections::BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::records::search::Part;

/// Words of one event that are indexed, repeats not counted: an event is 64 kB at most, and who fills it with nothing but
/// new words is not found by the last of them.
const WORDS: usize = 1000;
/// From so many bytes on, the rest of a word is left out.
const WORD_BYTES: usize = 64;
/// The part of an edit that it replaces the event by.
const REPLACE: &str = "m.replace";

/// The words of a text, in its order, with repeats.
pub fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for character in text.chars() {
        if is_word(character) {
            words.extend(taken(&mut word));
            words.push(character.into());
        } else if !character.is_alphanumeric() {
            words.extend(taken(&mut word));
        } else if word.len() < WORD_BYTES {
            word.extend(character.to_lowercase());
        }
    }
    words.extend(taken(&mut word));
    words
}

/// The words of an event that are indexed.
pub fn indexed(words: Vec<String>) -> BTreeSet<String> {
    let mut distinct = BTreeSet::new();
    for word in words {
        if distinct.len() >= WORDS {
            break;
        }
        distinct.insert(word);
    }
    distinct
}

fn taken(word: &mut String) -> Option<String> {
    if word.is_empty() { None } else { Some(std::mem::take(word)) }
}

/// Whether a character is a word by itself: Hiragana and Katakana, Han.
fn is_word(character: char) -> bool {
    matches!(
        character,
        '\u{3041}'..='\u{30FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{20000}'..='\u{323AF}'
    ) && character.is_alphanumeric()
}

/// What of an event is searched, and its words. `None` if nothing is.
pub fn of_event(kind: &str, state_key: Option<&str>, content: &RawValue) -> Option<(Part, Vec<String>)> {
    let part = part(kind, state_key)?;
    let content = content.get();
    let words = match part {
        Part::Body => split(&body(content)?),
        Part::Name => split(&serde_json::from_str::<Name<'_>>(content).ok()?.name),
        Part::Topic => {
            let Topic { topic, rich } = topic(content);
            let plain = rich.into_iter().flat_map(|rich| rich.texts).find(Text::is_plain);
            let mut words: Vec<_> = topic.as_deref().map(split).unwrap_or_default();
            if let Some(plain) = plain.filter(|plain| topic.as_ref() != Some(&plain.body)) {
                words.extend(split(&plain.body));
            }
            words
        }
    };
    (!words.is_empty()).then_some((part, words))
}

/// What of an event of this type is searched.
fn part(kind: &str, state_key: Option<&str>) -> Option<Part> {
    match (kind, state_key) {
        ("m.room.message", _) => Some(Part::Body),
        ("m.room.name", Some("")) => Some(Part::Name),
        ("m.room.topic", Some("")) => Some(Part::Topic),
        _ => None,
    }
}

/// The text of a message; of an edit, the new text.
fn body(content: &str) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<Edit>(content) {
        Ok(Edit { relates_to: Some(relates_to), new_content: Some(new) }) if relates_to.rel_type == REPLACE => {
            Some(new.body.into())
        }
        // Whatever else is odd about a message, it says something.
        _ => Some(serde_json::from_str::<Message<'_>>(content).ok()?.body),
    }
}

fn topic(content: &str) -> Topic {
    serde_json::from_str(content).unwrap_or_else(|_| {
        let plain = serde_json::from_str::<PlainTopic>(content).ok();
        Topic { topic: plain.map(|plain| plain.topic), rich: None }
    })
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Edit {
    #[serde(rename = "m.relates_to")]
    relates_to: Option<RelatesTo>,
    #[serde(rename = "m.new_content")]
    new_content: Option<NewContent>,
}

#[derive(Deserialize)]
struct RelatesTo {
    #[serde(default)]
    rel_type: String,
}

#[derive(Deserialize)]
struct NewContent {
    body: String,
}

#[derive(Deserialize)]
struct Name<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PlainTopic {
    topic: String,
}

#[derive(Deserialize)]
struct Topic {
    topic: Option<String>,
    #[serde(rename = "m.topic")]
    rich: Option<RichTopic>,
}

#[derive(Deserialize)]
struct RichTopic {
    #[serde(rename = "m.text", default)]
    texts: Vec<Text>,
}

#[derive(Deserialize)]
struct Text {
    body: String,
    mimetype: Option<String>,
}

impl Text {
    /// Whether this is plain text, which is what it is if it does not say.
    fn is_plain(&self) -> bool {
        self.mimetype.as_deref().is_none_or(|kind| kind == "text/plain")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    fn found(kind: &str, state_key: Option<&str>, content: &Value) -> Option<(Part, String)> {
        let content = to_raw_value(content).unwrap();
        of_event(kind, state_key, &content).map(|(part, words)| (part, words.join(" ")))
    }

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        assert_eq!(split("Hello, WORLD! It's 2 o'clock"), ["hello", "world", "it", "s", "2", "o", "clock"]);
        assert_eq!(split("Ärger im Straßenbahn-Depot"), ["ärger", "im", "straßenbahn", "depot"]);
        assert_eq!(split("ТЕСТ 東京へ go"), ["тест", "東", "京", "へ", "go"]);
        assert_eq!(split(" \u{0} ... 🎉 "), Vec::<String>::new());
        assert_eq!(split(&"ä".repeat(100)), ["ä".repeat(32)]);
    }

    #[test]
    fn the_words_of_one_event_are_bounded() {
        let many = (0..5000).map(|n| format!("w{n} w{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(indexed(split(&many)).len(), WORDS);
        assert_eq!(indexed(split("a b a")).len(), 2);
    }

    #[test]
    fn which_events_have_words() {
        let said = json!({ "msgtype": "m.text", "body": "Good morning" });
        assert_eq!(found("m.room.message", None, &said), Some((Part::Body, "good morning".into())));
        assert_eq!(found("m.room.encrypted", None, &said), None);
        assert_eq!(found("m.room.message", None, &json!({ "body": 5 })), None);
        assert_eq!(found("m.room.message", None, &json!({})), None);
        let odd = json!({ "body": "a", "m.relates_to": 5, "m.new_content": [] });
        assert_eq!(found("m.room.message", None, &odd), Some((Part::Body, "a".into())));
        let name = json!({ "name": "The \"Hall\"" });
        assert_eq!(found("m.room.name", Some(""), &name), Some((Part::Name, "the hall".into())));
        assert_eq!(found("m.room.name", None, &name), None);
        assert_eq!(found("m.room.name", Some("x"), &name), None);
        assert_eq!(found("m.room.name", Some(""), &json!({ "name": "" })), None);
    }

    #[test]
    fn of_an_edit_the_new_text_counts() {
        let mut edit = json!({ "body": "* new", "m.new_content": { "body": "new" },
            "m.relates_to": { "rel_type": "m.replace", "event_id": "$e" } });
        assert_eq!(found("m.room.message", None, &edit), Some((Part::Body, "new".into())));
        edit["m.relates_to"]["rel_type"] = json!("m.reference");
        edit["body"] = json!("other");
        assert_eq!(found("m.room.message", None, &edit), Some((Part::Body, "other".into())));
    }

    #[test]
    fn a_topic_has_a_plain_text_in_two_places() {
        let of = |content| found("m.room.topic", Some(""), &content).map(|(_, words)| words);
        assert_eq!(of(json!({ "topic": "One" })), Some("one".into()));
        let html = json!({ "body": "<b>no</b>", "mimetype": "text/html" });
        let rich = |plain| json!({ "m.text": [html, { "body": plain, "mimetype": "text/plain" }] });
        assert_eq!(of(json!({ "topic": "One", "m.topic": rich("Two") })), Some("one two".into()));
        assert_eq!(of(json!({ "topic": "One", "m.topic": rich("One") })), Some("one".into()));
        assert_eq!(of(json!({ "m.topic": { "m.text": [{ "body": "Two" }] } })), Some("two".into()));
        assert_eq!(of(json!({ "topic": "One", "m.topic": "odd" })), Some("one".into()));
        assert_eq!(of(json!({ "topic": 1, "m.topic": "odd" })), None);
    }
}
