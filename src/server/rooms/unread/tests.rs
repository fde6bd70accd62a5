//! Counts against a plain model: every event looked at, every receipt remembered.

mod any_rules;
mod growth;
mod named;

use std::collections::BTreeMap;

use depesche_rules::{
    bounds::{MAX_COUNTED_BY_RULES, MAX_THREAD_HOPS},
    build::EventDraft,
    signing::SigningKey,
};
use proptest::prelude::*;
use ruma::{
    OwnedRoomId,
    events::{StateEventType, push_rules::PushRulesEventContent},
    push::{
        Action, NewConditionalPushRule, NewPatternedPushRule, NewPushRule, NewSimplePushRule, PushCondition, Ruleset,
    },
};
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::{
    account_data::{AccountData, GLOBAL, PUSH_RULES},
    keyspace::{HEAD, NAMED},
    records::reading::Named,
    rooms::{
        append,
        membership::{Action as MembershipAction, Change},
        receipts::{Read, Receipts, Thread},
        send::Message,
        working::Working,
        write,
    },
    testing::{Fixture, object, user},
};

/// What somebody sends.
#[derive(Clone, Copy, Debug)]
enum Say {
    Text,
    Notice,
    Edit,
    Reaction,
}

/// One step of a conversation of two.
#[derive(Clone, Debug)]
enum Step {
    /// Alice or Bob says something, about an event (by number) or in its thread, naming Bob, the room, or both.
    Send { by_bob: bool, what: Say, about: Option<usize>, in_thread: bool, names_bob: bool, names_room: bool },
    /// Alice redacts an event (by number).
    Redact { event: usize },
    /// Bob has read up to an event.
    Read { event: usize, private: bool, threaded: bool },
}

fn steps() -> impl Strategy<Value = Step> {
    let what =
        prop_oneof![4 => Just(Say::Text), 1 => Just(Say::Notice), 2 => Just(Say::Edit), 1 => Just(Say::Reaction)];
    let send =
        (prop::bool::weighted(0.2), what, prop::option::of(0..40_usize), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(by_bob, what, about, in_thread, names_bob, names_room)| Step::Send {
                by_bob,
                what,
                about,
                in_thread,
                names_bob,
                names_room,
            });
    let read = (0..40_usize, any::<bool>(), any::<bool>()).prop_map(|(event, private, threaded)| Step::Read {
        event,
        private,
        threaded,
    });
    let redact = (0..40_usize).prop_map(|event| Step::Redact { event });
    prop_oneof![6 => send, 2 => read, 1 => redact]
}

/// An event as the model knows it: a redaction is in the main timeline, about nothing.
#[expect(clippy::struct_excessive_bools, reason = "each is a dimension of the model")]
struct Said {
    id: OwnedEventId,
    thread: Option<usize>,
    /// How many events lie between it and the root of its thread.
    hops: usize,
    has_parent: bool,
    by_bob: bool,
    notifies: bool,
    highlights: bool,
    redacted: bool,
    read: bool,
}

impl Said {
    fn redaction(id: OwnedEventId) -> Self {
        Self {
            id,
            thread: None,
            hops: 0,
            has_parent: false,
            by_bob: false,
            notifies: false,
            highlights: false,
            redacted: false,
            read: false,
        }
    }
}

struct Course {
    server: Fixture,
    room: OwnedRoomId,
    account_data: Arc<AccountData>,
    receipts: Receipts,
    counter: Counter,
    said: Vec<Said>,
}

impl Course {
    async fn new() -> Self {
        Self::on(Fixture::new()).await
    }

    async fn on(server: Fixture) -> Self {
        let room = server.public_room(&user("alice")).await;
        server.join(&room, &user("bob")).await;
        let account_data = Arc::new(AccountData::new(Arc::clone(&server.base)));
        let receipts = Receipts::new(Arc::clone(&server.base), Arc::clone(&account_data));
        Self { server, room, account_data, receipts, counter: Counter::keeping_all(), said: Vec::new() }
    }

