//! Counts of what is not read. Client-server API, "Receiving notifications" and "Threading".

use depesche_spec_tests::prelude::*;

const RECEIPT: &str = "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}";

/// A room of two in which Bob has read everything.
async fn pair() -> (User, User, String) {
    let (alice, bob) = (shared().user("alice").await, shared().user("bob").await);
    let room = alice.public_room().await;
    bob.join(&room).await;
    (alice, bob, room)
}

async fn mark(user: &User, room: &str, kind: &str, event: &str, thread: Option<&str>) {
    let body = thread.map_or_else(|| json!({}), |thread| json!({ "thread_id": thread }));
    user.post(RECEIPT, &[room, kind, event]).json(body).await.ok();
}

/// A text about nothing, or in a thread; naming somebody, or not.
async fn say(user: &User, room: &str, thread: Option<&str>, mentions: Value) -> String {
    let mut content = json!({ "msgtype": "m.text", "body": "text", "m.mentions": mentions });
    if let Some(root) = thread {
        content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
    }
    user.send(room, "m.room.message", content).await
}

/// Notifications and highlights of the room, as a first answer has them.
async fn counts(user: &User, room: &str) -> (u64, u64) {
    let sync = user.syncer().next().await;
    pair_of(RoomSync::joined(&sync, room).field("unread_notifications"))
}

/// The same with a filter that tells threads apart: the main timeline, and some threads.
async fn counts_by_thread(user: &User, room: &str, threads: &[&str]) -> Vec<(u64, u64)> {
    let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
    let sync = user.syncer().filter(&filter).next().await;
    let joined = RoomSync::joined(&sync, room);
    let of_threads = joined.field("unread_thread_notifications");
    let threads = threads.iter().map(|thread| pair_of(of_threads.get(*thread).unwrap_or(&Value::Null)));
    [pair_of(joined.field("unread_notifications"))].into_iter().chain(threads).collect()
}

fn pair_of(counts: &Value) -> (u64, u64) {
    let number = |name: &str| counts[name].as_u64().unwrap_or_default();
    (number("notification_count"), number("highlight_count"))
}

#[tokio::test]
async fn messages_count_until_they_are_read() {
    let (alice, bob, room) = pair().await;
    assert_eq!(counts(&bob, &room).await, (0, 0));
    let one = alice.say(&room, "1").await;
    let two = alice.say(&room, "2").await;
    assert_eq!(counts(&bob, &room).await, (2, 0));
    assert_eq!(counts(&alice, &room).await, (0, 0), "nobody is notified of their own");
    mark(&bob, &room, "m.read", &one, None).await;
    assert_eq!(counts(&bob, &room).await, (1, 0));
    mark(&bob, &room, "m.read.private", &two, None).await;
    assert_eq!(counts(&bob, &room).await, (0, 0));
    mark(&bob, &room, "m.read", &two, None).await;
    alice.say(&room, "3").await;
    assert_eq!(counts(&bob, &room).await, (1, 0));
}

#[tokio::test]
async fn the_count_comes_with_the_message_and_goes_with_the_receipt() {
    let (alice, bob, room) = pair().await;
    let mut syncer = bob.another_device().await.syncer();
    syncer.next().await;
    let said = alice.say(&room, "new").await;
    let seen = |sync: &Value| RoomSync::joined(sync, &room).field("unread_notifications").clone();
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    assert_eq!(pair_of(&seen(&sync)), (1, 0));
    mark(&bob, &room, "m.read.private", &said, None).await;
    let sync = syncer.until(|sync| RoomSync::joined(sync, &room).is_there()).await;
    assert_eq!(pair_of(&seen(&sync)), (0, 0), "{sync}");
}

#[tokio::test]
async fn mentions_are_highlights() {
    let (alice, bob, room) = pair().await;
    let carol = shared().user("carol").await;
    carol.join(&room).await;
    say(&alice, &room, None, json!({ "user_ids": [bob.id] })).await;
    assert_eq!((counts(&bob, &room).await, counts(&carol, &room).await), ((1, 1), (1, 0)));
    say(&alice, &room, None, json!({ "room": true })).await;
    assert_eq!((counts(&bob, &room).await, counts(&carol, &room).await), ((2, 2), (2, 1)));
    say(&alice, &room, None, json!({ "room": true, "user_ids": [bob.id] })).await;
    assert_eq!((counts(&bob, &room).await, counts(&carol, &room).await), ((3, 3), (3, 2)));
    // Who may not name the room, does not.
    say(&bob, &room, None, json!({ "room": true })).await;
    assert_eq!(counts(&carol, &room).await, (4, 2));
}

