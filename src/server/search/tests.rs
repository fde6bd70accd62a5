//! The index and its readers on the engine of the tests.

use std::{collections::BTreeSet, sync::LazyLock};

use depesche_rules::bounds::MAX_SEARCH_CONTEXT_BYTES;
use depesche_store::{Options, counting::Counting};
use ruma::{
    OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId, api::client::filter::RoomEventFilter, device_id,
    events::StateEventType,
};
use serde_json::{Value, json};

use super::*;
use crate::{
    keyspace::{EVENT, EVENT_NO, FOLLOWED, INDEXED, META, POSTING, RoomNo},
    records::search::{Followed, Indexed},
    rooms::{membership::Action, stay::MEMBERSHIPS},
    testing::{Fixture, engine, user},
    tx::View,
};

/// The filter that lets all pass.
static ALL: LazyLock<RoomEventFilter> = LazyLock::new(RoomEventFilter::default);

/// Two people in a public room of a server.
struct House {
    server: Fixture,
    searches: Searches,
    alice: OwnedUserId,
    bob: OwnedUserId,
    room: OwnedRoomId,
}

impl House {
    async fn new() -> Self {
        Self::on(Fixture::new()).await
    }

    async fn on(server: Fixture) -> Self {
        let (alice, bob) = (user("alice"), user("bob"));
        let room = server.public_room(&alice).await;
        server.join(&room, &bob).await;
        Self { searches: Searches::new(Arc::clone(&server.base)), server, alice, bob, room }
    }

    async fn say(&self, body: &str) -> OwnedEventId {
        self.server.say(&self.room, &self.alice, body).await
    }

    /// What somebody finds, newest first.
    async fn found(&self, who: &UserId, term: &str) -> Vec<OwnedEventId> {
        ids(&self.page(who, term, |_| {}).await)
    }

    /// A page, with changes to the usual question.
    async fn page<'a>(&self, who: &'a UserId, term: &'a str, change: impl FnOnce(&mut Query<'a>)) -> Found {
        let mut query = query(who, term, &ALL);
        change(&mut query);
        self.searches.search(&query).await.unwrap()
    }

    /// The same pages until there is no next one.
    async fn pages(&self, who: &UserId, term: &str, change: impl Fn(&mut Query<'_>)) -> Vec<Vec<OwnedEventId>> {
        let (mut pages, mut from) = (Vec::new(), None::<String>);
        loop {
            let mut query = query(who, term, &ALL);
            change(&mut query);
            query.from = from.as_deref();
            let page = self.searches.search(&query).await.unwrap();
            pages.push(ids(&page));
            assert!(pages.len() < 100, "there is no end");
            match page.next {
                Some(next) => from = Some(next.to_string()),
                None => return pages,
            }
        }
    }

    fn view(&self) -> View {
        self.server.base.view()
    }

    async fn room_no(&self) -> RoomNo {
        self.server.rooms.find(&self.room).await.unwrap().unwrap().no
    }

    /// The rows of the index: word and events.
    async fn rows(&self) -> Vec<(String, Vec<u32>)> {
        let rows = self.view().scan(&POSTING, POSTING.under(&()), 10_000).await.unwrap();
        rows.into_iter().map(|((_, _, word, _), posting)| (word, posting.events())).collect()
    }

    async fn indexed(&self) -> Option<Indexed> {
        self.view().get(&INDEXED, &(self.room_no().await,)).await.unwrap()
    }

    async fn followed(&self) -> Option<Followed> {
        self.view().get(&FOLLOWED, &(0,)).await.unwrap()
    }

    /// The walk to its end, and how many steps it had.
    async fn walk(&self) -> usize {
        let mut steps = 1;
        while self.searches.index.walk().await.unwrap().is_some() {
            steps += 1;
            assert!(steps < 1000, "the walk has no end");
        }
        steps
    }
}

fn query<'a>(who: &'a UserId, term: &'a str, filter: &'a RoomEventFilter) -> Query<'a> {
    Query {
        user: who,
        device: device_id!("PHONE"),
        term,
        parts: Part::ALL.into(),
        filter,
        by_rank: false,
        limit: 100,
        context: None,
        state: false,
        from: None,
    }
}

fn ids(found: &Found) -> Vec<OwnedEventId> {
    found.results.iter().map(|hit| hit.id.clone()).collect()
}

fn filter(json: Value) -> RoomEventFilter {
    serde_json::from_value(json).unwrap()
}

