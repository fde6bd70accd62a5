//! Where rules are put, and what of it is stored.

use proptest::prelude::*;
use ruma::push::{NewPatternedPushRule, NewSimplePushRule};

use super::*;
use crate::{testing::Fixture, testing::user};

fn word(id: &str) -> NewPushRule {
    NewPushRule::Content(NewPatternedPushRule::new(id.to_owned(), id.to_owned(), vec![]))
}

fn ids(rules: &Ruleset) -> Vec<String> {
    rules.content.iter().map(|rule| rule.rule_id.clone()).collect()
}

fn before(id: &str) -> Beside<'_> {
    Beside { before: Some(id), after: None }
}

fn after(id: &str) -> Beside<'_> {
    Beside { before: None, after: Some(id) }
}

#[test]
fn a_new_rule_is_the_most_important_of_the_users_own() {
    let mut rules = Ruleset::server_default(&user("ann"));
    for id in ["c", "b", "a"] {
        insert(&mut rules, word(id), Beside::default()).unwrap();
    }
    assert_eq!(ids(&rules), ["a", "b", "c"]);
    insert(&mut rules, word("c"), Beside::default()).unwrap();
    assert_eq!(ids(&rules), ["a", "b", "c"], "a rule that is changed stays where it is");
    let own = ruma::push::NewConditionalPushRule::new("mine".into(), vec![], vec![]);
    insert(&mut rules, NewPushRule::Override(own), Beside::default()).unwrap();
    let override_: Vec<_> = rules.override_.iter().take(2).map(|rule| rule.rule_id.as_str()).collect();
    assert_eq!(override_, [".m.rule.master", "mine"]);
}

#[test]
fn what_cannot_be_put() {
    let mut rules = Ruleset::server_default(&user("ann"));
    insert(&mut rules, word("a"), Beside::default()).unwrap();
    let mut refused = |id: &str, beside: Beside<'_>| insert(&mut rules, word(id), beside).unwrap_err();
    for id in [".mine", "a/b", "a\\b"] {
        assert!(matches!(refused(id, Beside::default()), PushRuleError::InvalidId), "{id}");
        assert!(matches!(refused(id, before("a")), PushRuleError::InvalidId), "{id}");
    }
    assert!(matches!(refused("b", before(".m.rule.master")), PushRuleError::BesideDefault));
    assert!(matches!(refused("b", after("none")), PushRuleError::BesideUnknown));
    assert!(matches!(refused("a", after("a")), PushRuleError::BesideUnknown));
    assert_eq!(ids(&rules), ["a"]);
}

#[test]
fn a_rule_that_moves_stays_disabled() {
    let mut rules = Ruleset::default();
    for id in ["b", "a"] {
        insert(&mut rules, word(id), Beside::default()).unwrap();
    }
    rules.set_enabled(RuleKind::Content, "a", false).unwrap();
    insert(&mut rules, word("a"), after("b")).unwrap();
    assert_eq!(ids(&rules), ["b", "a"]);
    assert!(!rules.get(RuleKind::Content, "a").unwrap().enabled());
}

proptest! {
    /// Against a plain list: take the rule out, put it beside the other.
    #[test]
    fn places_are_those_of_a_list(steps in proptest::collection::vec((0..6_u8, proptest::option::of((0..6_u8, any::<bool>()))), 0..30)) {
        let mut rules = Ruleset::default();
        let mut list: Vec<String> = Vec::new();
        for (id, beside) in steps {
            let id = format!("r{id}");
            let named = beside.map(|(other, first)| (format!("r{other}"), first));
            let at = named.as_ref().map(|(other, first)| if *first { before(other) } else { after(other) });
            let put = insert(&mut rules, word(&id), at.unwrap_or_default());
            match named {
                None if list.contains(&id) => {}
                None => list.insert(0, id),
                Some((other, _)) if other == id || !list.contains(&other) => prop_assert!(put.is_err()),
                Some((other, first)) => {
                    list.retain(|known| *known != id);
                    let place = list.iter().position(|known| *known == other).unwrap();
                    list.insert(if first { place } else { place + 1 }, id);
                }
            }
            prop_assert_eq!(ids(&rules), list.clone());
        }
    }
}

