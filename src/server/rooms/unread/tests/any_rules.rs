//! Counts by whatever rules a member has, and however they change: each unread event judged by the rules of the moment.

use depesche_rules::push::{self, EventFields, RoomContext};
use ruma::push::{AnyPushRuleRef, RuleKind};

use super::*;

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug)]
enum Does {
    Nothing,
    Notify,
    Highlight,
    /// Which notifies nobody.
    HighlightAlone,
}

/// What a condition asks.
#[derive(Clone, Copy, Debug)]
enum Asks {
    ThisRoom,
    ThisRoomInCapitals,
    OtherRoom,
    AnyRoom,
    Word,
    NoSuchWord,
    Redaction,
    Edit,
    Mention,
    OfTwo,
    OfMany,
    MayNameTheRoom,
    WhatNobodyKnows,
}

/// A change of a set of rules.
#[derive(Clone, Debug)]
enum Edit {
    Room {
        here: bool,
        does: Does,
    },
    Sender {
        alice: bool,
        does: Does,
    },
    Content {
        word: bool,
        does: Does,
    },
    Conditional {
        first: bool,
        asks: Vec<Asks>,
        does: Does,
    },
    /// Turns a rule, by its number, on or off: a default one or another.
    Enable {
        rule: usize,
        on: bool,
    },
    /// Changes what a rule does.
    Act {
        rule: usize,
        does: Does,
    },
    Master {
        on: bool,
    },
}

/// A step of the conversation, or of its reader.
#[derive(Clone, Debug)]
enum Move {
    Go(Step),
    Change(Vec<Edit>),
    /// As it was on the first day.
    Reset,
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        3 => Just(Does::Nothing),
        3 => Just(Does::Notify),
        2 => Just(Does::Highlight),
        1 => Just(Does::HighlightAlone),
    ]
}

fn asks() -> impl Strategy<Value = Asks> {
    prop::sample::select(vec![
        Asks::ThisRoom,
        Asks::ThisRoom,
        Asks::ThisRoomInCapitals,
        Asks::OtherRoom,
        Asks::AnyRoom,
        Asks::Word,
        Asks::NoSuchWord,
        Asks::Redaction,
        Asks::Edit,
        Asks::Mention,
        Asks::OfTwo,
        Asks::OfMany,
        Asks::MayNameTheRoom,
        Asks::WhatNobodyKnows,
    ])
}

fn edits() -> impl Strategy<Value = Edit> {
    let conditional = (any::<bool>(), prop::collection::vec(asks(), 0..3), does());
    prop_oneof![
        (any::<bool>(), does()).prop_map(|(here, does)| Edit::Room { here, does }),
        (any::<bool>(), does()).prop_map(|(alice, does)| Edit::Sender { alice, does }),
        (any::<bool>(), does()).prop_map(|(word, does)| Edit::Content { word, does }),
        conditional.prop_map(|(first, asks, does)| Edit::Conditional { first, asks, does }),
        (0..40_usize, any::<bool>()).prop_map(|(rule, on)| Edit::Enable { rule, on }),
        (0..40_usize, does()).prop_map(|(rule, does)| Edit::Act { rule, does }),
        prop::bool::weighted(0.3).prop_map(|on| Edit::Master { on }),
    ]
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        16 => steps().prop_map(Move::Go),
        3 => prop::collection::vec(edits(), 1..4).prop_map(Move::Change),
        1 => Just(Move::Reset),
    ]
}

impl Does {
    fn actions(self) -> Vec<Action> {
        let highlight = || serde_json::from_value(json!({ "set_tweak": "highlight" })).expect("an action");
        match self {
            Self::Nothing => vec![],
            Self::Notify => vec![Action::Notify],
            Self::Highlight => vec![Action::Notify, highlight()],
            Self::HighlightAlone => vec![highlight()],
        }
    }
}

impl Asks {
    fn condition(self, room: &OwnedRoomId) -> PushCondition {
        let matches = |key: &str, pattern: &str| json!({ "kind": "event_match", "key": key, "pattern": pattern });
        let condition = match self {
            Self::ThisRoom => matches("room_id", room.as_str()),
            Self::ThisRoomInCapitals => matches("room_id", &room.as_str().to_ascii_uppercase()),
            Self::OtherRoom => matches("room_id", "!elsewhere:agency.test"),
            Self::AnyRoom => matches("room_id", "*"),
            Self::Word => matches("content.body", "budget"),
            Self::NoSuchWord => matches("content.body", "no such word"),
            Self::Redaction => matches("type", "m.room.redaction"),
            Self::Edit => {
                json!({ "kind": "event_property_is", "key": r"content.m\.relates_to.rel_type", "value": "m.replace" })
            }
            Self::Mention => json!({
                "kind": "event_property_contains", "key": r"content.m\.mentions.user_ids", "value": user("bob"),
            }),
            Self::OfTwo => json!({ "kind": "room_member_count", "is": "2" }),
            Self::OfMany => json!({ "kind": "room_member_count", "is": ">2" }),
            Self::MayNameTheRoom => json!({ "kind": "sender_notification_permission", "key": "room" }),
            Self::WhatNobodyKnows => json!({ "kind": "org.example.unknown" }),
        };
        serde_json::from_value(condition).expect("a condition")
    }
}