fn body(hit: &Hit) -> Value {
    serde_json::from_str::<Value>(hit.event.get()).unwrap()["content"]["body"].clone()
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_the_index_of_nothing_else() {
    let house = House::new().await;
    let other = house.server.public_room(&house.alice).await;
    let broken = house.say("a broken kettle").await;
    let place = house.view().get(&EVENT_NO, &(broken,)).await.unwrap().unwrap();
    let tx = house.server.base.tx();
    tx.put_stored(META.key(&place), "nonsense".into());
    house.server.base.commit(&tx).await.unwrap();
    let whole = house.server.say(&other, &house.alice, "a whole kettle").await;
    assert_eq!(house.found(&house.alice, "kettle").await, std::slice::from_ref(&whole));
    let later = house.say("another kettle").await;
    let found: BTreeSet<_> = house.found(&house.alice, "kettle").await.into_iter().collect();
    assert_eq!(found, BTreeSet::from([whole, later]));
}

#[tokio::test]
async fn what_was_said_is_found_by_all_of_its_words() {
    let house = House::new().await;
    let one = house.say("The quick brown Fox").await;
    let two = house.say("a slow brown dog; a brown dog").await;
    let three = house.say("brown").await;
    assert_eq!(house.found(&house.bob, "BROWN").await, [&*three, &*two, &*one]);
    assert_eq!(house.found(&house.bob, "dog, brown!").await, [&*two]);
    assert_eq!(house.found(&house.bob, "brown fox").await, [&*one]);
    for nothing in ["brown cat", "bro", "", " ... ", "fox dog"] {
        assert_eq!(house.found(&house.bob, nothing).await, [] as [OwnedEventId; 0], "{nothing}");
    }
    let found = house.page(&house.bob, "Brown dog brown", |_| {}).await;
    assert_eq!((found.count, found.words), (1, vec!["brown".to_owned(), "dog".to_owned()]));
    assert_eq!(body(&found.results[0]), "a slow brown dog; a brown dog");
    let by_rank = house.page(&house.bob, "brown", |query| query.by_rank = true).await;
    assert_eq!(ids(&by_rank), [&*three, &*two, &*one]);
    let ranks: Vec<_> = by_rank.results.iter().map(|hit| format!("{:.2}", hit.rank)).collect();
    assert_eq!(ranks, ["1.00", "0.29", "0.25"], "1 of 1, 2 of 7, 1 of 4");
}

#[tokio::test]
async fn names_and_topics_are_found_and_each_where_it_is_asked_for() {
    let house = House::new().await;
    let set = async |kind, content| house.server.set(&house.room, &house.alice, kind, content).await;
    let name = set(StateEventType::RoomName, json!({ "name": "Harbour master" })).await;
    let topic = set(StateEventType::RoomTopic, json!({ "topic": "What the harbour says" })).await;
    let said = house.say("a harbour").await;
    assert_eq!(house.found(&house.bob, "harbour").await, [&*said, &*topic, &*name]);
    for (part, id) in [(Part::Body, &said), (Part::Name, &name), (Part::Topic, &topic)] {
        let found = house.page(&house.bob, "harbour", |query| query.parts = [part].into()).await;
        assert_eq!(ids(&found), [&**id], "{part:?}");
    }
    let found = house.page(&house.bob, "harbour", |query| query.parts = BTreeSet::new()).await;
    assert_eq!((found.results.len(), found.count), (0, 0));
}

#[tokio::test]
async fn many_events_share_a_row() {
    let house = House::new().await;
    let mut said = Vec::new();
    for n in 0..600 {
        said.insert(0, house.say(&format!("number{} of many", n % 3)).await);
    }
    let by_word = async |word: &str| house.rows().await.into_iter().filter(|(of, _)| of == word).count();
    assert_eq!(house.found(&house.bob, "many number2").await.len(), 100);
    assert!(by_word("many").await <= 4, "{}", by_word("many").await);
    let pages = house.pages(&house.bob, "many number2", |query| query.limit = 64).await;
    let expected: Vec<_> = said.iter().step_by(3).cloned().collect();
    assert_eq!(pages.concat(), expected);
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 64, 8]);
}

