//! Changes and watches: nobody misses a batch, nobody hears of one before it can be read.

use std::{
    sync::{Arc, Weak, mpsc},
    task::{Context, Wake, Waker},
    thread,
    time::Duration,
};

use super::{Database, batch, commit, get, open, options, run};
use crate::{Change, Changes, Engine, Options, Position, Topic};

const WRITES: u64 = 200;

async fn found(engine: &dyn Engine, after: Position, limit: usize) -> Vec<Change> {
    match engine.changes(after, limit).await.expect("changes") {
        Changes::Found(found) => found,
        Changes::Trimmed => panic!("trimmed"),
    }
}

/// Batches with topics in their order, above a position, up to a limit; batches without topics leave no change.
pub fn changes_in_order<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut expected = Vec::new();
        for number in 0..20u64 {
            let position = commit(&*engine, batch().put([1], [1]).topic(number).topic(u64::MAX)).await;
            expected.push(Change { position, topics: vec![Topic(number), Topic(u64::MAX)] });
            commit(&*engine, batch().put([1], [2])).await;
            let position = commit(&*engine, batch().put([0xF0], [2]).topic(7)).await;
            expected.push(Change { position, topics: vec![Topic(7)] });
        }
        assert_eq!(found(&*engine, Position(0), 1000).await, expected);
        assert_eq!(found(&*engine, Position(0), 3).await, expected[..3]);
        assert_eq!(found(&*engine, expected[4].position, 2).await, expected[5..7]);
        assert_eq!(found(&*engine, engine.snapshot().position(), 10).await, []);
        assert_eq!(found(&*engine, Position(u64::MAX), 10).await, []);
        assert_eq!(found(&*engine, Position(0), 0).await, []);
    });
}

/// At least as many changes are kept as asked; who asks for older ones is told so.
pub fn old_changes_are_trimmed<D: Database>() {
    let database = D::create(Options { keep_changes: 16, ..options() });
    let engine = database.engine();
    let mut positions = Vec::new();
    run(async {
        for number in 0..100 {
            let trimmed = engine.changes(Position(0), 1).await.expect("changes") == Changes::Trimmed;
            // When exactly is the engine's affair, within bounds.
            assert!(if trimmed { number > 16 } else { number < 32 }, "{number}");
            positions.push(commit(&*engine, batch().topic(number)).await);
        }
    });
    drop(engine);
    let database = database.reopen();
    let engine = database.engine();
    run(async {
        assert_eq!(engine.changes(Position(0), 1000).await.expect("changes"), Changes::Trimmed);
        assert_eq!(engine.changes(positions[70], 1000).await.expect("changes"), Changes::Trimmed);
        for kept in 83..100 {
            let changes = found(&*engine, positions[kept], 1000).await;
            assert!(changes.iter().map(|change| change.position).eq(positions[kept + 1..].iter().copied()));
        }
    });
}

/// Whoever a topic wakes finds the batch in the next snapshot.
pub fn topics_are_announced_when_visible<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut watch = engine.topics().watch();
        watch.add(Topic(1));
        let writer = tokio::spawn(write_some(Arc::clone(&engine)));
        let mut seen = Position(0);
        let mut last = 0;
        while last < WRITES {
            watch.wait(seen).await;
            assert_eq!(watch.changed_since(seen), [Topic(1)]);
            let snapshot = engine.snapshot();
            assert!(snapshot.position() > seen, "woken before the batch was visible");
            let now = number(snapshot.get(&[1]).await.expect("read").as_deref());
            assert!(now > last);
            (seen, last) = (snapshot.position(), now);
        }
        writer.await.expect("the writer");
    });
}

/// The order of `/sync`: register, then read, then wait for more. With many writers and readers none hangs.
pub fn a_watch_before_the_snapshot_misses_nothing<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let readers: Vec<_> = (0..8).map(|_| tokio::spawn(read_until_last(Arc::clone(&engine)))).collect();
        write_some(Arc::clone(&engine)).await;
        for reader in readers {
            reader.await.expect("a reader");
        }
    });
}

