//! Measures Depesche and Synapse side by side and prints ratios: `docs/benchmarks.md` says how to run and read it.
//!
//! Accounts and rooms come first ([`contents`], [`fill`]), the same on both servers: ours has them from this process,
//! Synapse over HTTP. Then both are started anew and run all the time, pinned to one processor; this program has the
//! other one. The rounds of each scenario alternate between them, so that what else the machine does falls on both
//! alike. Medians are printed. Nothing but [`in_process`] knows the inside of a server.

mod app_service;
mod contents;
mod fanout;
mod figure;
mod fill;
mod host;
mod in_process;
mod instructions;
mod joins;
mod over_http;
mod pages;
mod progress;
mod requests;
mod send;
mod site;
mod store;
mod sync;
mod wire;

use std::{process::ExitCode, time::Duration};

use contents::Contents;
use figure::{Figures, Table};
use site::Site;

/// What one run does.
struct Plan {
    /// The scenarios, in order, each once.
    scenarios: Vec<&'static str>,
    size: Size,
    rounds: usize,
    /// Without Synapse, for measurements of our own before and after a change.
    alone: bool,
}

/// How much each scenario does.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Seconds that each number of senders sends for.
    pub send_s: f64,
    /// Messages whose way to all syncing members is followed, and how many members there are.
    pub deliveries: usize,
    pub members: usize,
    /// Rooms of the account that syncs, and messages in each.
    pub rooms: usize,
    pub messages: usize,
    /// Messages to page through.
    pub history: usize,
    /// Members that join one after the other.
    pub joins: usize,
    /// Which member of a large room is the first that joins while it is measured.
    pub crowd: usize,
    /// Events in the database that is started.
    pub stored: usize,
}

const QUICK: Size = Size {
    send_s: 0.5,
    deliveries: 10,
    members: 40,
    rooms: 20,
    messages: 20,
    history: 500,
    joins: 30,
    crowd: 60,
    stored: 300,
};
const AIMS: Size = Size {
    send_s: 1.5,
    deliveries: 20,
    members: 100,
    rooms: 100,
    messages: 20,
    history: 2000,
    joins: 100,
    crowd: 300,
    stored: 2000,
};
const FULL: Size = Size {
    send_s: 3.0,
    deliveries: 30,
    members: 100,
    rooms: 500,
    messages: 20,
    history: 10_000,
    joins: 100,
    crowd: 1000,
    stored: 10_000,
};

const SCENARIOS: [&str; 6] = ["store", "send", "fanout", "sync", "pages", "join"];
const USAGE: &str = "usage: bench [quick|aims|full] [--alone] [--rounds N] [store|send|fanout|sync|pages|join]...
       bench instructions [FOLDER]";

/// The processor of the servers, and ours.
const THEIRS: usize = 1;
const OURS: usize = 0;
/// For so long the servers do nothing before they count as idle: their allocators give back in seconds.
const IDLE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some("instructions") {
        return finish(|| instructions::run(words.next()));
    }
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // Before there are other threads: they inherit it.
    host::pin(OURS);
    finish(|| run(&plan))
}

