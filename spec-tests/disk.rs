//! A full disk: reads go on, writes are refused, and go on when there is room again. On our binary only.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use depesche_spec_tests::binary;
use depesche_spec_tests::prelude::*;
use depesche_spec_tests::server::Options;
use tokio::task::JoinSet;

const SEND: &str = "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}";
/// The size of the disk, and what is taken of it by something else.
const DISK_MB: usize = 64;
const BALLAST_MB: usize = 40;
/// The filler of a message: as much as an event may have, nearly.
const FILLER: usize = 50_000;
/// Those who send at the same time.
const SENDERS: usize = 6;
/// No answer of a server with a full disk may take longer.
const SOON: Duration = Duration::from_secs(20);
/// How long writes may take to go on once there is room.
const RECOVERY: Duration = Duration::from_secs(60);

/// Whether this process may mount a file system.
fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// A small file system in memory, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// None where mounting is not allowed, as in most containers.
    fn mount() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("depesche-disk-").tempdir().expect("a temporary directory");
        let size = format!("size={DISK_MB}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).status();
        mount.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

fn fill(path: &Path, megabytes: usize) {
    std::fs::write(path, vec![0_u8; megabytes << 20]).expect("there is room for the ballast");
}

/// Takes all there is, to the last byte.
fn fill_up(path: &Path) {
    let mut ballast = std::fs::File::create(path).expect("the ballast can be made");
    let piece = [0; 64 << 10];
    while ballast.write(&piece).is_ok_and(|written| written > 0) {}
}

/// Text that no compression makes small, another one for each number.
fn filler(number: usize) -> String {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ (number as u64 + 1);
    let mut text = String::with_capacity(FILLER + 16);
    while text.len() < FILLER {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let _ = write!(text, "{state:016x}");
    }
    text
}

/// One who sends message after message to a room of their own.
struct Sender {
    user: User,
    room: String,
    acknowledged: usize,
}

impl Sender {
    async fn send(&self, client: &Client) -> Answer {
        let n = self.acknowledged;
        let body = json!({ "msgtype": "m.text", "body": n.to_string(), "filler": filler(n) });
        client
            .with_token(self.user.token())
            .put(SEND, &[&self.room, "m.room.message", &format!("txn{n}")])
            .json(body)
            .await
    }

    /// Sends until a message is refused, which must be soon and in the right way; then it is tried a few times more.
    async fn send_until_refused(mut self, client: Client) -> Self {
        let mut refused = 0;
        while refused < 5 {
            let begun = Instant::now();
            let answer = self.send(&client).await;
            assert!(begun.elapsed() < SOON, "after {:?}: {answer}", begun.elapsed());
            if answer.status == 200 {
                self.acknowledged += 1;
                assert!(self.acknowledged < 20_000, "the disk does not become full");
                continue;
            }
            let wait = answer.header("retry-after").parse::<u32>();
            assert!(wait.is_ok_and(|seconds| seconds > 0), "a hint when to try again: {answer}");
            answer.error(503, "M_UNKNOWN");
            refused += 1;
        }
        self
    }

    /// What the room holds, oldest first.
    async fn found(&self, client: &Client) -> Vec<String> {
        let client = client.with_token(self.user.token());
        let (mut bodies, mut from) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("dir", "f"), ("limit", "100")];
            query.extend(from.as_deref().map(|from| ("from", from)));
            let page = client.get("/_matrix/client/v3/rooms/{roomId}/messages", &[&self.room]).query(&query).await.ok();
            let chunk = page["chunk"].as_array().expect("a chunk");
            bodies.extend(chunk.iter().filter_map(|event| event["content"]["body"].as_str()).map(str::to_owned));
            match page["end"].as_str() {
                Some(end) if !chunk.is_empty() => from = Some(end.to_owned()),
                _ => return bodies,
            }
        }
    }

    /// All that was acknowledged is there, in order, and at most the one that was refused besides.
    async fn check(&self, client: &Client, when: &str) {
        let found = self.found(client).await;
        let wanted: Vec<String> = (0..found.len()).map(|n| n.to_string()).collect();
        assert_eq!(found, wanted, "{when}");
        let beyond = found.len().checked_sub(self.acknowledged);
        assert!(beyond.is_some_and(|n| n <= 1), "{when}: {} acknowledged, {} found", self.acknowledged, found.len());
    }
}

/// Set where a test runs again in a namespace of its own.
const IN_NAMESPACE: &str = "DEPESCHE_TEST_IN_NAMESPACE";