#[tokio::test]
async fn what_does_not_notify_does_not_count() {
    let (alice, bob, room) = pair().await;
    let said = alice.say(&room, "said").await;
    mark(&bob, &room, "m.read", &said, None).await;
    alice.send(&room, "m.room.message", json!({ "msgtype": "m.notice", "body": "notice" })).await;
    let reaction = json!({ "rel_type": "m.annotation", "event_id": said, "key": "+" });
    alice.send(&room, "m.reaction", json!({ "m.relates_to": reaction })).await;
    alice.set_state(&room, "m.room.topic", "", json!({ "topic": "t" })).await;
    let edit = |mentions: Value| {
        json!({
            "msgtype": "m.text", "body": "* better", "m.mentions": mentions,
            "m.new_content": { "msgtype": "m.text", "body": "better" },
            "m.relates_to": { "rel_type": "m.replace", "event_id": said },
        })
    };
    alice.send(&room, "m.room.message", edit(json!({}))).await;
    assert_eq!(counts(&bob, &room).await, (0, 0));
    // An edit that names somebody does.
    let named = alice.send(&room, "m.room.message", edit(json!({ "user_ids": [bob.id] }))).await;
    assert_eq!(counts(&bob, &room).await, (1, 1));
    alice.say(&room, "more").await;
    assert_eq!(counts(&bob, &room).await, (2, 1));
    mark(&bob, &room, "m.read", &named, None).await;
    assert_eq!(counts(&bob, &room).await, (1, 0));
}

#[tokio::test]
async fn what_was_said_before_a_join_does_not_count() {
    let (alice, bob, room) = pair().await;
    alice.say(&room, "before").await;
    let carol = shared().user("carol").await;
    carol.join(&room).await;
    assert_eq!((counts(&bob, &room).await, counts(&carol, &room).await), ((1, 0), (0, 0)));
    alice.say(&room, "after").await;
    assert_eq!((counts(&bob, &room).await, counts(&carol, &room).await), ((2, 0), (1, 0)));
}

#[tokio::test]
async fn threads_count_for_themselves_where_the_filter_asks() {
    let (alice, bob, room) = pair().await;
    let root = alice.say(&room, "root").await;
    say(&alice, &room, Some(&root), json!({})).await;
    say(&alice, &room, Some(&root), json!({ "user_ids": [bob.id] })).await;
    assert_eq!(counts_by_thread(&bob, &room, &[&root]).await, [(1, 0), (2, 1)]);
    assert_eq!(counts(&bob, &room).await, (3, 1), "without the flag all count together");
}

#[tokio::test]
async fn a_receipt_for_the_main_timeline_leaves_threads_unread() {
    let (alice, bob, room) = pair().await;
    let root = alice.say(&room, "root").await;
    say(&alice, &room, Some(&root), json!({})).await;
    let last = alice.say(&room, "last").await;
    mark(&bob, &room, "m.read", &last, Some("main")).await;
    assert_eq!(counts_by_thread(&bob, &room, &[&root]).await, [(0, 0), (1, 0)]);
    assert_eq!(counts(&bob, &room).await, (1, 0));
}

#[tokio::test]
async fn a_receipt_for_a_thread_leaves_the_rest_unread() {
    let (alice, bob, room) = pair().await;
    let (one, two) = (alice.say(&room, "1").await, alice.say(&room, "2").await);
    let in_one = say(&alice, &room, Some(&one), json!({})).await;
    say(&alice, &room, Some(&two), json!({})).await;
    mark(&bob, &room, "m.read.private", &in_one, Some(&one)).await;
    assert_eq!(counts_by_thread(&bob, &room, &[&one, &two]).await, [(2, 0), (0, 0), (1, 0)]);
    say(&alice, &room, Some(&one), json!({ "user_ids": [bob.id] })).await;
    assert_eq!(counts_by_thread(&bob, &room, &[&one, &two]).await, [(2, 0), (1, 1), (1, 0)]);
}

