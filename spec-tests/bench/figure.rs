//! Figures of rounds, their medians and the table of ratios.

use std::time::Duration;

/// What one round of a scenario found: a name with its unit, and the figure.
pub type Figures = Vec<(String, f64)>;

/// A line of the table: one figure for each server.
pub struct Row {
    name: String,
    values: Vec<f64>,
}

/// Everything found, in the order of the scenarios.
pub struct Table {
    servers: Vec<&'static str>,
    notes: Vec<String>,
    rows: Vec<Row>,
}

impl Table {
    /// For these servers.
    pub fn new(servers: Vec<&'static str>) -> Self {
        Self { servers, notes: Vec::new(), rows: Vec::new() }
    }

    /// A sentence above the table.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// A line.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// A line from its parts.
    pub fn row(&mut self, name: &str, values: &[f64]) {
        self.add(Row { name: name.to_owned(), values: values.to_vec() });
    }

    /// Prints all as Markdown. The ratio is the first server's figure by the second's.
    pub fn print(&self) {
        for note in &self.notes {
            println!("{note}");
        }
        println!(
            "\n| figure | {} | ratio |\n|---|{}---|",
            self.servers.join(" | "),
            "---:|".repeat(self.servers.len())
        );
        for Row { name, values } in &self.rows {
            let shown: Vec<String> = values.iter().map(|value| short(*value)).collect();
            let ratio = values.get(1).map_or_else(String::new, |other| ratio(values[0], *other));
            println!("| {name} | {} | {ratio} |", shown.join(" | "));
        }
    }
}

/// The median of each figure over the rounds of each server.
pub fn medians(found: &[Vec<Figures>]) -> Vec<Row> {
    let names = found[0][0].iter().map(|(name, _)| name);
    let rows = names.enumerate().map(|(place, name)| {
        let values = found.iter().map(|rounds| median(rounds.iter().map(|figures| figures[place].1).collect()));
        Row { name: name.clone(), values: values.collect() }
    });
    rows.collect()
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Three figures that say something.
fn short(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value if value >= 1.0 => format!("{value:.2}"),
        value => format!("{value:.3}"),
    }
}

fn ratio(ours: f64, theirs: f64) -> String {
    if ours >= theirs { format!("{} times", short(ours / theirs)) } else { format!("1/{}", short(theirs / ours)) }
}
