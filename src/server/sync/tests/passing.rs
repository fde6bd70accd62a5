//! Receipts, typing and presence as others see them, with the paused clock.

use depesche_rules::bounds::MAX_RECEIPTS_PER_SYNC;
use ruma::{OwnedEventId, OwnedRoomId, events::AnySyncEphemeralRoomEvent, push::RuleKind, serde::Raw};
use tokio::time::advance;

use super::{super::session::FEW, *};
use crate::{
    push_rules::Editor,
    rooms::{
        membership::Action,
        receipts::{Read, Thread},
    },
    testing::{object, user},
};

const LONG: Duration = Duration::from_secs(30);

/// A public room of three, and a client of Bob's that has seen it.
async fn house() -> (Server, OwnedRoomId, Client) {
    house_with(json!({})).await
}

async fn house_with(filter: Value) -> (Server, OwnedRoomId, Client) {
    let server = Server::new();
    let (alice, bob, carol) = users();
    let room = server.rooms.public_room(&alice).await;
    server.rooms.join(&room, &bob).await;
    server.rooms.join(&room, &carol).await;
    let mut client = server.client_with(&bob, filter);
    client.sync().await;
    (server, room, client)
}

impl Server {
    async fn read(&self, user: &UserId, room: &OwnedRoomId, event: &OwnedEventId, thread: Thread) {
        let read = Read { public: Some(event.clone()), thread, ..Read::default() };
        self.receipts.read(user, room, &read).await.expect("a member reads");
    }

    async fn read_privately(&self, user: &UserId, room: &OwnedRoomId, event: &OwnedEventId) {
        let read = Read { private: Some(event.clone()), ..Read::default() };
        self.receipts.read(user, room, &read).await.expect("a member reads");
    }

    async fn types(&self, user: &UserId, room: &OwnedRoomId, seconds: Option<u64>) {
        self.typing.set(user, room, seconds.map(Duration::from_secs)).await.expect("a member types");
    }

    /// A message in a thread.
    async fn answer(&self, room: &OwnedRoomId, sender: &UserId, root: &OwnedEventId) -> OwnedEventId {
        let thread = json!({ "rel_type": "m.thread", "event_id": root });
        let message = crate::rooms::send::Message {
            sender: sender.to_owned(),
            kind: "m.room.message".into(),
            content: object(json!({ "msgtype": "m.text", "body": "answer", "m.relates_to": thread })),
            transaction: None,
        };
        self.rooms.rooms.submit(room, message).await.expect("it may be said").event_id
    }
}

