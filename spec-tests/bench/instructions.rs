//! Instructions of our server for one operation, counted by callgrind: unlike time, the same on every machine.
//!
//! With a folder as its argument, the profiles stay there for `callgrind_annotate` and KCachegrind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use depesche_spec_tests::Target;
use depesche_spec_tests::client::encode;

use crate::contents::{Contents, NewRoom};
use crate::site::{Person, Site, next_batch};

/// Operations of each kind that are counted, after as many that are not.
const SENDS: usize = 100;
/// The same for whole pages.
const PAGES: usize = 10;
/// Messages in a page.
const PAGE: usize = 100;
/// First syncs, the rooms they tell of, and the messages in each.
const FIRST_SYNCS: usize = 3;
const ROOMS: usize = 100;
const MESSAGES: usize = 20;

/// Two people in a room with a page of messages; and two others in many rooms, the second of whom asks for a first
/// sync.
fn contents() -> Contents {
    let room = NewRoom::of(0..2).with_messages(2, PAGE);
    let others = NewRoom::of(2..4).with_messages(1, MESSAGES);
    Contents { accounts: 4, rooms: [vec![room], vec![others; ROOMS]].concat() }
}

/// Counts and prints.
pub async fn run(folder: Option<String>) -> Result<(), String> {
    let temporary = tempfile::tempdir().map_err(|error| error.to_string())?;
    let folder = folder.map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let pattern = format!("--callgrind-out-file={}/profile", folder.display());
    let under = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=no", &pattern];
    let mut site = Site::start("Depesche", Target::Depesche, &under.map(str::to_owned))?;
    site.fill(&[("instructions", contents())]).await?;
    let (mut people, room) = (site.people("instructions"), site.rooms("instructions")[0].clone());
    let [alice, bob, _, carol] = people.as_mut_slice() else { return Err("four people".to_owned()) };
    let counter = Counter { process: site.process(), folder };

    for _ in 0..SENDS {
        alice.say(&room).await;
    }
    counter.begin()?;
    for _ in 0..SENDS {
        alice.say(&room).await;
    }
    let send = counter.end("send")? / SENDS as u64;

    let since = deliveries(alice, bob, &room, None).await;
    counter.begin()?;
    let since = deliveries(alice, bob, &room, Some(since)).await;
    let both = counter.end("delivery")? / SENDS as u64;

    counter.begin()?;
    for _ in 0..SENDS {
        bob.sync(Some(&since), 0).await;
    }
    let nothing = counter.end("nothing-new")? / SENDS as u64;

    counter.begin()?;
    for _ in 0..PAGES {
        bob.wire.get(&format!("/_matrix/client/v3/rooms/{}/messages?dir=b&limit={PAGE}", encode(&room))).await;
    }
    let page = counter.end("page")? / PAGES as u64;

    carol.sync(None, 0).await;
    counter.begin()?;
    for _ in 0..FIRST_SYNCS {
        carol.sync(None, 0).await;
    }
    let room_told = counter.end("first-sync")? / (FIRST_SYNCS * ROOMS) as u64;

    println!("| instructions of the server | thousands |\n|---|---:|");
    for (what, count) in [
        ("a send", send),
        ("a delivery by `/sync`", both.saturating_sub(send)),
        ("a `/sync` with nothing new", nothing),
        ("a page of 100 messages", page),
        ("a room of 20 messages in a first `/sync`", room_told),
    ] {
        println!("| {what} | {} |", count / 1000);
    }
    Ok(())
}

/// Messages from one to the other, each fetched with a `/sync` of its own.
async fn deliveries(from: &mut Person<'_>, to: &mut Person<'_>, room: &str, since: Option<String>) -> String {
    let mut since = match since {
        Some(since) => since,
        None => next_batch(&to.sync(None, 0).await),
    };
    for _ in 0..SENDS {
        from.say(room).await;
        since = next_batch(&to.sync(Some(&since), 0).await);
    }
    since
}

/// callgrind in the server's process.
struct Counter {
    process: u32,
    folder: PathBuf,
}

impl Counter {
    fn begin(&self) -> Result<(), String> {
        self.control("--instr=on")?;
        self.control("--zero")
    }

    /// The instructions since the beginning. The profile gets this name.
    fn end(&self, name: &str) -> Result<u64, String> {
        self.control("--dump")?;
        self.control("--instr=off")?;
        let dump = newest(&self.folder).ok_or("callgrind left no profile")?;
        let text = fs::read_to_string(&dump).map_err(|error| error.to_string())?;
        let line = text.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
        let count = line.and_then(|line| line.trim().parse().ok()).ok_or("callgrind's profile has no sum")?;
        fs::rename(&dump, self.folder.join(format!("{name}.callgrind"))).map_err(|error| error.to_string())?;
        Ok(count)
    }

    fn control(&self, what: &str) -> Result<(), String> {
        let done = Command::new("callgrind_control").args([what, &self.process.to_string()]).output();
        let done = done.map_err(|error| format!("callgrind_control (of valgrind): {error}"))?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stdout).into_owned()) }
    }
}

/// The dump that was written last; they are numbered.
fn newest(folder: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let dumps =
        files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("profile.")));
    dumps.max()
}