    async fn go(&mut self, step: &Step) {
        match *step {
            Step::Send { by_bob, what, about, in_thread, names_bob, names_room } => {
                let about = about.filter(|_| !self.said.is_empty()).map(|n| n % self.said.len());
                self.send(by_bob, what, about, in_thread, names_bob, names_room).await;
            }
            Step::Read { event, private, threaded } if !self.said.is_empty() => {
                self.read(event % self.said.len(), private, threaded).await;
            }
            Step::Redact { event } if !self.said.is_empty() => {
                let event = event % self.said.len();
                let id = self.server.redact(&self.room, &user("alice"), &self.said[event].id).await;
                self.said[event].redacted = true;
                self.said.push(Said::redaction(id));
            }
            Step::Read { .. } | Step::Redact { .. } => {}
        }
    }

    #[expect(clippy::fn_params_excessive_bools, reason = "each is a dimension of the model")]
    async fn send(
        &mut self,
        by_bob: bool,
        what: Say,
        about: Option<usize>,
        in_thread: bool,
        names_bob: bool,
        names_room: bool,
    ) {
        let bob = user("bob");
        let body = if self.said.len().is_multiple_of(3) { "the budget" } else { "x" };
        let mut content = json!({ "msgtype": "m.text", "body": body, "m.mentions": {} });
        if names_bob {
            content["m.mentions"]["user_ids"] = json!([bob]);
        }
        if names_room {
            content["m.mentions"]["room"] = json!(true);
        }
        let key = self.said.len().to_string();
        let kind = if matches!(what, Say::Reaction) { "m.reaction" } else { "m.room.message" };
        let relation = match what {
            Say::Text | Say::Notice => "m.reference",
            Say::Edit => "m.replace",
            Say::Reaction => "m.annotation",
        };
        if matches!(what, Say::Notice) {
            content["msgtype"] = json!("m.notice");
        }
        // A thread begins at what is about nothing.
        let starts = in_thread && matches!(what, Say::Text | Say::Notice);
        let root = about.filter(|n| starts && !self.said[*n].has_parent);
        let (thread, hops) = match (root, about) {
            (Some(root), _) => (Some(root), 0),
            (None, Some(parent)) => {
                let hops = self.said[parent].hops + 1;
                (self.said[parent].thread.filter(|_| hops <= MAX_THREAD_HOPS), hops)
            }
            (None, None) => (None, 0),
        };
        if let Some(parent) = about {
            let relation = if root.is_some() { "m.thread" } else { relation };
            content["m.relates_to"] = json!({ "rel_type": relation, "event_id": self.said[parent].id, "key": key });
        }
        let by = user(if by_bob { "bob" } else { "alice" });
        let message = Message { sender: by.clone(), kind: kind.into(), content: object(content), transaction: None };
        let id = self.server.rooms.submit(&self.room, message).await.expect("it may be said").event_id;
        // Alice may name the room, Bob may not; who sends is not notified.
        let room = names_room && !by_bob;
        let is_edit = matches!(what, Say::Edit) && about.is_some();
        let silent = matches!(what, Say::Notice);
        let loud = room || (matches!(what, Say::Text) || (matches!(what, Say::Edit) && !is_edit));
        let said = Said {
            id,
            thread,
            hops,
            has_parent: about.is_some(),
            by_bob,
            notifies: !by_bob && !silent && (loud || names_bob),
            highlights: !by_bob && !silent && (room || names_bob),
            redacted: false,
            read: false,
        };
        if by_bob {
            self.said.iter_mut().filter(|other| other.thread == thread).for_each(|other| other.read = true);
        }
        self.said.push(said);
    }