/// Runs to the end and says what went wrong.
fn finish<F: Future<Output = Result<(), String>>>(work: impl FnOnce() -> F) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match runtime.block_on(work()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn plan(words: impl Iterator<Item = String>) -> Option<Plan> {
    let mut plan = Plan { scenarios: Vec::new(), size: QUICK, rounds: 3, alone: false };
    let mut words = words;
    while let Some(word) = words.next() {
        match word.as_str() {
            "quick" => plan.size = QUICK,
            "aims" => plan.size = AIMS,
            "full" => plan.size = FULL,
            "--alone" => plan.alone = true,
            "--rounds" => plan.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            name => {
                let scenario = *SCENARIOS.iter().find(|scenario| **scenario == name)?;
                if !plan.scenarios.contains(&scenario) {
                    plan.scenarios.push(scenario);
                }
            }
        }
    }
    if plan.scenarios.is_empty() {
        plan.scenarios = SCENARIOS.to_vec();
    }
    Some(plan)
}

/// What a scenario finds on the servers.
fn contents(name: &str, plan: &Plan) -> Contents {
    match name {
        "send" => send::contents(),
        "fanout" => fanout::contents(plan.size),
        "sync" => sync::contents(plan.size),
        "pages" => pages::contents(plan.size),
        "join" => joins::contents(plan.size, plan.rounds),
        // It has servers of its own.
        _ => Contents::default(),
    }
}

async fn run(plan: &Plan) -> Result<(), String> {
    let wanted: Vec<_> = plan.scenarios.iter().map(|name| (*name, contents(name, plan))).collect();
    let sites = Site::start_all(plan.alone, THEIRS, &wanted).await?;
    let mut table = Table::new(sites.iter().map(|site| site.name).collect());
    table.note(host::synced_writes(sites[0].directory()).map_err(|error| error.to_string())?);
    tokio::time::sleep(IDLE).await;
    let idle: Vec<f64> = sites.iter().map(|site| host::resident_mb(site.process())).collect();
    table.row("memory idle, MB", &idle);
    for name in &plan.scenarios {
        for row in rounds(name, &sites, plan).await {
            table.add(row);
        }
    }
    let after: Vec<f64> = sites.iter().map(|site| host::resident_mb(site.process())).collect();
    table.row("memory after the run, MB", &after);
    table.note(host::synced_writes(sites[0].directory()).map_err(|error| error.to_string())?);
    table.print();
    Ok(())
}

/// Prepares a scenario on all sites, then alternates.
async fn rounds(name: &str, sites: &[Site], plan: &Plan) -> Vec<figure::Row> {
    let mut prepared = Vec::new();
    for site in sites {
        prepared.push(prepare(name, site, plan.size).await);
    }
    let mut found: Vec<Vec<Figures>> = sites.iter().map(|_| Vec::new()).collect();
    for round in 1..=plan.rounds {
        eprintln!("{name}, round {round} of {}", plan.rounds);
        for (scenario, found) in prepared.iter_mut().zip(&mut found) {
            found.push(scenario.round().await);
        }
    }
    figure::medians(&found)
}

/// One of the scenarios, ready for its rounds.
enum Scenario<'a> {
    Send(send::Send<'a>),
    Fanout(fanout::Fanout<'a>),
    Sync(sync::Sync<'a>),
    Pages(pages::Pages<'a>),
    Join(joins::Joins<'a>),
    Store(store::Store<'a>),
}

async fn prepare<'a>(name: &str, site: &'a Site, size: Size) -> Scenario<'a> {
    match name {
        "send" => Scenario::Send(send::Send::prepare(site, size)),
        "fanout" => Scenario::Fanout(fanout::Fanout::prepare(site, size)),
        "sync" => Scenario::Sync(sync::Sync::prepare(site).await),
        "pages" => Scenario::Pages(pages::Pages::prepare(site, size)),
        "join" => Scenario::Join(joins::Joins::prepare(site, size)),
        _ => Scenario::Store(store::Store::prepare(site, size)),
    }
}

impl Scenario<'_> {
    async fn round(&mut self) -> Figures {
        match self {
            Self::Send(scenario) => scenario.round().await,
            Self::Fanout(scenario) => scenario.round().await,
            Self::Sync(scenario) => scenario.round().await,
            Self::Pages(scenario) => scenario.round().await,
            Self::Join(scenario) => scenario.round().await,
            Self::Store(scenario) => scenario.round().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(words: &str) -> Option<Plan> {
        plan(words.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_a_scenario_finds_fits_together() {
        for words in ["quick", "aims", "full", "full --rounds 7"] {
            let plan = planned(words).expect("a plan");
            for name in &plan.scenarios {
                let Contents { accounts, rooms } = contents(name, &plan);
                for room in rooms {
                    assert!(!room.members.is_empty() && room.members.end <= accounts, "{words} {name}: {room:?}");
                    assert!(room.writers <= room.members.len(), "{words} {name}: {room:?}");
                    assert!(room.messages == 0 || room.writers > 0, "{words} {name}: {room:?}");
                }
            }
        }
    }

    #[test]
    fn the_largest_run_has_large_rooms_before_anything_is_measured() {
        let plan = planned("full").expect("a plan");
        let members = contents("join", &plan).rooms[0].members.len();
        assert_eq!(members, 999, "so that the first who joins is the thousandth");
        assert_eq!(contents("pages", &plan).rooms[0].messages, 10_000);
        let rooms = contents("sync", &plan).rooms;
        assert_eq!((rooms.len(), rooms[0].messages), (500, 20));
    }

    #[test]
    fn a_scenario_that_is_named_twice_runs_once() {
        assert_eq!(planned("aims join send join").expect("a plan").scenarios, ["join", "send"]);
        assert_eq!(planned("quick").expect("a plan").scenarios, SCENARIOS);
        assert!(planned("quick nothing").is_none());
    }
}