/// Runs a test of this file again where everyone may mount: as root of namespaces of its own. False where the system
/// does not have that, as in most containers.
fn again_in_namespaces(test: &str) -> bool {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).env(IN_NAMESPACE, "1");
        command
    };
    let is_possible = || unshare().arg("true").output().is_ok_and(|output| output.status.success());
    if std::env::var_os(IN_NAMESPACE).is_some() || !is_possible() {
        return false;
    }
    let this = std::env::current_exe().expect("the tests are a program");
    let output = unshare().arg(this).args(["--exact", test, "--nocapture"]).output().expect("the tests run again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_reads_go_on_and_writes_are_refused_until_there_is_room_again() {
    let Some(disk) = is_root().then(SmallDisk::mount).flatten() else {
        let name = "on_a_full_disk_reads_go_on_and_writes_are_refused_until_there_is_room_again";
        if !again_in_namespaces(name) {
            // Not by `println`, which the tests keep to themselves.
            let said = format!("left out: {name} needs the right to mount a small disk\n");
            let _ = std::io::stderr().write_all(said.as_bytes());
        }
        return;
    };
    let data = disk.0.path().to_path_buf();
    let mut server = Server::start(Options { tiny_store: true, data_dir: Some(data.clone()), ..Options::default() });
    let mut senders = JoinSet::new();
    let mut syncer = None;
    for _ in 0..SENDERS {
        let user = server.user("sender").await;
        let room = user.create_room(json!({ "name": "Name", "topic": "Topic" })).await;
        if syncer.is_none() {
            let mut first = user.syncer();
            first.next().await;
            let body = json!({ "messages": { user.id.clone(): { user.device.clone(): { "n": 1 } } } });
            let path = "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}";
            user.put(path, &["org.example.x", "d"]).json(body).await.ok();
            first.until(|sync| sync["to_device"]["events"][0].is_object()).await;
            syncer = Some(first);
        }
        senders.spawn(Sender { user, room, acknowledged: 0 }.send_until_refused(server.client()));
    }
    // Most of the disk is taken by something else, while they send.
    fill(&data.join("ballast"), BALLAST_MB);
    let senders = senders.join_all().await;
    assert!(senders.iter().map(|sender| sender.acknowledged).sum::<usize>() > SENDERS, "nothing was sent at all");
    for sender in &senders {
        sender.check(&server.client(), "while the disk is full").await;
    }
    // Files wait as well.
    let upload = server.client().with_token(senders[0].user.token()).post("/_matrix/media/v3/upload", &[]);
    upload.raw("image/png", vec![7; 1000]).await.error(503, "M_UNKNOWN");
    // So do backups, which leave nothing.
    let backup = data.join("backup");
    let refused = server.command(&["backup", backup.to_str().expect("UTF-8")]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("not enough room"), "{why}");
    assert!(!backup.exists() && !data.join("backup.partial").exists());
    // It acknowledges a to-device message, which cannot be deleted now.
    let sync = syncer.as_mut().expect("one who syncs").next().await;
    assert!(sync["to_device"]["events"].as_array().is_none_or(Vec::is_empty), "{sync}");
    let log = server.log();
    assert!(log.contains("the disk is full") && log.contains("Make room"), "the log says what to do: {log}");

    std::fs::remove_file(data.join("ballast")).expect("the ballast can be removed");
    let mut senders = go_on(&server, senders).await;
    assert!(server.log().contains("writes go on"), "and that it is over");
    for sender in &senders {
        sender.check(&server.client(), "when there is room again").await;
    }
    // Full again, at once and to the last byte, and killed in the middle of it.
    let mut again = JoinSet::new();
    for sender in senders.drain(..) {
        again.spawn(sender.send_until_refused(server.client()));
    }
    fill_up(&data.join("ballast"));
    senders.extend(again.join_all().await);
    server.kill();
    std::fs::remove_file(data.join("ballast")).expect("the ballast can be removed");
    server.restart();
    for sender in &senders {
        sender.check(&server.client(), "after the restart").await;
    }
    go_on(&server, senders).await;
}

#[test]
fn output_that_finds_no_room_is_a_failure() {
    let mut command = Command::new(binary().unwrap_or_else(|error| panic!("{error}")));
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let output = command.args(["config", "example"]).stdout(full).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("cannot write the output"), "{}: {said}", output.status);
}

/// Without a restart the server takes writes again, each sender's next first.
async fn go_on(server: &Server, mut senders: Vec<Sender>) -> Vec<Sender> {
    let until = Instant::now() + RECOVERY;
    for sender in &mut senders {
        loop {
            let answer = sender.send(&server.client()).await;
            if answer.status == 200 {
                sender.acknowledged += 1;
                break;
            }
            assert!(Instant::now() < until, "writes do not go on: {answer}\n{}", server.log());
            answer.status(503);
            // The server is asked again and again, as clients would after the time it names.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    senders
}