#[tokio::test]
async fn what_was_redacted_is_not_found_and_leaves_no_row() {
    let house = House::new().await;
    let (one, two) = (house.say("secret one").await, house.say("secret two").await);
    assert_eq!(house.found(&house.bob, "secret").await, [&*two, &*one]);
    house.server.redact(&house.room, &house.alice, &one).await;
    assert_eq!(house.found(&house.bob, "secret").await, [&*two]);
    let rows = house.rows().await;
    assert!(rows.iter().all(|(word, _)| word != "one"), "{rows:?}");
    assert_eq!(rows.iter().find(|(word, _)| word == "secret").map(|(_, events)| events.len()), Some(1));
    // Said and taken back before the index saw either.
    let three = house.say("secret three").await;
    house.server.redact(&house.room, &house.alice, &three).await;
    house.server.redact(&house.room, &house.alice, &two).await;
    assert_eq!(house.found(&house.bob, "secret").await, [] as [OwnedEventId; 0]);
    assert_eq!(house.rows().await, []);
}

#[tokio::test]
async fn an_edit_is_found_by_its_new_text() {
    let house = House::new().await;
    let said = house.say("a mistake").await;
    let edit = house.server.relate(&house.room, &house.alice, "m.replace", &said).await;
    assert_eq!(house.found(&house.bob, "new").await, [&*edit]);
    assert_eq!(house.found(&house.bob, "replace").await, [] as [OwnedEventId; 0]);
    assert_eq!(house.found(&house.bob, "mistake").await, [&*said]);
}

#[tokio::test]
async fn a_user_finds_what_they_may_read() {
    let house = House::new().await;
    let (room, alice, bob, carol) = (&house.room, &house.alice, &house.bob, &user("carol"));
    let early = house.say("word early").await;
    house.server.change(room, bob, bob, Action::Leave).await.unwrap();
    let late = house.say("word late").await;
    assert_eq!(house.found(alice, "word").await, [&*late, &*early]);
    assert_eq!(house.found(bob, "word").await, [&*early], "who left finds what was before");
    assert_eq!(house.found(carol, "word").await, [] as [OwnedEventId; 0], "who never was there finds nothing");
    let found = house.page(bob, "word", |_| {}).await;
    assert_eq!(found.count, 1, "what one may not see is not counted");
    house.server.rooms.forget(bob, room).await.unwrap();
    assert_eq!(house.found(bob, "word").await, [] as [OwnedEventId; 0], "who forgot the room finds nothing");
    let joined = json!({ "history_visibility": "joined" });
    house.server.set(room, alice, StateEventType::RoomHistoryVisibility, joined).await;
    let hidden = house.say("word hidden").await;
    house.server.join(room, carol).await;
    let seen = house.say("word seen").await;
    assert_eq!(house.found(carol, "word").await, [&*seen, &*late, &*early], "shared, then from the join on");
    assert_eq!(house.found(alice, "word").await, [&*seen, &*hidden, &*late, &*early]);
    house.server.ignore(carol, &[alice]).await;
    assert_eq!(house.found(carol, "word").await, [] as [OwnedEventId; 0], "nor what is said by whom one ignores");
}

#[tokio::test]
async fn an_encrypted_room_is_not_searched() {
    let house = House::new().await;
    house.say("in the clear").await;
    assert_eq!(house.found(&house.bob, "clear").await.len(), 1);
    let algorithm = json!({ "algorithm": "m.megolm.v1.aes-sha2" });
    house.server.set(&house.room, &house.alice, StateEventType::RoomEncryption, algorithm).await;
    house.say("still clear").await;
    assert_eq!(house.found(&house.bob, "clear").await, [] as [OwnedEventId; 0]);
    assert_eq!((house.rows().await, house.indexed().await), (vec![], None));
    house.say("again clear").await;
    let before = house.view().position();
    house.found(&house.bob, "clear").await;
    assert_eq!(house.view().position(), before, "it costs no write");
}

#[tokio::test]
async fn the_index_goes_on_after_a_restart() {
    let mut house = House::new().await;
    let one = house.say("word").await;
    assert_eq!(house.found(&house.bob, "word").await, [&*one]);
    let (rows, noted) = (house.rows().await, house.followed().await);
    assert!(noted.is_some_and(|noted| noted.position > 0 && noted.walk.is_none()), "{noted:?}");
    let two = house.say("word").await;
    house.searches = Searches::new(Arc::clone(&house.server.base));
    assert_eq!(house.found(&house.bob, "word").await, [&*two, &*one]);
    assert_eq!(house.rows().await.len(), rows.len() + 1, "what was indexed stays as it is");
}

