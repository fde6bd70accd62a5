//! The words of events: what is indexed, and what a search term is made of.
//!
//! A word is a stretch of letters and digits in lower case. Scripts that put no spaces between words (Han, Kana) are
//! taken character by character. Words are neither stemmed nor normalised beyond that.

use std::{borrow::Cow, collections::BTreeSet};

use depesche_rules::pdu::Pdu;
use ruma::events::TimelineEventType;
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

/// The words of a text, in its order, with repeats. A word that stands there in lower case is not copied.
pub fn split(text: &str) -> Split<'_> {
    Split { rest: text }
}

/// The rest of a text, word by word.
#[derive(Clone, Debug)]
pub struct Split<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Split<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Self::Item> {
        let begin = self.rest.find(char::is_alphanumeric)?;
        let rest = self.rest.get(begin..)?;
        let first = rest.chars().next().filter(|first| is_word(*first));
        let end = match first {
            Some(first) => first.len_utf8(),
            None => rest.find(|other: char| !other.is_alphanumeric() || is_word(other)).unwrap_or(rest.len()),
        };
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(if first.is_some() { word.into() } else { lower(word) })
    }
}

/// The words of an event that are indexed.
pub fn indexed<'a>(words: impl Iterator<Item = Cow<'a, str>>) -> BTreeSet<Cow<'a, str>> {
    let mut distinct = BTreeSet::new();
    for word in words {
        if distinct.len() >= WORDS {
            break;
        }
        distinct.insert(word);
    }
    distinct
}

/// A word in lower case, as far as it is not too long.
fn lower(word: &str) -> Cow<'_, str> {
    let is_lower = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || (!c.is_ascii() && c.to_lowercase().eq(std::iter::once(c)))
    };
    if word.chars().all(is_lower) {
        let end = word.char_indices().map(|(at, _)| at).find(|at| *at >= WORD_BYTES).unwrap_or(word.len());
        return word.get(..end).unwrap_or(word).into();
    }
    let mut lower = String::with_capacity(word.len().min(WORD_BYTES));
    for character in word.chars() {
        if lower.len() >= WORD_BYTES {
            break;
        }
        lower.extend(character.to_lowercase());
    }
    lower.into()
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

/// What of an event is searched: a text, and of some topics another.
pub struct Texts<'a> {
    first: Cow<'a, str>,
    second: Option<Cow<'a, str>>,
}

impl Texts<'_> {
    /// Their words, in their order, with repeats.
    pub fn words(&self) -> impl Iterator<Item = Cow<'_, str>> {
        split(&self.first).chain(self.second.as_deref().into_iter().flat_map(split))
    }
}

impl<'a> From<Cow<'a, str>> for Texts<'a> {
    fn from(first: Cow<'a, str>) -> Self {
        Self { first, second: None }
    }
}

/// What of an event is searched, and its texts. `None` if these have no word.
pub fn of_event<'a>(kind: &str, state_key: Option<&str>, content: &'a RawValue) -> Option<(Part, Texts<'a>)> {
    let part = part(kind, state_key)?;
    let content = content.get();
    let texts: Texts<'a> = match part {
        Part::Body => body(content)?.into(),
        Part::Name => serde_json::from_str::<Name<'_>>(content).ok()?.name.into(),
        Part::Topic => topic_texts(topic(content)),
    };
    texts.words().next()?;
    Some((part, texts))
}

/// The same of an event that was parsed.
pub fn of_pdu(pdu: &Pdu) -> Option<(Part, Texts<'_>)> {
    let kind = match pdu.kind() {
        TimelineEventType::RoomMessage => "m.room.message",
        TimelineEventType::RoomName => "m.room.name",
        TimelineEventType::RoomTopic => "m.room.topic",
        _ => return None,
    };
    of_event(kind, pdu.state_key(), pdu.content())
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

/// The text of a message; of an edit, the new text. Whatever else is odd about a message, it says something.
fn body(content: &str) -> Option<Cow<'_, str>> {
    let message: Message<'_> = serde_json::from_str(content).ok()?;
    let relates_to = message.relates_to.and_then(|raw| serde_json::from_str::<RelatesTo>(raw.get()).ok());
    let new = message.new_content.filter(|_| relates_to.is_some_and(|relates_to| relates_to.rel_type == REPLACE));
    let new = new.and_then(|raw| serde_json::from_str::<NewContent<'_>>(raw.get()).ok());
    match (new, message.body) {
        (Some(new), _) => Some(new.body),
        (None, Some(body)) => Some(serde_json::from_str::<Body<'_>>(body.get()).ok()?.0),
        (None, None) => None,
    }
}

fn topic(content: &str) -> Topic {
    serde_json::from_str(content).unwrap_or_else(|_| {
        let plain = serde_json::from_str::<PlainTopic>(content).ok();
        Topic { topic: plain.map(|plain| plain.topic), rich: None }
    })
}

/// The topic, and its plain text where that says something else.
fn topic_texts<'a>(Topic { topic, rich }: Topic) -> Texts<'a> {
    let plain = rich.into_iter().flat_map(|rich| rich.texts).find(Text::is_plain).map(|plain| plain.body);
    let second = plain.filter(|plain| topic.as_ref() != Some(plain)).map(Cow::Owned);
    Texts { first: topic.unwrap_or_default().into(), second }
}

/// Taken apart one by one: what is odd takes nothing else with it.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.relates_to")]
    relates_to: Option<&'a RawValue>,
    #[serde(borrow, rename = "m.new_content")]
    new_content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Body<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct RelatesTo {
    #[serde(default)]
    rel_type: String,
}

#[derive(Deserialize)]
struct NewContent<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
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
        of_event(kind, state_key, &content).map(|(part, texts)| (part, texts.words().collect::<Vec<_>>().join(" ")))
    }

    fn words(text: &str) -> Vec<Cow<'_, str>> {
        split(text).collect()
    }

    #[test]
    fn words_are_letters_and_digits_in_lower_case() {
        assert_eq!(words("Hello, WORLD! It's 2 o'clock"), ["hello", "world", "it", "s", "2", "o", "clock"]);
        assert_eq!(words("Ärger im Straßenbahn-Depot"), ["ärger", "im", "straßenbahn", "depot"]);
        assert_eq!(words("ТЕСТ 東京へ go"), ["тест", "東", "京", "へ", "go"]);
        assert_eq!(words(" \u{0} ... 🎉 "), Vec::<&str>::new());
        assert_eq!(words(&"ä".repeat(100)), ["ä".repeat(32)]);
        assert_eq!(words(&"Ä".repeat(100)), ["ä".repeat(32)]);
        assert_eq!(words("東a京"), ["東", "a", "京"]);
    }

    #[test]
    fn what_is_in_lower_case_is_not_copied() {
        let copied = |text| words(text).iter().filter(|word| matches!(word, Cow::Owned(_))).count();
        assert_eq!(copied("so it goes, straße 5 東京"), 0);
        assert_eq!(copied("So it goes ON"), 2);
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
