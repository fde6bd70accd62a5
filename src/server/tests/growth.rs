//! Growth is counted, not timed: what a request reads and writes is the same in a room of ten members and in one of
//! fifty thousand, but for the depth of the state tree.
//!
//! Rows are compared table by table. Every path through the tree costs its height in nodes and nothing else, so of
//! nodes a room may cost as many times more than the small one as its tree is higher.

use std::{collections::BTreeMap, fmt::Write, future::Future, sync::Arc, time::Duration};

use depesche_store::{
    Options,
    counting::{Count, Counting, Counts, Rows},
};
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
    api::client::{
        filter::{FilterDefinition, RoomEventFilter},
        sync::sync_events::v3,
    },
    events::{StateEventType, room::member::MembershipState},
    presence::PresenceState,
};
use serde_json::{Value, json};

use super::{
    big_room::{self, member},
    open_with,
};
use crate::{
    Server,
    keyspace::NODE,
    rooms::{
        history::PageQuery,
        lane::Intent,
        membership::{Action, Change},
        receipts::{Read, Thread},
        send::{Message, Redaction, State},
        show::Viewer,
        view::RoomView,
    },
    sync::Request,
    testing::{creation, engine, object, user},
    workflows::create::{Creation, Preset},
};

/// A server with one room, and the figures of its engine.
struct House {
    server: Arc<Server>,
    count: Arc<Count>,
    room: OwnedRoomId,
    alice: OwnedUserId,
}

/// What one request cost.
#[derive(Clone)]
struct Cost {
    counts: Counts,
    tables: BTreeMap<u8, Rows>,
}

/// What requests cost in a room, by name, and how high its tree is.
struct Bill {
    members: usize,
    height: u64,
    costs: Vec<(&'static str, Cost)>,
}

/// What everyday requests cost at most, in keys asked for, scans, rows written and commits: whatever makes one of them
/// dearer has to say so here.
const CEILINGS: [(&str, [u64; 4]); 6] = [
    ("send", [2, 0, 9, 1]),
    ("join", [8, 0, 13, 1]),
    // One key is the account of a sender whom the page shows as they came before its reader: it may be erased.
    ("page of ten messages", [18, 5, 0, 0]),
    ("sync after a message", [10, 3, 0, 0]),
    ("sync with nothing new", [0, 0, 0, 0]),
    ("read one state event", [9, 0, 0, 0]),
];

/// How many times everyday requests go down the tree at most, from its root to an entry: to read and, with what they
/// change, to write. Each time costs its height in nodes.
const PATHS: [(&str, [u64; 2]); 4] =
    [("send", [0, 0]), ("join", [1, 1]), ("sync after a message", [0, 0]), ("read one state event", [1, 0])];

/// No events in memory: every row that a request needs is counted.
const CONFIG: &str = "[server]\nname = \"agency.test\"\n[store]\nevent_cache_mb = 0";

impl House {
    async fn new(members: usize) -> Self {
        let engine = Counting::new(engine(Options::default()));
        let count = engine.count();
        let server = open_with(Arc::new(engine), CONFIG).await.expect("the server starts");
        let alice = user("alice");
        let creation = Creation { preset: Preset::PublicChat, name: Some("Hall".into()), ..creation(&alice) };
        let room = server.rooms.create(creation).await.expect("a plain room can be created");
        big_room::fill(&server.base, &room, members).await;
        Self { server, count, room, alice }
    }

    async fn submit(&self, intent: impl Intent) -> String {
        let sent = self.server.rooms.submit(&self.room, intent).await.expect("allowed");
        sent.event_id.to_string()
    }

    async fn say(&self, sender: &UserId, body: &str) -> String {
        let content = object(json!({ "body": body, "m.mentions": { "user_ids": [member(7)] } }));
        let (sender, kind) = (sender.to_owned(), "m.room.message".into());
        self.submit(Message { sender, kind, content, transaction: None }).await
    }

    async fn set(&self, kind: StateEventType, content: Value) -> String {
        let (sender, state_key) = (self.alice.clone(), String::new());
        self.submit(State { sender, kind, state_key, content: object(content) }).await
    }

    async fn change(&self, actor: &UserId, target: &UserId, action: Action) -> String {
        let (actor, target) = (actor.to_owned(), target.to_owned());
        self.submit(Change { actor, target, action, content: object(json!({})) }).await
    }

    async fn view(&self) -> RoomView {
        self.server.rooms.find(&self.room).await.expect("read").expect("the room exists")
    }

    async fn sync(&self, client: &mut Request) -> v3::Response {
        let answer = self.server.syncs.sync(client).await.expect("an answer");
        client.since = Some(answer.next_batch.clone());
        answer
    }