#[tokio::test]
async fn a_receipt_without_a_thread_reads_all_before_it() {
    let (alice, bob, room) = pair().await;
    let root = alice.say(&room, "root").await;
    say(&alice, &room, Some(&root), json!({ "user_ids": [bob.id] })).await;
    let middle = alice.say(&room, "middle").await;
    say(&alice, &room, Some(&root), json!({})).await;
    alice.say(&room, "last").await;
    mark(&bob, &room, "m.read", &middle, None).await;
    assert_eq!(counts_by_thread(&bob, &room, &[&root]).await, [(1, 0), (1, 0)]);
    // A receipt in the thread from before takes nothing back, one from behind reads on.
    let latest = say(&alice, &room, Some(&root), json!({})).await;
    assert_eq!(counts_by_thread(&bob, &room, &[&root]).await, [(1, 0), (2, 0)]);
    mark(&bob, &room, "m.read", &latest, Some(&root)).await;
    assert_eq!(counts_by_thread(&bob, &room, &[&root]).await, [(1, 0), (0, 0)]);
}

#[tokio::test]
async fn the_receipt_that_is_ahead_counts() {
    let (alice, bob, room) = pair().await;
    let events = [alice.say(&room, "a").await, alice.say(&room, "b").await, alice.say(&room, "c").await];
    alice.say(&room, "d").await;
    mark(&bob, &room, "m.read", &events[2], None).await;
    for event in [&events[0], &events[1]] {
        mark(&bob, &room, "m.read.private", event, None).await;
        assert_eq!(counts(&bob, &room).await, (1, 0));
    }
    let path = "/_matrix/client/v3/rooms/{roomId}/read_markers";
    let last = alice.say(&room, "e").await;
    bob.post(path, &[&room]).json(json!({ "m.read.private": last })).await.ok();
    assert_eq!(counts(&bob, &room).await, (0, 0));
}

const RULE: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
const ENABLED: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled";
const ACTIONS: &str = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions";