#[tokio::test]
async fn a_database_without_an_index_gets_one_step_by_step() {
    let options = Options { keep_changes: 4, ..Options::default() };
    let house = House::on(Fixture::on(engine(options))).await;
    let mut said = Vec::new();
    for n in 0..700 {
        said.insert(0, house.say(if n % 100 == 0 { "rare word" } else { "common word" }).await);
    }
    // Its changes are not kept any more: the newest events are the first to be found.
    let late = house.say("rare late").await;
    assert_eq!(house.found(&house.bob, "rare").await, [] as [OwnedEventId; 0]);
    assert_eq!(house.followed().await.unwrap().walk, Some(0));
    let newest = house.say("rare newest").await;
    assert_eq!(house.found(&house.bob, "rare").await[..2], [newest.clone(), late.clone()]);
    assert!(house.indexed().await.unwrap().below > 0, "not the whole room at once");
    assert!(house.walk().await > 1, "a step is bounded");
    let mut expected = vec![newest, late];
    expected.extend(said.iter().rev().step_by(100).rev().cloned());
    assert_eq!(house.found(&house.bob, "rare").await, expected);
    assert_eq!((house.indexed().await.unwrap().below, house.followed().await.unwrap().walk), (0, None));
    assert_eq!(house.walk().await, 1, "and no further");
}

#[tokio::test]
async fn an_index_that_fell_behind_catches_up_by_a_walk() {
    let options = Options { keep_changes: 4, ..Options::default() };
    let mut house = House::on(Fixture::on(engine(options))).await;
    house.say("word one").await;
    house.found(&house.bob, "word").await;
    house.walk().await;
    for _ in 0..10 {
        house.say("word more").await;
    }
    let gone = house.say("word gone").await;
    house.server.redact(&house.room, &house.alice, &gone).await;
    house.searches = Searches::new(Arc::clone(&house.server.base));
    house.found(&house.bob, "word").await;
    house.walk().await;
    assert_eq!(house.found(&house.bob, "word").await.len(), 11);
    let mut events: Vec<_> =
        house.rows().await.into_iter().filter(|(word, _)| word == "word").flat_map(|(_, events)| events).collect();
    let all = events.len();
    events.dedup();
    assert_eq!((events.len(), all), (11, 11), "each event once");
}

#[tokio::test]
async fn results_of_several_rooms_come_in_the_order_of_their_time_or_rank() {
    let house = House::new().await;
    let other = house.server.public_room(&house.alice).await;
    house.server.join(&other, &house.bob).await;
    let mut said = Vec::new();
    for n in 0..20 {
        let room: &RoomId = if n % 2 == 0 { &house.room } else { &other };
        let filling = "x ".repeat(n % 5);
        said.insert(0, house.server.say(room, &house.alice, &format!("word {filling}")).await);
    }
    let pages = house.pages(&house.bob, "word", |query| query.limit = 3).await;
    assert_eq!(pages.concat(), said);
    let pages = house.pages(&house.bob, "word", |query| (query.limit, query.by_rank) = (3, true)).await;
    let mut ranked: Vec<_> = said.iter().enumerate().map(|(at, id)| ((19 - at) % 5, at, id.clone())).collect();
    ranked.sort();
    assert_eq!(pages.concat(), ranked.into_iter().map(|(.., id)| id).collect::<Vec<_>>());
    // In one room alone.
    let first = house.page(&house.bob, "word", |query| query.limit = 3).await;
    let within = first.next.unwrap().within(Group::Room(other.clone())).to_string();
    let rest = house.page(&house.bob, "word", |query| query.from = Some(&*within)).await;
    assert_eq!(ids(&rest), said[3..].iter().skip(1).step_by(2).cloned().collect::<Vec<_>>());
    assert!(rest.next.is_none());
    for rank in [false, true] {
        let all = house.page(&house.bob, "word", |query| (query.limit, query.by_rank) = (4, rank)).await;
        assert_eq!(all.count, 20);
        let token = all.next.unwrap().to_string();
        let second = house.page(&house.bob, "word", |query| {
            (query.limit, query.by_rank, query.from) = (4, rank, Some(&*token));
        });
        assert_eq!(second.await.count, 20);
    }
}