    async fn cost<T>(&self, work: impl Future<Output = T>) -> (T, Cost) {
        self.count.reset();
        let done = work.await;
        (done, Cost { counts: self.count.snapshot(), tables: self.count.by_first_byte() })
    }
}

fn client(user: &UserId, filter: Value) -> Request {
    Request {
        user: user.to_owned(),
        device: "PHONE".into(),
        filter: serde_json::from_value::<FilterDefinition>(filter).expect("a filter"),
        since: None,
        full_state: false,
        timeout: Duration::ZERO,
        use_state_after: false,
        set_presence: PresenceState::Offline,
    }
}

fn section<'a>(answer: &'a v3::Response, room: &RoomId) -> &'a v3::JoinedRoom {
    answer.rooms.join.get(room).expect("the room is in the answer")
}

/// What everyday requests cost in a room with so many members besides its creator.
async fn bill(members: usize) -> Bill {
    let house = House::new(members).await;
    let (alice, carol, dave) = (&house.alice.clone(), &user("carol"), &user("dave"));
    let watcher = &member(3);
    let mut costs = Vec::new();

    let (_, cost) = house.cost(house.say(alice, "first")).await;
    costs.push(("send to a room that is not in memory", cost));
    let (target, cost) = house.cost(house.say(alice, "second")).await;
    costs.push(("send", cost));
    let (_, cost) = house.cost(house.set(StateEventType::RoomTopic, json!({ "topic": "t" }))).await;
    costs.push(("set state", cost));

    // Small rooms have as long a history as large ones.
    for n in 0..70 {
        house.say(alice, &n.to_string()).await;
    }
    let ((), cost) = house.cost(page(&house, watcher)).await;
    costs.push(("page of ten messages", cost));
    let lazy = json!({ "room": { "state": { "lazy_load_members": true } } });
    let mut client = client(watcher, lazy);
    let (answer, cost) = house.cost(house.sync(&mut client)).await;
    assert!(section(&answer, &house.room).timeline.limited);
    costs.push(("first sync, lazy", cost));
    house.say(alice, "third").await;
    let (answer, cost) = house.cost(house.sync(&mut client)).await;
    assert_eq!(section(&answer, &house.room).timeline.events.len(), 1);
    costs.push(("sync after a message", cost));
    let (answer, cost) = house.cost(house.sync(&mut client)).await;
    assert!(answer.rooms.join.is_empty());
    costs.push(("sync with nothing new", cost));

    passing(&house, &mut client, &mut costs).await;

    let (_, cost) = house.cost(house.change(carol, carol, Action::Join)).await;
    costs.push(("join", cost));
    let (answer, cost) = house.cost(house.sync(&mut client)).await;
    assert_eq!(section(&answer, &house.room).timeline.events.len(), 1);
    costs.push(("sync after a join", cost));
    for n in 0..30 {
        house.say(carol, &n.to_string()).await;
    }
    house.set(StateEventType::RoomTopic, json!({ "topic": "u" })).await;
    let (answer, cost) = house.cost(house.sync(&mut client)).await;
    assert!(section(&answer, &house.room).timeline.limited);
    costs.push(("limited sync", cost));
    let mut other = client_without_laziness(watcher, &client);
    house.say(alice, "fourth").await;
    let (answer, cost) = house.cost(house.sync(&mut other)).await;
    assert_eq!(section(&answer, &house.room).timeline.events.len(), 1);
    costs.push(("sync after a message, not lazy, to a new session", cost));

    let (_, cost) = house.cost(house.change(alice, dave, Action::Invite)).await;
    costs.push(("invite", cost));
    let (_, cost) = house.cost(house.change(alice, &member(5), Action::Ban)).await;
    costs.push(("ban", cost));
    let (_, cost) = house.cost(house.change(carol, carol, Action::Leave)).await;
    costs.push(("leave", cost));
    let redaction =
        Redaction { sender: alice.clone(), target: target.try_into().unwrap(), reason: None, transaction: None };
    let (target, cost) = house.cost(house.submit(redaction)).await;
    costs.push(("redact", cost));

    house.sync(&mut client).await;
    house.set(StateEventType::RoomName, json!({ "name": "" })).await;
    let (answer, cost) = house.cost(house.sync(&mut client)).await;
    assert_eq!(section(&answer, &house.room).summary.heroes.len(), 5);
    costs.push(("sync of a room that lost its name", cost));
    restrict_to(&house, json!({ "invite": 0 })).await;
    let (_, cost) = house.cost(house.change(carol, carol, Action::Join)).await;
    costs.push(("restricted join", cost));

    let ((), cost) = house.cost(read_state(&house, watcher, "m.room.topic", "")).await;
    costs.push(("read one state event", cost));
    let ((), cost) = house.cost(read_state(&house, watcher, "m.room.member", member(members - 1).as_str())).await;
    costs.push(("read one member", cost));
    let ((), cost) = house.cost(page(&house, watcher)).await;
    costs.push(("messages", cost));
    let ((), cost) = house.cost(context(&house, watcher, &target)).await;
    costs.push(("context", cost));

    whole_room(&house, watcher, members).await;
    let height = u64::from(house.view().await.root().height);
    Bill { members, height, costs }
}