/// The order of a long poll that keeps its watch: what a snapshot shows, the watch has heard of.
pub fn what_a_snapshot_shows_was_announced<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let readers: Vec<_> = (0..3).map(|_| tokio::spawn(read_what_is_announced(Arc::clone(&engine)))).collect();
        write_some(Arc::clone(&engine)).await;
        for reader in readers {
            reader.await.expect("a reader");
        }
    });
}

async fn read_what_is_announced(engine: Arc<dyn Engine>) {
    let mut watch = engine.topics().watch();
    watch.add(Topic(1));
    let mut snapshot = engine.snapshot();
    let mut last = number(snapshot.get(&[1]).await.expect("read").as_deref());
    while last < WRITES {
        let newer = engine.snapshot();
        let heard = !watch.changed_since(snapshot.position()).is_empty();
        let now = number(newer.get(&[1]).await.expect("read").as_deref());
        assert!(heard || now == last, "visible before it was announced");
        (snapshot, last) = (newer, now);
        tokio::task::yield_now().await;
    }
}

async fn write_some(engine: Arc<dyn Engine>) {
    for number in 1..=WRITES {
        commit(&*engine, batch().put([1], number.to_be_bytes()).topic(1)).await;
    }
}

async fn read_until_last(engine: Arc<dyn Engine>) {
    loop {
        // A new watch each time, as a client that comes and goes has it.
        let mut watch = engine.topics().watch();
        watch.add(Topic(1));
        let snapshot = engine.snapshot();
        if number(snapshot.get(&[1]).await.expect("read").as_deref()) == WRITES {
            return;
        }
        watch.wait(snapshot.position()).await;
    }
}

fn number(value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| u64::from_be_bytes(value.try_into().expect("eight bytes")))
}

/// Takes a snapshot in the moment in which it is woken.
struct Asker {
    /// Not the last to hold it: an engine does not end in the thread that wakes.
    engine: Weak<dyn Engine>,
    answers: mpsc::Sender<Option<Position>>,
}

impl Wake for Asker {
    fn wake(self: Arc<Self>) {
        let (tell, told) = mpsc::channel();
        let engine = Weak::clone(&self.engine);
        let asks = thread::spawn(move || {
            let _ = tell.send(engine.upgrade().expect("the test has it").snapshot().position());
        });
        let answer = told.recv_timeout(Duration::from_secs(10)).ok();
        if answer.is_some() {
            asks.join().expect("it has answered");
        }
        let _ = self.answers.send(answer);
    }
}

/// However many are woken, whoever wants a snapshot does not wait for that.
pub fn snapshots_do_not_wait_for_wake_ups<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut watch = engine.topics().watch();
        watch.add(Topic(1));
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Asker { engine: Arc::downgrade(&engine), answers: tell }));
        let mut sleeps = Box::pin(watch.wait(engine.snapshot().position()));
        assert!(sleeps.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let position = commit(&*engine, batch().topic(1)).await;
        assert_eq!(told.recv_timeout(Duration::from_mins(1)).expect("an answer"), Some(position));
    });
}

/// A watch knows which of its topics changed since a position, and hears nothing of others or of those taken off.
pub fn a_watch_tells_what_changed<D: Database>() {
    let (_database, engine) = open::<D>();
    run(async {
        let mut watch = engine.topics().watch();
        watch.add(Topic(1));
        watch.add(Topic(2));
        watch.add(Topic(3));
        let one = commit(&*engine, batch().topic(1)).await;
        let two = commit(&*engine, batch().topic(2).topic(9)).await;
        commit(&*engine, batch().put("quiet", "")).await;
        assert_eq!(watch.changed_since(Position(0)), [Topic(1), Topic(2)]);
        assert_eq!(watch.changed_since(one), [Topic(2)]);
        assert_eq!(watch.changed_since(two), []);
        watch.wait(one).await;
        watch.remove(Topic(2));
        assert!(watch.has(Topic(1)) && !watch.has(Topic(2)));
        commit(&*engine, batch().topic(2)).await;
        assert_eq!(watch.changed_since(Position(0)), [Topic(1)]);
        assert!(futures::future::poll_immediate(Box::pin(watch.wait(two))).await.is_none());
        assert_eq!(get(&*engine, "quiet").await.as_deref(), Some(&b""[..]));
    });
}