#[tokio::test]
async fn a_filter_says_which_events() {
    let house = House::new().await;
    let other = house.server.public_room(&house.alice).await;
    let mine = house.server.say(&house.room, &house.bob, "word").await;
    let hers = house.say("word").await;
    let there = house.server.say(&other, &house.alice, "word").await;
    let name = house.server.set(&house.room, &house.alice, StateEventType::RoomName, json!({ "name": "word" })).await;
    for (wanted, expected) in [
        (json!({}), vec![&name, &there, &hers, &mine]),
        (json!({ "rooms": [house.room, house.room, "!none:x"] }), vec![&name, &hers, &mine]),
        (json!({ "not_rooms": [house.room] }), vec![&there]),
        (json!({ "senders": [house.bob] }), vec![&mine]),
        (json!({ "not_senders": [house.alice] }), vec![&mine]),
        (json!({ "types": ["m.room.name"] }), vec![&name]),
        (json!({ "not_types": ["m.room.*"] }), vec![]),
        (json!({ "rooms": [] }), vec![]),
        (json!({ "contains_url": true }), vec![]),
    ] {
        let filter = filter(wanted.clone());
        let found = house.searches.search(&query(&house.alice, "word", &filter)).await.unwrap();
        assert_eq!(ids(&found).iter().collect::<Vec<_>>(), expected, "{wanted}");
    }
}

#[tokio::test]
async fn what_stands_around_a_result_and_the_state_of_its_room() {
    let house = House::new().await;
    let before = house.say("before").await;
    let word = house.say("word").await;
    let after = house.server.say(&house.room, &house.bob, "after").await;
    let wanted = Context { before: 1, after: 5, profiles: true };
    let found = house.page(&house.bob, "word", |query| (query.context, query.state) = (Some(wanted), true)).await;
    let around = found.results[0].context.as_ref().unwrap();
    let id = |event: &RawValue| serde_json::from_str::<Value>(event.get()).unwrap()["event_id"].clone();
    assert_eq!(around.before.iter().map(|event| id(event)).collect::<Vec<_>>(), [json!(before)]);
    assert_eq!(around.after.iter().map(|event| id(event)).collect::<Vec<_>>(), [json!(after)]);
    let profiles = around.profiles.as_ref().unwrap();
    assert_eq!(profiles.keys().collect::<Vec<_>>(), [&house.alice, &house.bob]);
    assert_eq!(ids(&found), [&*word]);
    assert_eq!(found.state.keys().collect::<Vec<_>>(), [&house.room]);
    assert!(found.state[&house.room].len() > 5);
    let plain = house.page(&house.bob, "word", |_| {}).await;
    assert!(plain.results[0].context.is_none() && plain.state.is_empty());
}

#[tokio::test]
async fn two_words_that_never_meet_cost_no_more_than_the_rarer_one() {
    let counting = Counting::new(engine(Options::default()));
    let count = counting.count();
    let house = House::on(Fixture::on(Arc::new(counting))).await;
    for n in 0..600 {
        house.say(if n == 300 { "needle alone" } else { "hay and more hay" }).await;
    }
    house.found(&house.bob, "hay").await;
    count.reset();
    assert_eq!(house.found(&house.bob, "needle hay").await, [] as [OwnedEventId; 0]);
    let scans = count.snapshot().scans;
    assert!(scans < 30, "{scans} scans");
}

#[tokio::test]
async fn what_lies_in_memory_is_indexed_without_being_read() {
    let counting = Counting::new(engine(Options::default()));
    let count = counting.count();
    let house = House::on(Fixture::on(Arc::new(counting))).await;
    house.searches.index.catch_up().await.unwrap();
    let said = house.say("So it goes").await;
    let gone = house.say("it is gone").await;
    house.server.redact(&house.room, &house.alice, &gone).await;
    count.reset();
    house.searches.index.catch_up().await.unwrap();
    let texts = count.by_first_byte().get(&EVENT.number).copied().unwrap_or_default();
    assert_eq!((texts.read, texts.gets), (0, 0));
    assert_eq!(house.found(&house.bob, "it").await, [said]);
}