    async fn read(&mut self, event: usize, private: bool, threaded: bool) {
        let thread = match (threaded, self.said[event].thread) {
            (false, _) => Thread::None,
            (true, None) => Thread::Main,
            (true, Some(root)) => Thread::Of(self.said[root].id.clone()),
        };
        let id = Some(self.said[event].id.clone());
        let read = if private {
            Read { private: id, thread, ..Read::default() }
        } else {
            Read { public: id, thread, ..Read::default() }
        };
        self.receipts.read(&user("bob"), &self.room, &read).await.expect("bob reads");
        let of = self.said[event].thread;
        let covered = self.said[..=event].iter_mut().filter(|other| !threaded || other.thread == of);
        covered.for_each(|other| other.read = true);
    }

    fn expected(&self) -> Unread {
        let mut counts: BTreeMap<String, Count> = BTreeMap::new();
        for said in self.unread().filter(|said| said.notifies) {
            let count = Count { notifications: 1, highlights: said.highlights.into() };
            *counts.entry(self.thread_of(said)).or_default() += count;
        }
        unread(&counts)
    }

    /// What Bob has not read, whether or not it notifies him.
    fn unread(&self) -> impl Iterator<Item = &Said> {
        self.said.iter().filter(|said| !said.read && !said.by_bob && !said.redacted)
    }

    /// The name of the thread that an event counts in.
    fn thread_of(&self, said: &Said) -> String {
        said.thread.map(|root| self.said[root].id.to_string()).unwrap_or_default()
    }

    async fn counted(&self, counter: &Counter) -> Unread {
        let bob = user("bob");
        let view = self.server.rooms.find(&self.room).await.expect("read").expect("the room");
        let reader = counter.reader(&view.view, &bob).await.expect("read");
        counter.count(&view, &reader).await.expect("read")
    }

    /// Gives Bob rules.
    async fn set_rules(&self, rules: &Ruleset) {
        let content = to_raw_value(&PushRulesEventContent { global: rules.clone() }).expect("JSON");
        let (bob, content, account_data) = (&user("bob"), &content, &self.account_data);
        let set = self
            .server
            .base
            .transact(|tx| async move { account_data.put(&tx, bob, GLOBAL, PUSH_RULES, content).await });
        set.await.expect("rules are kept");
    }
}

/// From counts by the names of threads.
fn unread(counts: &BTreeMap<String, Count>) -> Unread {
    Unread::of(counts.iter().map(|(thread, count)| (thread.as_str(), *count)))
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

/// Rules that do what the default ones do, in a way that has to be looked at event by event.
fn equivalent() -> Ruleset {
    let mut rules = Ruleset::server_default(&user("bob"));
    let rule = NewPatternedPushRule::new("never".into(), "no such word".into(), vec![]);
    rules.insert(NewPushRule::Content(rule), None, None).expect("a valid rule");
    rules
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::testing::cases(60), ..ProptestConfig::default() })]

    #[test]
    fn the_difference_of_tallies_is_what_looking_at_each_event_gives(steps in prop::collection::vec(steps(), 1..40)) {
        run(async move {
            let (mut course, seldom) = (Course::new().await, Counter::keeping_all());
            for (n, step) in steps.iter().enumerate() {
                course.go(step).await;
                // What is kept and goes on after each step, and after several at once; and what is counted anew.
                assert_eq!(course.counted(&course.counter).await, course.expected(), "{steps:?}");
                assert_eq!(course.counted(&Counter::default()).await, course.expected(), "{steps:?}");
                if n % 5 == 4 {
                    assert_eq!(course.counted(&seldom).await, course.expected(), "{steps:?}");
                }
            }
        });
    }

    #[test]
    fn counting_by_ones_own_rules_gives_the_same(steps in prop::collection::vec(steps(), 1..30)) {
        run(async move {
            let mut course = Course::new().await;
            course.set_rules(&equivalent()).await;
            for step in &steps {
                course.go(step).await;
                // What is kept and goes on, and what is counted anew.
                assert_eq!(course.counted(&course.counter).await, course.expected(), "{steps:?}");
                assert_eq!(course.counted(&Counter::default()).await, course.expected(), "{steps:?}");
            }
        });
    }
}

