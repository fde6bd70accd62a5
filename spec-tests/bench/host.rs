//! What the machine says: processor time, memory, bytes on disk, and how long the disk takes to sync.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Synced writes that are timed.
const WRITES: usize = 100;

/// Puts this process on one processor.
pub fn pin(processor: usize) {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", &processor.to_string(), &own]).output();
    assert!(pinned.is_ok_and(|output| output.status.success()), "taskset is needed, and two processors");
}

/// The processor time that a process has used since it had used `before`. What threads used that have ended since is not
/// in it: those that hash passwords end after some idle seconds, and have nothing to do while something is measured.
pub fn processor_time_since(process: u32, before: Duration) -> Duration {
    processor_time(process).saturating_sub(before)
}

/// The processor time that a process has used, by the scheduler's count of each of its threads.
pub fn processor_time(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("the server runs");
    let ns = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(ns.sum())
}

/// Of a process since its start, how much of its processor time was spent in the kernel, and all of it: in ticks of some
/// hundredths of a second, so only their relation over a second or more says something.
pub fn kernel_ticks(process: u32) -> (f64, f64) {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).expect("the server runs");
    // Behind the name, which may hold anything, the fields begin with the third; proc(5) numbers them from one.
    let (_, fields) = text.rsplit_once(')').expect("a name in parentheses");
    let field = |number: usize| fields.split_whitespace().nth(number - 3).and_then(|field| field.parse().ok());
    let (user, kernel): (f64, f64) = (field(14).expect("user time"), field(15).expect("kernel time"));
    (kernel, user + kernel)
}

/// The resident memory of a process, in MB.
pub fn resident_mb(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the server runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says VmRSS");
    let kb: f64 = line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
    kb / 1024.0
}

/// The bytes of all files below a folder.
pub fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// What a synced write costs beside the servers' data: with one message in flight, the limit of any server that syncs
/// before it answers.
pub fn synced_writes(folder: &Path) -> std::io::Result<String> {
    let path = folder.join("synced-writes");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::with_capacity(WRITES);
    let (own, before) = (std::process::id(), processor_time(std::process::id()));
    for _ in 0..WRITES {
        let start = Instant::now();
        file.write_all(&[7; 2048])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let processor = processor_time_since(own, before).as_secs_f64() * 1e3 / WRITES as f64;
    fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    let (median, slow) = (times[WRITES / 2], times[WRITES * 9 / 10]);
    Ok(format!(
        "a synced write of 2 kB: {median:.2} ms (p90 {slow:.2} ms), {processor:.2} ms of it processor time: {:.0} a second, \
         one after the other",
        1e3 / median
    ))
}