#[tokio::test]
async fn the_worker_indexes_until_the_server_stops() {
    let house = House::new().await;
    house.say("word").await;
    tokio::time::pause();
    let index = Arc::clone(&house.searches.index);
    let worker = tokio::spawn(async move { index.run().await });
    let said = house.say("another word").await;
    let target = house.view().get(&EVENT_NO, &(said,)).await.unwrap().unwrap().1;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if house.indexed().await.is_some_and(|indexed| indexed.next > target) {
            break;
        }
    }
    assert!(house.indexed().await.is_some_and(|indexed| indexed.next > target));
    assert!(house.rows().await.iter().any(|(word, _)| word == "another"));
    house.server.stop.send_replace(true);
    worker.await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_search_says_so() {
    let mut config = depesche_config::Config::named(ruma::server_name!("agency.test"));
    config.search.enabled = false;
    let house = House::on(Fixture::configured(engine(Options::default()), config)).await;
    house.say("word").await;
    let refused = house.searches.search(&query(&house.bob, "word", &ALL)).await;
    assert!(matches!(refused, Err(SearchError::Off)));
    assert_eq!(house.rows().await, []);
}

#[tokio::test]
async fn a_token_that_is_none_is_refused() {
    let house = House::new().await;
    let wrong = Query { from: Some("nonsense"), ..query(&house.bob, "word", &ALL) };
    assert!(matches!(house.searches.search(&wrong).await, Err(SearchError::BadToken(_))));
}

#[tokio::test]
async fn a_page_ends_when_it_has_many_bytes() {
    let house = House::new().await;
    let mut said = Vec::new();
    for n in 0..60 {
        said.insert(0, house.say(&format!("word {n} {}", "x".repeat(30_000))).await);
    }
    let context = Context { before: 50, after: 50, profiles: false };
    for by_rank in [false, true] {
        let pages = house
            .pages(&house.bob, "word", |query| {
                query.by_rank = by_rank;
                query.context = Some(context);
            })
            .await;
        assert!(pages.len() > 2, "what stands around a result counts");
        assert!(pages.iter().all(|page| !page.is_empty()));
        let mut found = pages.concat();
        assert_eq!(found.len(), said.len());
        if by_rank {
            found.sort_unstable();
            said.sort_unstable();
        }
        assert_eq!(found, said, "and nothing is left out");
    }
}

#[tokio::test]
async fn what_stands_around_a_result_has_no_aggregations() {
    let house = House::new().await;
    let before = house.say("before").await;
    house.server.relate(&house.room, &house.alice, "m.replace", &before).await;
    house.say("word").await;
    let found = house
        .page(&house.bob, "word", |query| query.context = Some(Context { before: 5, after: 5, profiles: false }))
        .await;
    let around = found.results[0].context.as_ref().unwrap();
    let shown = around.before.iter().find(|event| event.get().contains(before.as_str())).unwrap();
    assert!(!shown.get().contains("m.relations"), "{shown}");
}

#[tokio::test]
async fn what_stands_around_a_result_ends_when_it_has_many_bytes() {
    let house = House::new().await;
    let long = "x".repeat(50_000);
    for _ in 0..10 {
        house.say(&long).await;
    }
    house.say("word").await;
    for _ in 0..10 {
        house.say(&long).await;
    }
    let wanted = Context { before: 50, after: 50, profiles: false };
    let found = house.page(&house.bob, "word", |query| query.context = Some(wanted)).await;
    let around = found.results[0].context.as_ref().unwrap();
    for side in [&around.before, &around.after] {
        let bytes: Vec<_> = side.iter().map(|event| event.get().len()).collect();
        let (sum, last) = (bytes.iter().sum::<usize>(), bytes.last().unwrap());
        assert!(sum - last < MAX_SEARCH_CONTEXT_BYTES && MAX_SEARCH_CONTEXT_BYTES <= sum, "{bytes:?}");
    }
}

#[tokio::test]
async fn who_was_sent_away_hundreds_of_times_finds_what_they_saw() {
    let house = House::new().await;
    let House { server, alice, bob, room, .. } = &house;
    for body in ["a needle", "another needle"] {
        house.say(body).await;
    }
    let other = server.public_room(alice).await;
    server.join(&other, bob).await;
    server.say(&other, alice, "a needle elsewhere").await;
    assert_eq!(house.found(bob, "needle").await.len(), 3);
    server.change(room, bob, bob, Action::Leave).await.unwrap();
    for _ in 0..=MEMBERSHIPS / 2 {
        server.change(room, alice, bob, Action::Invite).await.unwrap();
        server.change(room, bob, bob, Action::Leave).await.unwrap();
    }
    let found = house.page(bob, "needle", |query| query.state = true).await;
    assert_eq!(found.results.len(), 3);
    assert_eq!(found.state.keys().collect::<Vec<_>>(), [&other], "when that one is not known any more");
}
