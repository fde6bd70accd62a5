//! What needs a process of its own: to be killed, and to run out of disk.
//!
//! The test starts itself as the child. The child commits numbers in order and prints each one when it is answered; the
//! parent then opens what the child left behind and finds every printed number. A killed process keeps its page cache,
//! so that syncs happen at all is held elsewhere, by counting them.

use std::{
    env,
    io::{BufRead, BufReader, Write, stdout},
    path::Path,
    process::{Child, Command, Stdio},
};

use depesche_store::{Batch, CommitError, Engine, MAX_SCAN, Operation, Range};
use depesche_store_rocksdb::{RocksDb, RocksOptions};
use futures::{executor::block_on, future::join_all};

/// A child is killed after so many answers, in so many rounds.
const ANSWERS: usize = 200;
const ROUNDS: usize = 12;
/// Commits under way at a time.
const AT_ONCE: usize = 8;
/// The largest file of the child that is to run out of disk, in blocks of 512 bytes: the log outgrows it.
const BLOCKS: usize = 2048;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, "child-killed", directory] => commit_until_killed(Path::new(directory)),
        [_, "child-full", directory] => commit_until_full(Path::new(directory)),
        // Whatever a test runner asks of its own, there are these two.
        _ => {
            nothing_answered_is_lost_by_kills();
            println!("test nothing_answered_is_lost_by_kills ... ok");
            a_full_disk_stops_writes_only();
            println!("test a_full_disk_stops_writes_only ... ok");
            println!("\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        }
    }
}

fn nothing_answered_is_lost_by_kills() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut answered = Vec::new();
    for _ in 0..ROUNDS {
        let mut child = start(Command::new(this()).arg("child-killed").arg(directory.path()));
        let before = answered.len();
        let mut lines = lines(&mut child);
        answered.extend(lines.by_ref().take(ANSWERS).map(|line| number(&line)));
        child.kill().expect("the child is killed");
        child.wait().expect("the child ends");
        // What was answered before the kill counts too, except a line that was cut.
        answered.extend(lines.filter_map(|line| line.strip_suffix('.')?.parse::<u64>().ok()));
        assert!(answered.len() >= before + ANSWERS, "the child ended early");
    }
    let engine = open(directory.path(), 64 << 10);
    let rows = numbers(&engine);
    for number in answered {
        assert!(rows.binary_search(&number).is_ok(), "{number} was answered and is lost");
    }
}

fn a_full_disk_stops_writes_only() {
    let directory = tempfile::tempdir().expect("a directory");
    // A limit on the size of files stands for a full disk: it needs no rights. Its signal must not kill the child.
    let limited = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" child-full \"$1\"");
    let mut child = start(Command::new("sh").arg("-c").arg(limited).arg(this()).arg(directory.path()));
    let answered: Vec<u64> = lines(&mut child).map(|line| number(&line)).collect();
    assert!(child.wait().expect("the child ends").success(), "the child says above what was wrong");
    assert!(!answered.is_empty(), "nothing fitted");
    let engine = open(directory.path(), 8 << 20);
    assert_eq!(numbers(&engine), answered, "exactly what was answered is there after a restart");
    block_on(engine.commit(put(u64::MAX))).expect("and writes go on");
}

fn commit_until_killed(directory: &Path) {
    let engine = open(directory, 64 << 10);
    let first = numbers(&engine).last().map_or(0, |last| last + 1);
    for start in (first..).step_by(AT_ONCE) {
        let numbers = start..start + AT_ONCE as u64;
        let commits = numbers.clone().map(|number| engine.commit(put(number)));
        for (number, result) in numbers.zip(block_on(join_all(commits))) {
            result.expect("applied");
            say(number);
        }
    }
}

/// Fails as a process if reads do not go on, or if writes are answered otherwise than by [`CommitError::Failed`].
fn commit_until_full(directory: &Path) {
    let engine = open(directory, 8 << 20);
    let mut answered = Vec::new();
    let refused = loop {
        let number = answered.len() as u64;
        match block_on(engine.commit(put(number))) {
            Ok(_) => {
                say(number);
                answered.push(number);
            }
            Err(error) => break error,
        }
        assert!(answered.len() < 10_000, "the limit does not work");
    };
    assert!(matches!(&refused, CommitError::Failed(text) if text.contains("restart the server")), "{refused}");
    for number in 0..5 {
        assert!(matches!(block_on(engine.commit(put(u64::MAX - number))), Err(CommitError::Failed(_))));
        assert_eq!(numbers(&engine), answered, "what is read is what was answered");
    }
}

fn this() -> std::path::PathBuf {
    env::current_exe().expect("this program has a path")
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).spawn().expect("the child starts")
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).lines().map(|line| line.expect("the child's output is read"))
}

fn say(number: u64) {
    writeln!(stdout(), "{number}.").expect("the parent listens");
}

fn number(line: &str) -> u64 {
    line.strip_suffix('.').and_then(|number| number.parse().ok()).expect("a number")
}

fn open(directory: &Path, write_buffer_bytes: usize) -> RocksDb {
    let options = RocksOptions { write_buffer_bytes, cache_bytes: 1 << 20, ..RocksOptions::default() };
    RocksDb::open(directory, &options).expect("the database opens")
}

/// Two rows in each batch, to see halves.
fn put(number: u64) -> Batch {
    let mut batch = Batch::default();
    for table in [1, 2] {
        let key = [&[table], number.to_be_bytes().as_slice()].concat();
        batch.operations.insert(key.into(), Operation::Put(vec![table; 700].into(), vec![]));
    }
    batch
}

/// The numbers in the database, which has no half batches.
fn numbers(engine: &RocksDb) -> Vec<u64> {
    let snapshot = engine.snapshot();
    let [one, two] = [1, 2].map(|table| {
        let mut found: Vec<u64> = Vec::new();
        let mut range = Range::prefix(vec![table]);
        loop {
            let rows = block_on(snapshot.scan(range.clone(), false, MAX_SCAN)).expect("reads go on");
            let Some((last, _)) = rows.last() else { return found };
            range.from = [last, [0].as_slice()].concat().into();
            found.extend(rows.iter().map(|(key, _)| u64::from_be_bytes(key[1..].try_into().expect("eight bytes"))));
        }
    });
    assert_eq!(one, two, "half a batch");
    one
}