/// What Bob has unread after a plain text, one that names him, and a notice with a keyword.
async fn after(change: impl FnOnce(&mut Ruleset, &OwnedRoomId)) -> (u32, u32) {
    let course = Course::new().await;
    let mut rules = Ruleset::server_default(&user("bob"));
    change(&mut rules, &course.room);
    course.set_rules(&rules).await;
    for content in [
        json!({ "msgtype": "m.text", "body": "plain" }),
        json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [user("bob")] } }),
        json!({ "msgtype": "m.text", "body": "the budget" }),
    ] {
        say(&course, content).await;
    }
    let total = course.counted(&course.counter).await.total();
    (total.notifications, total.highlights)
}

async fn say(course: &Course, content: Value) {
    let message =
        Message { sender: user("alice"), kind: "m.room.message".into(), content: object(content), transaction: None };
    course.server.rooms.submit(&course.room, message).await.expect("it may be said");
}

fn in_room(room: &OwnedRoomId) -> Vec<PushCondition> {
    let pattern = room.to_string();
    vec![serde_json::from_value(json!({ "kind": "event_match", "key": "room_id", "pattern": pattern })).expect("valid")]
}

#[tokio::test]
async fn rules_of_ones_own_change_the_counts() {
    let elsewhere: OwnedRoomId = "!elsewhere:agency.test".try_into().unwrap();
    let simple = |room: &OwnedRoomId, actions| NewPushRule::Room(NewSimplePushRule::new(room.clone(), actions));
    assert_eq!(after(|_, _| {}).await, (3, 1));
    assert_eq!(
        after(|rules, room| rules.insert(simple(room, vec![]), None, None).unwrap()).await,
        (1, 1),
        "mentions only"
    );
    assert_eq!(after(|rules, _| rules.insert(simple(&elsewhere, vec![]), None, None).unwrap()).await, (3, 1));
    let mute = |rules: &mut Ruleset, room: &OwnedRoomId| {
        let rule = NewConditionalPushRule::new(room.to_string(), in_room(room), vec![]);
        rules.insert(NewPushRule::Override(rule), None, None).unwrap();
    };
    assert_eq!(after(mute).await, (0, 0));
    assert_eq!(after(|rules, _| mute(rules, &elsewhere)).await, (3, 1));
    let keyword = |rules: &mut Ruleset, _: &OwnedRoomId| {
        let highlight = serde_json::from_value(json!({ "set_tweak": "highlight" })).unwrap();
        let rule = NewPatternedPushRule::new("budget".into(), "budget".into(), vec![Action::Notify, highlight]);
        rules.insert(NewPushRule::Content(rule), None, None).unwrap();
    };
    assert_eq!(after(keyword).await, (3, 2));
    let master = |rules: &mut Ruleset, _: &OwnedRoomId| {
        rules.set_enabled(ruma::push::RuleKind::Override, ".m.rule.master", true).unwrap();
    };
    assert_eq!(after(master).await, (0, 0));
}