/// The contents of the events of a type in the room's ephemeral part.
fn passed(answer: &Value, room: &OwnedRoomId, kind: &str) -> Vec<Value> {
    let events = answer["rooms"]["join"][room.as_str()]["ephemeral"]["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["type"] == kind).map(|event| event["content"].clone()).collect()
}

/// Event, type, user and thread of all receipts.
fn receipts(answer: &Value, room: &OwnedRoomId) -> Vec<String> {
    let mut found = Vec::new();
    for content in passed(answer, room, "m.receipt") {
        for (event, types) in content.as_object().unwrap() {
            for (kind, users) in types.as_object().unwrap() {
                for (user, receipt) in users.as_object().unwrap() {
                    assert!(receipt["ts"].is_u64());
                    let thread = receipt.get("thread_id").map_or("-", |thread| thread.as_str().unwrap());
                    found.push(format!("{event} {kind} {user} {thread}"));
                }
            }
        }
    }
    sorted(found)
}

fn typists(answer: &Value, room: &OwnedRoomId) -> Option<Vec<String>> {
    let content = passed(answer, room, "m.typing").pop()?;
    Some(content["user_ids"].as_array().unwrap().iter().map(|user| user.as_str().unwrap().to_owned()).collect())
}

/// User, state and whether active of all presence events.
fn presence(answer: &Value) -> Vec<String> {
    let events = answer["presence"]["events"].as_array().cloned().unwrap_or_default();
    let brief = |event: &Value| {
        let content = &event["content"];
        let active =
            content.get("currently_active").map(|active| if active == true { " active" } else { " not active" });
        let user = event["sender"].as_str().unwrap().split(':').next().unwrap();
        format!("{user} {}{}", content["presence"].as_str().unwrap(), active.unwrap_or_default())
    };
    sorted(events.iter().map(brief).collect())
}

#[tokio::test(start_paused = true)]
async fn receipts_come_once_and_move_forward_only() {
    let (server, room, mut client) = house().await;
    let (alice, bob, carol) = users();
    let (one, two) = (server.rooms.say(&room, &alice, "1").await, server.rooms.say(&room, &alice, "2").await);
    client.sync().await;
    server.read(&carol, &room, &two, Thread::None).await;
    let expected = [format!("{two} m.read {carol} -")];
    assert_eq!(receipts(&client.clone().sync().await, &room), expected);
    assert_eq!(receipts(&client.sync().await, &room), expected, "the same token gets the same");
    assert_eq!(client.sync().await.get("rooms"), None);
    server.read(&carol, &room, &one, Thread::None).await;
    assert_eq!(client.sync().await.get("rooms"), None, "backwards is nowhere");
    server.read(&carol, &room, &two, Thread::Main).await;
    assert_eq!(receipts(&client.sync().await, &room), [format!("{two} m.read {carol} main")]);
    // Each moves for itself.
    server.read_privately(&bob, &room, &two).await;
    server.read(&bob, &room, &one, Thread::None).await;
    let own = [format!("{one} m.read {bob} -"), format!("{two} m.read.private {bob} -")];
    let answer = client.sync().await;
    assert_eq!(receipts(&answer, &room), sorted(own.to_vec()));
    let count = &answer["rooms"]["join"][room.as_str()]["unread_notifications"]["notification_count"];
    assert_eq!(count, 0, "the one that is ahead counts");
    let first = server.client(&bob).sync().await;
    let all = [own[0].clone(), own[1].clone(), format!("{two} m.read {carol} -"), format!("{two} m.read {carol} main")];
    assert_eq!(receipts(&first, &room), sorted(all.to_vec()));
    let others = server.client(&alice).sync().await;
    assert!(receipts(&others, &room).iter().all(|receipt| !receipt.contains("private")), "{others}");
    let event = Raw::<AnySyncEphemeralRoomEvent>::from_json(
        serde_json::value::to_raw_value(&first["rooms"]["join"][room.as_str()]["ephemeral"]["events"][0]).unwrap(),
    );
    assert!(event.deserialize().is_ok(), "what clients read");
}

#[tokio::test(start_paused = true)]
async fn a_private_receipt_wakes_the_users_other_devices_alone() {
    let (server, room, mut client) = house().await;
    let (alice, bob, carol) = users();
    let said = server.rooms.say(&room, &alice, "read me").await;
    client.sync().await;
    let mut other = server.client(&carol);
    other.sync().await;
    let before = tokio::time::Instant::now();
    let poll = tokio::spawn(async move { (client.sync_for(LONG).await, client) });
    let others = tokio::spawn(async move { other.sync_for(LONG).await });
    advance(Duration::from_secs(1)).await;
    server.read_privately(&bob, &room, &said).await;
    let (answer, mut client) = poll.await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    assert_eq!(receipts(&answer, &room), [format!("{said} m.read.private {bob} -")]);
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!(joined["unread_notifications"], json!({ "highlight_count": 0, "notification_count": 0 }));
    assert_eq!(others.await.unwrap().get("rooms"), None);
    assert!(before.elapsed() >= LONG);
    // A device that nobody watched for learns of it as well.
    server.rooms.say(&room, &alice, "more").await;
    let token = client.sync().await["next_batch"].clone();
    let last = server.rooms.say(&room, &alice, "last").await;
    server.read_privately(&bob, &room, &last).await;
    let mut tablet = server.client(&bob);
    tablet.request.device = "TABLET".into();
    tablet.request.since = Some(token.as_str().unwrap().to_owned());
    assert_eq!(receipts(&tablet.sync().await, &room), [format!("{last} m.read.private {bob} -")]);
}

#[tokio::test]
async fn what_was_read_elsewhere_is_told_though_the_filter_wants_no_receipts() {
    let (server, room, mut client) = house_with(json!({ "room": { "ephemeral": { "types": [] } } })).await;
    let (alice, bob, carol) = users();
    let said = server.rooms.say(&room, &alice, "read me").await;
    client.sync().await;
    server.read(&carol, &room, &said, Thread::None).await;
    server.types(&carol, &room, Some(30)).await;
    assert_eq!(client.sync().await.get("rooms"), None, "none of these is wanted");
    server.read(&bob, &room, &said, Thread::None).await;
    let answer = client.sync().await;
    let joined = &answer["rooms"]["join"][room.as_str()];
    assert_eq!((joined.get("ephemeral"), &joined["unread_notifications"]["notification_count"]), (None, &json!(0)));
}

#[tokio::test]
async fn what_is_redacted_is_told_as_a_count_though_the_filter_hides_it() {
    let (server, room, mut client) = house_with(json!({ "room": { "timeline": { "types": ["m.room.name"] } } })).await;
    let (alice, ..) = users();
    let said = server.rooms.say(&room, &alice, "unread").await;
    let before = client.sync().await;
    server.rooms.send(&room, &alice, "m.reaction", json!({})).await;
    assert_eq!(client.sync().await.get("rooms"), None, "nothing to tell");
    server.rooms.redact(&room, &alice, &said).await;
    let after = client.sync().await;
    let [before, after] = [before, after]
        .map(|answer| answer["rooms"]["join"][room.as_str()]["unread_notifications"]["notification_count"].as_u64());
    assert_eq!(after.map(|count| count + 1), before);
    assert_eq!(client.sync().await.get("rooms"), None);
}

#[tokio::test]
async fn threads_are_counted_for_themselves_where_the_filter_asks() {
    let filter = json!({ "room": { "timeline": { "unread_thread_notifications": true } } });
    let (server, room, mut client) = house_with(filter).await;
    let (alice, bob, _) = users();
    let root = server.rooms.say(&room, &alice, "root").await;
    let answer_in = server.answer(&room, &alice, &root).await;
    let count = |n: u32| json!({ "highlight_count": 0, "notification_count": n });
    let of = |answer: &Value| {
        let joined = &answer["rooms"]["join"][room.as_str()];
        (joined["unread_notifications"].clone(), joined["unread_thread_notifications"].clone())
    };
    assert_eq!(of(&client.sync().await), (count(1), json!({ root.as_str(): count(1) })));
    assert_eq!(of(&server.client(&bob).sync().await), (count(2), Value::Null), "without the flag all count together");
    server.read(&bob, &room, &root, Thread::Main).await;
    assert_eq!(of(&client.sync().await), (count(0), json!({ root.as_str(): count(1) })));
    server.read(&bob, &room, &answer_in, Thread::Of(root.clone())).await;
    assert_eq!(of(&client.sync().await), (count(0), Value::Null));
    server.answer(&room, &alice, &root).await;
    server.answer(&room, &bob, &root).await;
    server.rooms.say(&room, &alice, "beside").await;
    assert_eq!(of(&client.sync().await), (count(1), Value::Null), "an answer of one's own reads its thread");
}

#[tokio::test]
async fn read_markers_move_together_and_the_last_is_account_data() {
    let (server, room, mut client) = house().await;
    let (alice, bob, _) = users();
    let (one, two) = (server.rooms.say(&room, &alice, "1").await, server.rooms.say(&room, &alice, "2").await);
    client.sync().await;
    let read = |event: &OwnedEventId| Read {
        public: Some(event.clone()),
        private: Some(event.clone()),
        fully: Some(event.clone()),
        ..Read::default()
    };
    server.receipts.read(&bob, &room, &read(&two)).await.unwrap();
    let answer = client.sync().await;
    let marker = json!({ "type": "m.fully_read", "content": { "event_id": two } });
    assert_eq!(answer["rooms"]["join"][room.as_str()]["account_data"]["events"], json!([marker]));
    assert_eq!(receipts(&answer, &room).len(), 2);
    server.receipts.read(&bob, &room, &read(&one)).await.unwrap();
    assert_eq!(client.sync().await.get("rooms"), None, "nothing moves backwards");
    let unknown = "$unknown".try_into().unwrap();
    let wrong = Read { fully: Some(unknown), ..read(&two) };
    assert!(server.receipts.read(&bob, &room, &wrong).await.is_err());
    assert!(server.receipts.read(&user("stranger"), &room, &read(&two)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn typing_is_told_once_and_ends_by_itself() {
    let (server, room, mut client) = house().await;
    let (_, bob, carol) = users();
    server.types(&carol, &room, Some(20)).await;
    assert_eq!(typists(&client.sync().await, &room), Some(vec![carol.to_string()]));
    assert_eq!(typists(&server.client(&bob).sync().await, &room), Some(vec![carol.to_string()]));
    // Typing on is no news, and moves the end.
    advance(Duration::from_secs(15)).await;
    server.types(&carol, &room, Some(20)).await;
    assert_eq!(client.sync().await.get("rooms"), None);
    let before = tokio::time::Instant::now();
    assert_eq!(typists(&client.sync_for(LONG).await, &room), Some(vec![]), "its end wakes the poll");
    assert_eq!(before.elapsed(), Duration::from_secs(20));
    assert_eq!(client.sync().await.get("rooms"), None);
    assert_eq!(typists(&server.client(&bob).sync().await, &room), None, "a first answer has nobody to tell of");
    // Nobody types for longer than two minutes without saying so.
    server.types(&carol, &room, Some(100_000)).await;
    client.sync().await;
    let before = tokio::time::Instant::now();
    while typists(&client.sync_for(LONG).await, &room).is_none() {}
    assert_eq!(before.elapsed(), Duration::from_mins(2));
}

#[tokio::test(start_paused = true)]
async fn typing_ends_by_saying_so_and_by_leaving_and_not_by_a_message() {
    let (server, room, mut client) = house().await;
    let (_, bob, carol) = users();
    for end in ["stop", "leave"] {
        server.types(&bob, &room, Some(60)).await;
        server.types(&carol, &room, Some(60)).await;
        let both = sorted(typists(&client.sync().await, &room).unwrap());
        assert_eq!(both, [bob.to_string(), carol.to_string()], "{end}");
        server.rooms.say(&room, &carol, "said").await;
        assert_eq!(typists(&client.sync().await, &room), None, "nothing changed");
        assert_eq!(sorted(typists(&server.client(&bob).sync().await, &room).unwrap()), both);
        match end {
            "stop" => server.types(&carol, &room, None).await,
            _ => drop(server.rooms.change(&room, &carol, &carol, Action::Leave).await.unwrap()),
        }
        assert_eq!(typists(&client.sync().await, &room), Some(vec![bob.to_string()]), "{end}");
    }
    assert!(server.typing.set(&carol, &room, Some(LONG)).await.is_err(), "who left does not type");
}

#[tokio::test(start_paused = true)]
async fn presence_is_told_to_those_who_share_a_room() {
    let (server, room, mut client) = house().await;
    let (_, bob, carol) = users();
    let dave = user("dave");
    let mut stranger = server.client(&dave);
    stranger.sync().await;
    let mut phone = server.client(&carol);
    phone.request.set_presence = PresenceState::Online;
    let before = tokio::time::Instant::now();
    let poll = tokio::spawn(async move { (client.sync_for(LONG).await, client) });
    advance(Duration::from_secs(1)).await;
    phone.sync().await;
    let (answer, mut client) = poll.await.unwrap();
    assert_eq!(before.elapsed(), Duration::from_secs(1));
    assert_eq!(presence(&answer), ["@carol online active"]);
    assert_eq!(presence(&stranger.sync().await), [""; 0]);
    assert_eq!(presence(&server.client(&bob).sync().await), ["@carol online active"], "a first answer has it");
    // Her poll is over.
    let mut answer = client.sync_for(LONG).await;
    if presence(&answer).is_empty() {
        // Both end in the same moment.
        answer = client.sync_for(LONG).await;
    }
    assert_eq!(presence(&answer), ["@carol offline"]);
    assert_eq!(answer["presence"]["events"][0]["content"]["last_active_ago"], 30_000);
    assert_eq!(presence(&server.client(&bob).sync().await), [""; 0]);
    // The newcomer learns of those who are there, and they of the newcomer.
    server.presence.set(&carol, &PresenceState::Online, Some("back".into())).await.unwrap();
    client.sync().await;
    server.presence.set(&dave, &PresenceState::Unavailable, None).await.unwrap();
    assert_eq!(presence(&client.sync().await), [""; 0]);
    server.rooms.join(&room, &dave).await;
    server.presence.moved(&dave);
    let answer = client.sync_for(LONG).await;
    let answer = if presence(&answer).is_empty() { client.sync_for(LONG).await } else { answer };
    assert_eq!(presence(&answer), ["@dave unavailable"]);
    assert_eq!(presence(&stranger.sync().await), ["@carol online active", "@dave unavailable"], "and their own");
}

#[tokio::test(start_paused = true)]
async fn presence_is_filtered_and_can_be_asked_for() {
    let (alice, bob, carol) = users();
    let filter = json!({ "presence": { "not_senders": [carol] } });
    let (server, _, mut client) = house_with(filter).await;
    let mut deaf = server.client_with(&bob, json!({ "presence": { "types": [] } }));
    deaf.sync().await;
    for who in [&alice, &carol, &bob] {
        server.presence.set(who, &PresenceState::Online, None).await.unwrap();
    }
    assert_eq!(presence(&client.sync().await), ["@alice online active", "@bob online active"]);
    assert_eq!(presence(&deaf.sync().await), [""; 0]);
    advance(Duration::from_secs(7)).await;
    let shown = server.presence.get(&bob, &carol).await.unwrap();
    assert_eq!((shown.state, shown.last_active_ago_ms), (PresenceState::Online, Some(7000)));
    assert!(server.presence.get(&user("dave"), &carol).await.is_err(), "no room in common");
    let dave = user("dave");
    assert_eq!(server.presence.get(&dave, &dave).await.unwrap().state, PresenceState::Offline);
    let long = "x".repeat(2000);
    assert!(server.presence.set(&bob, &PresenceState::Online, Some(long)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn time_alone_makes_somebody_idle_while_they_poll() {
    let (server, _, mut client) = house().await;
    let (_, _, carol) = users();
    let mut phone = server.client(&carol);
    phone.request.set_presence = PresenceState::Online;
    phone.sync().await;
    tokio::spawn(async move {
        loop {
            phone.sync_for(LONG).await;
        }
    });
    let begin = tokio::time::Instant::now();
    let mut seen = Vec::new();
    while begin.elapsed() < Duration::from_mins(6) {
        let answer = client.sync_for(LONG).await;
        seen.extend(presence(&answer).into_iter().map(|what| (begin.elapsed().as_secs(), what)));
    }
    let expected = [(0, "@carol online active"), (60, "@carol online not active"), (300, "@carol unavailable")];
    assert_eq!(seen, expected.map(|(at, what)| (at, what.to_owned())));
    server.presence.active(&carol);
    assert_eq!(presence(&client.sync_for(LONG).await), ["@carol online active"]);
}

#[tokio::test(start_paused = true)]
async fn of_who_is_ignored_nothing_passes() {
    let (server, room, mut client) = house().await;
    let (alice, bob, carol) = users();
    let said = server.rooms.say(&room, &alice, "1").await;
    client.sync().await;
    server.rooms.ignore(&bob, &[&carol]).await;
    for user in [&alice, &carol] {
        server.types(user, &room, Some(20)).await;
        server.read(user, &room, &said, Thread::None).await;
        server.presence.set(user, &PresenceState::Online, None).await.unwrap();
    }
    let expect = |answer: &Value| {
        assert_eq!(typists(answer, &room), Some(vec![alice.to_string()]));
        assert_eq!(receipts(answer, &room), [format!("{said} m.read {alice} -")]);
        assert_eq!(presence(answer), ["@alice online active"]);
    };
    expect(&client.sync().await);
    expect(&server.client(&bob).sync().await);
    // From then on they pass again, as they are.
    server.rooms.ignore(&bob, &[]).await;
    let answer = server.client(&bob).sync().await;
    assert_eq!(typists(&answer, &room), Some(vec![alice.to_string(), carol.to_string()]));
    assert_eq!(receipts(&answer, &room).len(), 2);
    assert_eq!(presence(&answer), ["@alice online active", "@carol online active"]);
}

#[tokio::test(start_paused = true)]
async fn presence_is_not_told_to_those_who_come_after() {
    let (server, room, _) = house().await;
    let (alice, _, carol) = users();
    server.presence.set(&carol, &PresenceState::Online, Some("where I am".into())).await.unwrap();
    server.rooms.change(&room, &carol, &carol, Action::Leave).await.unwrap();
    let mut client = server.client(&user("dave"));
    client.sync().await;
    server.rooms.join(&room, &user("dave")).await;
    assert_eq!(presence(&client.sync().await), [""; 0], "they never shared a room");
    assert_eq!(presence(&server.client(&alice).sync().await), [""; 0], "they share none any more");
}

#[tokio::test]
async fn ones_own_receipt_is_told_however_many_others_have_read() {
    let (server, room, mut client) = house().await;
    let (alice, bob, carol) = users();
    let first = server.rooms.say(&room, &alice, "read me").await;
    client.sync().await;
    server.read(&bob, &room, &first, Thread::None).await;
    for n in 0..MAX_RECEIPTS_PER_SYNC {
        let root = server.rooms.say(&room, &alice, &n.to_string()).await;
        server.read(&carol, &room, &root, Thread::Of(root.clone())).await;
    }
    let own = format!("{first} m.read {bob} -");
    let moved = client.ask().await.unwrap();
    assert_eq!(receipts(&moved, &room).len(), MAX_RECEIPTS_PER_SYNC + 1, "all that moved");
    for answer in [moved, server.client(&bob).sync().await] {
        assert!(receipts(&answer, &room).contains(&own));
    }
    client.sync().await;
    server.read(&carol, &room, &first, Thread::None).await;
    assert_eq!(receipts(&client.sync().await, &room), [format!("{first} m.read {carol} -")], "it is told once");
}

#[tokio::test]
async fn no_limit_leaves_out_what_is_told_once() {
    let limit = |n: u32| json!({ "presence": { "limit": n }, "room": { "ephemeral": { "limit": n } } });
    let (server, room, mut client) = house_with(limit(1)).await;
    let (alice, bob, carol) = users();
    let mut deaf = server.client_with(&bob, limit(0));
    deaf.request.device = "TABLET".into();
    deaf.sync().await;
    let said = server.rooms.say(&room, &alice, "1").await;
    server.read(&carol, &room, &said, Thread::None).await;
    server.types(&alice, &room, Some(30)).await;
    for user in [&alice, &carol] {
        server.presence.set(user, &PresenceState::Online, None).await.unwrap();
    }
    let answer = client.sync().await;
    assert_eq!(receipts(&answer, &room).len(), 1);
    assert_eq!(typists(&answer, &room), Some(vec![alice.to_string()]));
    assert_eq!(presence(&answer).len(), 2);
    let answer = deaf.sync().await;
    assert_eq!((receipts(&answer, &room).len(), typists(&answer, &room), presence(&answer).len()), (0, None, 0));
}

#[tokio::test]
async fn counts_are_told_when_other_rules_make_them_others() {
    // Of a client that wants to know nothing of account data.
    let (server, room, mut client) = house_with(json!({ "account_data": { "types": [] } })).await;
    let (alice, bob, carol) = users();
    let quiet = server.rooms.public_room(&alice).await;
    server.rooms.join(&quiet, &bob).await;
    server.rooms.say(&room, &alice, "1").await;
    server.rooms.say(&room, &carol, "2").await;
    let counts = async |client: &mut Client| {
        let answer = client.sync().await;
        assert_eq!(answer["rooms"]["join"].get(quiet.as_str()), None);
        answer["rooms"]["join"][room.as_str()]["unread_notifications"]["notification_count"].clone()
    };
    client.sync().await;
    server.rooms.ignore(&bob, &[&carol]).await;
    assert_eq!(counts(&mut client).await, 1);
    let rules = Editor::new(Arc::clone(&server.rooms.base), Arc::clone(&server.account_data));
    for (enabled, expected) in [(true, 0), (false, 1)] {
        rules.set_enabled(&bob, &RuleKind::Override, ".m.rule.master", enabled).await.unwrap();
        assert_eq!(counts(&mut client).await, expected);
    }
    assert_eq!(counts(&mut client).await, Value::Null, "told once");
    // What notifies nobody by the default rules is not counted for all.
    let all = server.rooms.say(&room, &alice, "3").await;
    server.read(&bob, &room, &all, Thread::None).await;
    let notice = json!({ "msgtype": "m.notice", "body": "4" });
    server.rooms.send(&room, &alice, "m.room.message", notice).await;
    assert_eq!(counts(&mut client).await, 0);
    for (enabled, expected) in [(false, 1), (true, 0)] {
        rules.set_enabled(&bob, &RuleKind::Override, ".m.rule.suppress_notices", enabled).await.unwrap();
        assert_eq!(counts(&mut client).await, expected);
    }
}

/// A room that more watch than hear at once of what passes, a message in it, and a client of each that has seen it; the
/// last is the creator's.
async fn town() -> (Server, OwnedRoomId, OwnedEventId, Vec<Client>) {
    let server = Server::new();
    let (alice, ..) = users();
    let room = server.rooms.public_room(&alice).await;
    let said = server.rooms.say(&room, &alice, "read me").await;
    let mut clients = Vec::new();
    for n in 1..FEW + 50 {
        let member = user(&format!("member{n}"));
        server.rooms.join(&room, &member).await;
        clients.push(server.client(&member));
    }
    clients.push(server.client(&alice));
    for client in &mut clients {
        client.sync().await;
    }
    (server, room, said, clients)
}

/// Waits with each client until it has heard of so many receipts. How many answers each took.
async fn hear(clients: Vec<Client>, room: &OwnedRoomId, receipts_of: usize) -> Vec<usize> {
    let poll = async |mut client: Client| {
        let (mut answers, mut heard) = (0, 0);
        while heard < receipts_of {
            heard += receipts(&client.sync_for(LONG).await, room).len();
            answers += 1;
        }
        answers
    };
    futures::future::join_all(clients.into_iter().map(poll)).await
}

#[tokio::test(start_paused = true)]
async fn what_passes_gathers_where_many_watch() {
    let (server, room, said, clients) = town().await;
    let readers: Vec<_> = clients.iter().map(|client| client.request.user.clone()).collect();
    // Everybody reads, each a millisecond after the other, and everybody hears of all of them.
    let everybody_reads = async {
        for reader in &readers {
            server.read(reader, &room, &said, Thread::None).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let (answers, ()) = tokio::join!(hear(clients, &room, readers.len()), everybody_reads);
    assert!(answers.iter().all(|answers| *answers <= 3), "{answers:?}");
    // Where few watch, nothing is held back.
    let (server, room, client) = house().await;
    let said = server.rooms.say(&room, &users().0, "read me").await;
    let before = tokio::time::Instant::now();
    let reads = async {
        tokio::task::yield_now().await;
        server.read(&users().0, &room, &said, Thread::None).await;
    };
    tokio::join!(hear(vec![client], &room, 1), reads);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_gathers_holds_nothing_else_back() {
    let (server, room, said, mut clients) = town().await;
    let (alice, bob) = (users().0, clients[0].request.user.clone());
    let mut client = clients.pop().expect("the creator's");
    // What is said comes at once, and brings with it what has passed.
    let before = tokio::time::Instant::now();
    let happens = async {
        tokio::task::yield_now().await;
        server.types(&bob, &room, Some(30)).await;
        tokio::task::yield_now().await;
        server.rooms.say(&room, &alice, "at once").await;
    };
    let (answer, ()) = tokio::join!(client.sync_for(LONG), happens);
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(brief(&answer["rooms"]["join"][room.as_str()]["timeline"]), ["at once"]);
    assert_eq!(typists(&answer, &room), Some(vec![bob.to_string()]));
    // A poll waits as long as it wants to and no longer, also for what is new already.
    for (typing, wait) in [(None, Duration::ZERO), (Some(30), Duration::from_millis(5))] {
        let before = tokio::time::Instant::now();
        server.types(&bob, &room, typing).await;
        assert!(typists(&client.sync_for(wait).await, &room).is_some());
        assert_eq!(before.elapsed(), wait);
    }
    // And the end of the server ends it.
    let before = tokio::time::Instant::now();
    let happens = async {
        tokio::task::yield_now().await;
        server.read(&bob, &room, &said, Thread::None).await;
        tokio::task::yield_now().await;
        server.rooms.stop.send(true).unwrap();
    };
    let (answer, ()) = tokio::join!(client.sync_for(LONG), happens);
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(receipts(&answer, &room).len(), 1);
}