/// What is put where, for a room and who writes in it: the path, the kind and id of the rule, the body.
type Rules = fn(&str, &str) -> Vec<(&'static str, [String; 2], Value)>;

/// Notifications and highlights of the main timeline and of the thread, behind a receipt without a thread, one of the main
/// timeline, one of the thread.
type Left = [[(u64, u64); 2]; 3];

/// Four messages that lie behind the receipt where it reaches them, and four more: in the main timeline and in the thread,
/// a text and a mention each.
const ALL: Left = [[(2, 1), (2, 1)], [(2, 1), (4, 2)], [(4, 2), (2, 1)]];
const MENTIONS: Left = [[(1, 1), (1, 1)], [(1, 1), (2, 2)], [(2, 2), (1, 1)]];
const NOTHING: Left = [[(0, 0); 2]; 3];

fn rule_sets() -> [(&'static str, Rules, Left); 6] {
    fn of<const N: usize>(
        path: &'static str,
        rules: [(&str, &str); N],
        body: &Value,
    ) -> Vec<(&'static str, [String; 2], Value)> {
        rules.map(|(kind, id)| (path, [kind, id].map(str::to_owned), body.clone())).into()
    }
    // Synapse has rules of the kind `sender` look for the sender in a field that no event has.
    let muted_sender = differs("client-server-api#push-rules", || MENTIONS, || ALL);
    [
        ("a muted room", |room, _| of(RULE, [("room", room)], &json!({ "actions": [] })), MENTIONS),
        ("a muted sender", |_, sender| of(RULE, [("sender", sender)], &json!({ "actions": [] })), muted_sender),
        (
            "mentions only",
            |_, _| {
                let kinds = ["message", "room_one_to_one"].map(|id| ("underride", format!(".m.rule.{id}")));
                of(ACTIONS, kinds.each_ref().map(|(kind, id)| (*kind, id.as_str())), &json!({ "actions": [] }))
            },
            MENTIONS,
        ),
        (
            "no rule for messages",
            |_, _| of(ENABLED, [("underride", ".m.rule.message")], &json!({ "enabled": false })),
            MENTIONS,
        ),
        ("all off", |_, _| of(ENABLED, [("override", ".m.rule.master")], &json!({ "enabled": true })), NOTHING),
        (
            "nothing of a room",
            |room, _| {
                let here = json!([{ "kind": "event_match", "key": "room_id", "pattern": room }]);
                of(RULE, [("override", room)], &json!({ "conditions": here, "actions": [] }))
            },
            NOTHING,
        ),
    ]
}

#[tokio::test]
async fn rules_and_receipts_make_the_counts_together() {
    let alice = shared().user("alice").await;
    for (rules, put, wanted) in rule_sets() {
        let room = alice.public_room().await;
        let mut readers = Vec::new();
        for name in ["bob", "carol", "dave"] {
            let reader = shared().user(name).await;
            reader.join(&room).await;
            for (path, [kind, id], body) in put(&room, &alice.id) {
                reader.put(path, &[&kind, &id]).json(body).await.ok();
            }
            readers.push(reader);
        }
        let all: Vec<&str> = readers.iter().map(|reader| reader.id.as_str()).collect();
        let mention = json!({ "user_ids": all });
        let root = say(&alice, &room, None, json!({})).await;
        say(&alice, &room, Some(&root), json!({})).await;
        let in_thread = say(&alice, &room, Some(&root), mention.clone()).await;
        let in_main = say(&alice, &room, None, mention.clone()).await;
        for thread in [None, Some(root.as_str())] {
            say(&alice, &room, thread, json!({})).await;
            say(&alice, &room, thread, mention.clone()).await;
        }
        let receipts = [(&in_main, None), (&in_main, Some("main")), (&in_thread, Some(root.as_str()))];
        for ((reader, (event, thread)), wanted) in readers.iter().zip(receipts).zip(wanted) {
            mark(reader, &room, "m.read", event, thread).await;
            assert_eq!(counts_by_thread(reader, &room, &[&root]).await, wanted, "{rules}, a receipt for {thread:?}");
            let [main, thread] = wanted;
            assert_eq!(counts(reader, &room).await, (main.0 + thread.0, main.1 + thread.1), "{rules}, all together");
        }
    }
}

#[tokio::test]
async fn what_is_redacted_counts_no_more() {
    let (alice, bob, room) = pair().await;
    alice.say(&room, "stays").await;
    let mention = json!({ "user_ids": [bob.id] });
    let (main, root) = (say(&alice, &room, None, mention.clone()).await, alice.say(&room, "root").await);
    let answer = say(&alice, &room, Some(&root), mention).await;
    assert_eq!(counts(&bob, &room).await, (4, 2));
    let path = "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}";
    for (event, left) in [(&main, (3, 1)), (&answer, (2, 0))] {
        alice.put(path, &[&room, event, &depesche_spec_tests::user::txn()]).json(json!({})).await.ok();
        assert_eq!(counts(&bob, &room).await, left);
    }
    mark(&bob, &room, "m.read", &root, None).await;
    assert_eq!(counts(&bob, &room).await, (0, 0));
}

#[tokio::test]
async fn nobody_is_notified_of_what_they_do_themselves() {
    let (alice, bob, room) = pair().await;
    let tombstone = json!({ "body": "gone", "replacement_room": "!new:example.org" });
    alice.set_state(&room, "m.room.tombstone", "", tombstone).await;
    assert_eq!(counts(&alice, &room).await, (0, 0));
    assert_eq!(counts(&bob, &room).await, (1, 1));
}

#[tokio::test]
async fn a_new_name_reads_nothing() {
    let (alice, bob, room) = pair().await;
    let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
    let keyword = json!({ "pattern": "budget", "actions": ["notify", { "set_tweak": "highlight" }] });
    bob.put(path, &["content", "budget"]).json(keyword).await.ok();
    alice.say(&room, "the budget").await;
    alice.say(&room, "and the rest").await;
    assert_eq!(counts(&bob, &room).await, (2, 1));
    let path = "/_matrix/client/v3/profile/{userId}/{keyName}";
    bob.put(path, &[&bob.id, "displayname"]).json(json!({ "displayname": "Robert" })).await.ok();
    let mut syncer = bob.syncer();
    let renamed = |sync: &Value| {
        let joined = RoomSync::joined(sync, &room);
        ["timeline", "state"]
            .iter()
            .any(|part| joined.events(part).iter().any(|event| event["content"]["displayname"] == "Robert"))
    };
    syncer.until(renamed).await;
    let counts = counts(&bob, &room).await;
    differs(
        "client-server-api#marking-notifications-as-read",
        || assert_eq!(counts, (2, 1)),
        || assert_eq!(counts, (0, 0)),
    );
}