#[tokio::test]
async fn what_is_too_much_to_be_looked_at_counts_by_the_default_rules() {
    let course = Course::new().await;
    let (bob, carol) = (user("bob"), user("carol"));
    course.server.join(&course.room, &carol).await;
    let text = |names: bool| {
        let mentions = if names { json!({ "user_ids": [&bob] }) } else { json!({}) };
        json!({ "msgtype": "m.text", "body": "x", "m.mentions": mentions })
    };
    say(&course, text(true)).await;
    let gone = course.server.say(&course.room, &carol, "gone").await;
    for _ in 0..MAX_COUNTED_BY_RULES + 40 {
        say(&course, text(false)).await;
    }
    course.server.redact(&course.room, &carol, &gone).await;
    let all = u32::try_from(MAX_COUNTED_BY_RULES).unwrap() + 41;
    let counts = async |rules: &Ruleset| {
        course.set_rules(rules).await;
        let total = course.counted(&course.counter).await.total();
        (total.notifications, total.highlights)
    };
    let default = Ruleset::server_default(&bob);
    assert_eq!(counts(&default).await, (all, 1));
    let mut keyword = default.clone();
    let rule = NewPatternedPushRule::new("word".into(), "no such word".into(), vec![Action::Notify]);
    keyword.insert(NewPushRule::Content(rule), None, None).unwrap();
    assert_eq!(counts(&keyword).await, (all, 1), "one keyword");
    // What is kept goes on, also over more than is looked at.
    for _ in 0..=MAX_COUNTED_BY_RULES {
        say(&course, text(false)).await;
    }
    let more = all + u32::try_from(MAX_COUNTED_BY_RULES).unwrap() + 1;
    let total = course.counted(&course.counter).await.total();
    assert_eq!((total.notifications, total.highlights), (more, 1));
    let mut mentions_only = default.clone();
    let rule = NewPushRule::Room(NewSimplePushRule::new(course.room.clone(), vec![]));
    mentions_only.insert(rule, None, None).unwrap();
    assert_eq!(counts(&mentions_only).await, (1, 1));
    let mut unnamed = keyword.clone();
    unnamed.set_enabled(ruma::push::RuleKind::Override, ".m.rule.is_user_mention", false).unwrap();
    assert_eq!(counts(&unnamed).await.1, 0, "no mentions");
    course.set_rules(&default).await;
    course.server.ignore(&bob, &[&carol]).await;
    assert_eq!(counts(&default).await.1, 1, "the mention, though somebody is ignored");
}

#[tokio::test]
async fn what_one_does_oneself_is_not_unread() {
    let course = Course::new().await;
    let content = json!({ "body": "gone", "replacement_room": "!new:agency.test" });
    course.server.set(&course.room, &user("alice"), StateEventType::RoomTombstone, content).await;
    let view = course.server.rooms.find(&course.room).await.unwrap().unwrap();
    for (name, expected) in [("alice", 0), ("bob", 1)] {
        let reader = course.counter.reader(&view.view, &user(name)).await.unwrap();
        let total = course.counter.count(&view, &reader).await.unwrap().total();
        assert_eq!((total.notifications, total.highlights), (expected, expected), "{name}");
    }
}

#[tokio::test]
async fn a_new_name_reads_nothing() {
    let course = Course::new().await;
    let bob = user("bob");
    course.set_rules(&equivalent()).await;
    let counts = async || {
        let kept = course.counted(&course.counter).await.total().notifications;
        assert_eq!(course.counted(&Counter::default()).await.total().notifications, kept);
        kept
    };
    let rename = async |name: &str| {
        let content = object(json!({ "displayname": name }));
        let change = Change { actor: bob.clone(), target: bob.clone(), action: MembershipAction::Join, content };
        course.server.rooms.submit(&course.room, change).await.unwrap();
    };
    rename("first").await;
    say(&course, json!({ "msgtype": "m.text", "body": "one" })).await;
    let two = course.server.say(&course.room, &user("alice"), "two").await;
    assert_eq!(counts().await, 2);
    rename("second").await;
    assert_eq!(counts().await, 2);
    course.server.redact(&course.room, &user("alice"), &two).await;
    assert_eq!(counts().await, 1);
    rename("third").await;
    say(&course, json!({ "msgtype": "m.text", "body": "three" })).await;
    assert_eq!(counts().await, 2);
    // Who comes anew has read what was there.
    course.server.change(&course.room, &bob, &bob, MembershipAction::Leave).await.unwrap();
    course.server.join(&course.room, &bob).await;
    assert_eq!(counts().await, 0);
}