fn editor(fixture: &Fixture) -> Editor {
    Editor::new(Arc::clone(&fixture.base), Arc::new(AccountData::new(Arc::clone(&fixture.base))))
}

#[tokio::test]
async fn only_what_the_user_changed_is_stored() {
    let fixture = Fixture::new();
    let (editor, ann) = (editor(&fixture), user("ann"));
    assert!(of(&fixture.base.view(), &ann).await.unwrap().changed_at.is_none());
    let kind = RuleKind::Underride;
    assert!(editor.get(&ann, &kind, ".m.rule.message").await.unwrap().enabled());
    editor.set_enabled(&ann, &kind, ".m.rule.message", false).await.unwrap();
    let changed = of(&fixture.base.view(), &ann).await.unwrap();
    assert!(changed.changed_at.is_some());
    assert!(!changed.rules.get(kind.clone(), ".m.rule.message").unwrap().enabled());
    editor.set_enabled(&ann, &kind, ".m.rule.message", false).await.unwrap();
    let again = of(&fixture.base.view(), &ann).await.unwrap();
    assert_eq!(again.changed_at, changed.changed_at, "what is so already is not written");
    let refused = editor.delete(&ann, &kind, ".m.rule.message").await.unwrap_err();
    assert!(matches!(refused, PushRuleError::Default));
    for refused in [
        editor.delete(&ann, &kind, "none").await,
        editor.set_actions(&ann, &kind, "none", &[]).await,
        editor.set_enabled(&ann, &kind, "none", true).await,
        editor.get(&ann, &kind, "none").await.map(|_| ()),
    ] {
        assert!(matches!(refused.unwrap_err(), PushRuleError::NotFound));
    }
}

#[tokio::test]
async fn there_is_an_end_of_rules() {
    let fixture = Fixture::new();
    let (editor, ann) = (editor(&fixture), user("ann"));
    let long = NewPushRule::Sender(NewSimplePushRule::new(user("ben"), vec![]));
    editor.put(&ann, &long, Beside::default()).await.unwrap();
    let huge = NewPushRule::Content(NewPatternedPushRule::new("big".into(), "x".repeat(70_000), vec![]));
    assert!(matches!(editor.put(&ann, &huge, Beside::default()).await.unwrap_err(), PushRuleError::TooLarge));
    editor.get(&ann, &RuleKind::Sender, "@ben:agency.test").await.unwrap();
}

#[tokio::test]
async fn actions_at_the_limit_and_one_beyond() {
    let fixture = Fixture::new();
    let account_data = Arc::new(AccountData::new(Arc::clone(&fixture.base)));
    let (editor, ann) = (Editor::new(Arc::clone(&fixture.base), account_data), user("ann"));
    let actions = |bytes: usize| -> Vec<Action> {
        let actions = serde_json::json!(["notify", { "set_tweak": "x", "value": "x".repeat(bytes) }]);
        serde_json::from_value(actions).unwrap()
    };
    let most = MAX_PUSH_ACTIONS_BYTES - serde_json::to_string(&actions(0)).unwrap().len();
    let rule = |actions: Vec<Action>| {
        NewPushRule::Content(NewPatternedPushRule::new("mine".to_owned(), "x".to_owned(), actions))
    };
    editor.put(&ann, &rule(actions(most)), Beside::default()).await.unwrap();
    let refused = editor.put(&ann, &rule(actions(most + 1)), Beside::default()).await;
    assert!(matches!(refused, Err(PushRuleError::ActionsTooLarge)));
    editor.set_actions(&ann, &RuleKind::Content, "mine", &actions(most)).await.unwrap();
    let refused = editor.set_actions(&ann, &RuleKind::Content, "mine", &actions(most + 1)).await;
    assert!(matches!(refused, Err(PushRuleError::ActionsTooLarge)));
}