/// A receipt, somebody typing, and what another member is told of them.
async fn passing(house: &House, client: &mut Request, costs: &mut Vec<(&'static str, Cost)>) {
    let (alice, reader) = (&house.alice, &member(4));
    for kind in ["receipt", "receipt in a thread"] {
        let root = house.say(alice, "root").await;
        let thread = json!({ "rel_type": "m.thread", "event_id": root });
        let content = object(json!({ "body": "in a thread", "m.relates_to": thread }));
        let (sender, kind_of_event) = (alice.clone(), "m.room.message".into());
        let said = house.submit(Message { sender, kind: kind_of_event, content, transaction: None }).await;
        house.sync(client).await;
        let root: OwnedEventId = root.try_into().expect("an event id");
        let thread = if kind == "receipt" { Thread::None } else { Thread::Of(root) };
        let read = Read { public: Some(said.try_into().expect("an event id")), thread, ..Read::default() };
        let (done, cost) = house.cost(house.server.receipts.read(reader, &house.room, &read)).await;
        done.expect("a member reads");
        costs.push((kind, cost));
        let (answer, cost) = house.cost(house.sync(client)).await;
        assert_eq!(section(&answer, &house.room).ephemeral.events.len(), 1);
        costs.push(("sync after a receipt", cost));
    }
    let minute = Some(Duration::from_mins(1));
    let (done, cost) = house.cost(house.server.typing.set(reader, &house.room, minute)).await;
    done.expect("a member types");
    costs.push(("typing", cost));
    let (answer, cost) = house.cost(house.sync(client)).await;
    assert_eq!(section(&answer, &house.room).ephemeral.events.len(), 1);
    costs.push(("sync after typing", cost));
    let online = PresenceState::Online;
    let (done, cost) = house.cost(house.server.presence.set(reader, &online, None)).await;
    done.expect("a user is online");
    costs.push(("presence", cost));
    let (answer, cost) = house.cost(house.sync(client)).await;
    assert_eq!(answer.presence.events.len(), 1);
    costs.push(("sync after a presence", cost));
}

/// The room takes members of another, for whom somebody has to vouch by these levels; its creator leaves.
async fn restrict_to(house: &House, levels: Value) {
    let (alice, carol) = (&house.alice, &user("carol"));
    let hall = Creation { preset: Preset::PublicChat, ..creation(carol) };
    let hall = house.server.rooms.create(hall).await.expect("a plain room can be created");
    let allow = json!({ "join_rule": "restricted", "allow": [{ "type": "m.room_membership", "room_id": hall }] });
    house.set(StateEventType::RoomJoinRules, allow).await;
    house.set(StateEventType::RoomPowerLevels, levels).await;
    house.change(alice, alice, Action::Leave).await;
}

/// Another device of the same user, with the same token and without lazy loading.
fn client_without_laziness(user: &UserId, known: &Request) -> Request {
    Request { device: "LAPTOP".into(), since: known.since.clone(), ..client(user, json!({})) }
}

async fn viewer<'a>(view: &'a RoomView, house: &House, user: &UserId) -> Viewer<'a> {
    Viewer::new(view, user.to_owned(), None, house.server.base.now()).await.expect("read")
}

async fn read_state(house: &House, user: &UserId, kind: &str, key: &str) {
    let view = house.view().await;
    viewer(&view, house, user).await.state_event(kind, key).await.expect("there is one");
}

async fn page(house: &House, user: &UserId) {
    let view = house.view().await;
    let filter: RoomEventFilter = serde_json::from_value(json!({ "lazy_load_members": true })).expect("a filter");
    let query = PageQuery { from: None, to: None, backwards: true, limit: 10, filter: &filter };
    let page = viewer(&view, house, user).await.page(&query).await.expect("a page");
    assert_eq!(page.events.len(), 10);
}

async fn context(house: &House, user: &UserId, event: &str) {
    let view = house.view().await;
    let filter: RoomEventFilter = serde_json::from_value(json!({ "lazy_load_members": true })).expect("a filter");
    let event = event.try_into().expect("an event id");
    viewer(&view, house, user).await.context(event, 10, &filter).await.expect("an event");
}