#[tokio::test]
async fn what_somebody_ignored_says_does_not_count() {
    let course = Course::new().await;
    let (bob, carol) = (user("bob"), user("carol"));
    let said = async |sender: &UserId, names_bob: bool| {
        let mentions = if names_bob { json!({ "user_ids": [&bob] }) } else { json!({}) };
        let content = json!({ "msgtype": "m.text", "body": "x", "m.mentions": mentions });
        course.server.send(&course.room, sender, "m.room.message", content).await;
    };
    let counts = async || {
        let total = course.counted(&course.counter).await.total();
        (total.notifications, total.highlights)
    };
    course.server.join(&course.room, &carol).await;
    said(&carol, true).await;
    said(&user("alice"), false).await;
    assert_eq!(counts().await, (2, 1));
    course.server.ignore(&bob, &[&carol]).await;
    assert_eq!(counts().await, (1, 0));
    said(&carol, true).await;
    said(&user("alice"), true).await;
    assert_eq!(counts().await, (2, 1));
    // Who is not in the room is looked for in no event.
    course.server.ignore(&bob, &[&user("dave")]).await;
    assert_eq!(counts().await, (4, 3));
    course.server.ignore(&bob, &[]).await;
    assert_eq!(counts().await, (4, 3));
}

#[tokio::test]
async fn an_event_and_its_redaction_in_one_batch_count_nothing() {
    let course = Course::new().await;
    let (alice, bob) = (user("alice"), user("bob"));
    let read = course.server.say(&course.room, &alice, "read").await;
    course.receipts.read(&bob, &course.room, &Read { public: Some(read), ..Read::default() }).await.unwrap();
    let view = course.server.rooms.find(&course.room).await.unwrap().unwrap();
    let tx = course.server.base.tx();
    let mut working = Working::load(&tx, view.no).await.unwrap();
    working.begin(&tx);
    let text = json!({ "msgtype": "m.text", "body": "you", "m.mentions": { "user_ids": [&bob] } });
    let event = EventDraft::message(alice.clone(), "m.room.message".into(), object(text));
    let key = SigningKey::from_seed([7; 32], "test").unwrap();
    let id = write::write(&course.server.base, &key, &mut working, &tx, event, None).await.unwrap();
    let redaction = EventDraft::redaction(alice, id, object(json!({})));
    write::write(&course.server.base, &key, &mut working, &tx, redaction, None).await.unwrap();
    append::close(&mut working, &tx).await.unwrap();
    course.server.base.commit(&tx).await.unwrap();
    assert_eq!(course.counted(&course.counter).await.total(), Count::default());
}

#[tokio::test]
async fn what_was_counted_before_threads_is_gone_on_with() {
    let course = Course::new().await;
    let (alice, bob) = (user("alice"), user("bob"));
    let view = course.server.rooms.find(&course.room).await.unwrap().unwrap();
    // As a server before this one left it: five loud events, the fourth for the whole room, two read.
    let mut head = crate::records::rooms::Head::clone(&view.head);
    head.ordinal = 5;
    head.before_threads = crate::records::rooms::BeforeThreads { ordinal: 5, room_named: 4 };
    head.main = head.before_threads.tally(5);
    let (no, head, bob_id) = (view.no, &head, &bob);
    let put = course.server.base.transact(|tx| async move {
        tx.read(&HEAD, &(no,)).await?;
        tx.put(&HEAD, &(no,), head);
        tx.put(&UNREAD, &(bob_id.clone(), no), &crate::records::rooms::Unread { ordinal: 2 });
        tx.put(&NAMED, &(bob_id.clone(), no, 3), &Named::default());
        Ok::<_, Fault>(())
    });
    put.await.unwrap();
    let counts = async || {
        let total = course.counted(&course.counter).await.total();
        (total.notifications, total.highlights)
    };
    assert_eq!(counts().await, (3, 2));
    let old = course.server.say(&course.room, &alice, "new").await;
    assert_eq!(counts().await, (4, 2));
    course.server.redact(&course.room, &alice, &old).await;
    assert_eq!(counts().await, (3, 2));
    course.receipts.read(&bob, &course.room, &Read { public: Some(old), ..Read::default() }).await.unwrap();
    assert_eq!(counts().await, (0, 0));
}
