//! What a count reads where a client says of each thread that it was read, and never of the room.

use depesche_store::{
    Options,
    counting::{Count as Figures, Counting, Counts},
};

use super::*;
use crate::testing::engine;

/// A room with threads, of which Bob has read every second one.
struct House {
    course: Course,
    figures: Arc<Figures>,
    roots: Vec<OwnedEventId>,
}

impl House {
    async fn new(threads: usize) -> Self {
        let counting = Counting::new(engine(Options::default()));
        let figures = counting.count();
        let course = Course { counter: Counter::default(), ..Course::on(Fixture::forgetful(Arc::new(counting))).await };
        let mut house = Self { course, figures, roots: Vec::new() };
        for n in 0..threads {
            let root = house.course.server.say(&house.course.room, &user("alice"), "root").await;
            let reply = house.reply(&root, false).await;
            house.read(root.clone(), Thread::Main).await;
            if n % 2 == 0 {
                house.read(reply, Thread::Of(root.clone())).await;
            }
            house.roots.push(root);
        }
        house
    }

    /// Alice says something in a thread.
    async fn reply(&self, root: &OwnedEventId, names_bob: bool) -> OwnedEventId {
        let relates_to = json!({ "rel_type": "m.thread", "event_id": root });
        let mut content = json!({ "msgtype": "m.text", "body": "reply", "m.relates_to": relates_to });
        if names_bob {
            content["m.mentions"] = json!({ "user_ids": [user("bob")] });
        }
        self.course.server.send(&self.course.room, &user("alice"), "m.room.message", content).await
    }

    async fn read(&self, event: OwnedEventId, thread: Thread) {
        let read = Read { public: Some(event), thread, ..Read::default() };
        self.course.receipts.read(&user("bob"), &self.course.room, &read).await.expect("bob reads");
    }

    /// What the next count reads. It is the one that is made anew.
    async fn cost(&self) -> (Unread, Counts) {
        let before = self.figures.snapshot();
        let unread = self.course.counted(&self.course.counter).await;
        let cost = self.figures.snapshot() - before;
        assert_eq!(unread, self.course.counted(&Counter::default()).await);
        (unread, cost)
    }
}

/// What counts read in a room with so many threads, one after the other, and how many threads have something unread.
async fn bill(threads: usize) -> (Vec<(&'static str, Counts)>, usize) {
    let house = House::new(threads).await;
    let [read, unread] = [&house.roots[0], &house.roots[1]];
    house.cost().await;
    let mut bill = vec![("nothing new", house.cost().await.1)];
    let first = house.reply(read, true).await;
    bill.push(("a reply in a thread that was read", house.cost().await.1));
    house.reply(unread, false).await;
    bill.push(("a reply in one that was not", house.cost().await.1));
    house.course.server.redact(&house.course.room, &user("alice"), &first).await;
    bill.push(("a redaction", house.cost().await.1));
    let last = house.reply(unread, true).await;
    house.read(last, Thread::Of(unread.clone())).await;
    bill.push(("a receipt in a thread", house.cost().await.1));
    let notice = json!({ "msgtype": "m.notice", "body": "own", "m.relates_to": {
        "rel_type": "m.thread", "event_id": house.roots[3],
    } });
    house.course.server.send(&house.course.room, &user("bob"), "m.room.message", notice).await;
    bill.push(("a notice of one's own in a thread", house.cost().await.1));
    house.course.server.say(&house.course.room, &user("alice"), "main").await;
    let (counted, cost) = house.cost().await;
    bill.push(("a message in the main timeline", cost));
    assert_eq!(counted.main, Count { notifications: 1, highlights: 0 });
    (bill, counted.threads.len())
}

#[tokio::test]
async fn a_count_costs_what_came_and_not_the_threads_of_the_room() {
    let (few, some) = bill(20).await;
    let (many, most) = bill(200).await;
    // Every second one, but for the two that were read on the way.
    assert_eq!((some, most), (8, 98));
    for ((what, few), (_, many)) in few.iter().zip(&many) {
        assert_eq!((few.gets, few.scans, few.rows_read), (many.gets, many.scans, many.rows_read), "{what}");
        assert!(many.gets + many.rows_read < 60 && many.scans <= 8, "{what}: {many:?}");
    }
}

#[tokio::test]
async fn a_count_by_ones_own_rules_does_not_look_at_each_thread_either() {
    let cost = async |threads: usize| {
        let house = House::new(threads).await;
        house.course.set_rules(&equivalent()).await;
        house.cost().await;
        house.reply(&house.roots[1], true).await;
        house.cost().await.1
    };
    let (few, many) = (cost(20).await, cost(200).await);
    assert_eq!(few.gets, many.gets);
    // The timeline is read in steps of a hundred.
    assert!(many.rows_read < few.rows_read + 100, "{few:?} {many:?}");
}

#[tokio::test]
async fn where_too_much_came_the_count_begins_anew() {
    let house = House::new(20).await;
    house.cost().await;
    for _ in 0..300 {
        house.course.server.send(&house.course.room, &user("bob"), "m.reaction", json!({})).await;
    }
    house.reply(&house.roots[1], true).await;
    let (unread, cost) = house.cost().await;
    assert_eq!(unread.total(), Count { notifications: 11, highlights: 1 });
    assert!(cost.gets > 40, "the threads are looked at: {cost:?}");
}