/// What does grow with the room works in a large one as well.
async fn whole_room(house: &House, user: &UserId, members: usize) {
    let view = house.view().await;
    let mut viewer = viewer(&view, house, user).await;
    // One was banned, one came, the creator left.
    assert_eq!(viewer.joined().await.expect("the members").len(), members);
    let banned = viewer.members(None, Some(&MembershipState::Ban), None).await.expect("the members");
    assert_eq!(banned.len(), 1);
}

impl Cost {
    fn nodes(&self) -> Rows {
        self.tables.get(&NODE.number).copied().unwrap_or_default()
    }

    /// Everything but nodes of the tree: must not depend on the size of the room.
    fn flat(&self) -> (Vec<(u8, Rows)>, u64, u64) {
        let others = self.tables.iter().filter(|(table, _)| **table != NODE.number);
        (others.map(|(table, rows)| (*table, *rows)).collect(), self.counts.scans, self.counts.commits)
    }
}

impl Bill {
    /// Says which everyday request costs more than it may.
    fn above_ceilings(&self) -> String {
        let mut said = String::new();
        for (name, most) in CEILINGS {
            let costs = self.costs.iter().filter(|(other, _)| *other == name);
            let costs =
                costs.map(|(_, Cost { counts, .. })| [counts.gets, counts.scans, counts.rows_written, counts.commits]);
            let mut known = false;
            for cost in costs {
                known = true;
                if cost.iter().zip(most).any(|(cost, most)| *cost > most) {
                    let _ = writeln!(said, "{name}: {cost:?} instead of {most:?}");
                }
            }
            assert!(known, "nothing is called {name}");
        }
        said
    }

    /// Says which everyday request goes down the tree more often than it may.
    fn beyond_paths(&self) -> String {
        let mut said = String::new();
        for (name, [read, written]) in PATHS {
            let mut known = false;
            for (_, cost) in self.costs.iter().filter(|(other, _)| *other == name) {
                known = true;
                let nodes = cost.nodes();
                if nodes.gets > read * self.height || nodes.written > written * self.height {
                    let _ = writeln!(said, "{name}: {nodes:?} at height {}", self.height);
                }
            }
            assert!(known, "nothing is called {name}");
        }
        said
    }

    /// Says where this room costs more than a small one.
    fn compare(&self, small: &Self) -> String {
        let mut said = String::new();
        for ((name, cost), (_, least)) in self.costs.iter().zip(&small.costs) {
            if cost.flat() != least.flat() {
                let _ = writeln!(said, "{name}: {:?}\n  with {}: {:?}", cost.flat(), small.members, least.flat());
            }
            // Of a small tree the path may be in memory, where a large one reads it.
            let most = |rows: u64| (rows * self.height).div_ceil(small.height) + self.height;
            let (nodes, few) = (cost.nodes(), least.nodes());
            if nodes.read > most(few.read) || nodes.gets > most(few.gets) || nodes.written > most(few.written) {
                let _ =
                    writeln!(said, "{name}: nodes {nodes:?} at height {}, {few:?} at {}", self.height, small.height);
            }
        }
        said
    }
}

#[tokio::test]
async fn requests_cost_the_same_in_rooms_of_ten_a_thousand_and_fifty_thousand() {
    let small = Box::pin(bill(10)).await;
    let above = small.above_ceilings();
    assert!(above.is_empty(), "keys, scans, rows written, commits:\n{above}");
    let beyond = small.beyond_paths();
    assert!(beyond.is_empty(), "with {} members:\n{beyond}", small.members);
    for members in [1000, 50_000] {
        let large = Box::pin(bill(members)).await;
        let differs = large.compare(&small);
        assert!(differs.is_empty(), "with {members} members:\n{differs}");
        let beyond = large.beyond_paths();
        assert!(beyond.is_empty(), "with {members} members:\n{beyond}");
    }
}

#[tokio::test]
async fn the_one_who_may_vouch_is_found_among_many() {
    let house = House::new(1100).await;
    let (alice, carol, zoe) = (&house.alice, &user("carol"), &user("zoe"));
    house.change(zoe, zoe, Action::Join).await;
    restrict_to(&house, json!({ "users": { zoe: 50 }, "invite": 50 })).await;
    let join = house.change(carol, carol, Action::Join).await;
    let view = house.view().await;
    let event = viewer(&view, &house, carol).await.event((*join).try_into().unwrap()).await.unwrap();
    assert!(event.pdu.content().get().contains(r#""join_authorised_via_users_server":"@zoe:agency.test""#));
    assert!(!view.is_joined(alice).await.unwrap());
}