impl Edit {
    /// Changes the rules. The number makes the names of rules.
    fn apply(&self, rules: &mut Ruleset, room: &OwnedRoomId, number: usize) {
        let elsewhere: OwnedRoomId = "!elsewhere:agency.test".try_into().expect("a room id");
        match self {
            Self::Room { here, does } => {
                let room = if *here { room.clone() } else { elsewhere };
                insert(rules, NewPushRule::Room(NewSimplePushRule::new(room, does.actions())));
            }
            Self::Sender { alice, does } => {
                let sender = user(if *alice { "alice" } else { "carol" });
                insert(rules, NewPushRule::Sender(NewSimplePushRule::new(sender, does.actions())));
            }
            Self::Content { word, does } => {
                let pattern = if *word { "budget" } else { "x*" };
                let rule = NewPatternedPushRule::new(format!("own{number}"), pattern.into(), does.actions());
                insert(rules, NewPushRule::Content(rule));
            }
            Self::Conditional { first, asks, does } => {
                let conditions = asks.iter().map(|asks| asks.condition(room)).collect();
                let rule = NewConditionalPushRule::new(format!("own{number}"), conditions, does.actions());
                insert(rules, if *first { NewPushRule::Override(rule) } else { NewPushRule::Underride(rule) });
            }
            Self::Enable { rule, on } => {
                let (kind, id) = nth(rules, *rule);
                rules.set_enabled(kind, id, *on).expect("the rule is there");
            }
            Self::Act { rule, does } => {
                let (kind, id) = nth(rules, *rule);
                rules.set_actions(kind, id, does.actions()).expect("the rule is there");
            }
            Self::Master { on } => {
                rules.set_enabled(RuleKind::Override, ".m.rule.master", *on).expect("the rule is there");
            }
        }
    }
}

fn insert(rules: &mut Ruleset, rule: NewPushRule) {
    rules.insert(rule, None, None).expect("a valid rule");
}

/// A rule by its number, of all there are.
fn nth(rules: &Ruleset, number: usize) -> (RuleKind, String) {
    let count = rules.iter().count();
    let rule = rules.iter().nth(number % count).expect("there are default rules");
    let kind = match rule {
        AnyPushRuleRef::Override(_) => RuleKind::Override,
        AnyPushRuleRef::Underride(_) => RuleKind::Underride,
        AnyPushRuleRef::Content(_) => RuleKind::Content,
        AnyPushRuleRef::Room(_) => RuleKind::Room,
        AnyPushRuleRef::Sender(_) => RuleKind::Sender,
    };
    (kind, rule.rule_id().to_owned())
}

impl Course {
    /// What Bob has unread by these rules: each event by itself.
    async fn judged(&self, rules: &Ruleset) -> Unread {
        let view = self.server.rooms.find(&self.room).await.expect("read").expect("the room");
        let context = RoomContext {
            room_id: self.room.clone(),
            member_count: 2_u32.into(),
            user_id: user("bob"),
            display_name: String::new(),
            power_levels: view.power_levels().await.expect("read").map(Arc::new),
        };
        let mut counts: BTreeMap<String, Count> = BTreeMap::new();
        for said in self.unread() {
            let no = view.event_no(&said.id).await.expect("read").expect("it was sent");
            let event = view.event(no).await.expect("read");
            let outcome = push::outcome(rules, &EventFields::new(&event.pdu), &context);
            if outcome.notify {
                let count = Count { notifications: 1, highlights: outcome.highlight.into() };
                *counts.entry(self.thread_of(said)).or_default() += count;
            }
        }
        unread(&counts)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_rules_are_each_unread_event_counts_by_them(
        first in prop::collection::vec(edits(), 0..4),
        moves in prop::collection::vec(moves(), 1..30),
    ) {
        run(async move {
            let mut course = Course::new().await;
            let (mut rules, mut number) = (Ruleset::server_default(&user("bob")), 0);
            for next in std::iter::once(&Move::Change(first.clone())).chain(&moves) {
                match next {
                    Move::Go(step) => course.go(step).await,
                    Move::Reset => rules = Ruleset::server_default(&user("bob")),
                    Move::Change(edits) => {
                        for edit in edits {
                            number += 1;
                            edit.apply(&mut rules, &course.room, number);
                        }
                    }
                }
                if !matches!(next, Move::Go(_)) {
                    course.set_rules(&rules).await;
                }
                let judged = course.judged(&rules).await;
                // What is kept and goes on, and what is counted anew.
                assert_eq!(course.counted(&course.counter).await, judged, "{first:?} {moves:?}");
                assert_eq!(course.counted(&Counter::default()).await, judged, "{first:?} {moves:?}");
            }
        });
    }
}
