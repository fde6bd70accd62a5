//! Lines that say how far long work is.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often a line is printed, at most.
const EVERY: Duration = Duration::from_secs(5);

/// Work of so many steps.
pub struct Progress {
    what: String,
    total: usize,
    done: Cell<usize>,
    told: Cell<Instant>,
}

impl Progress {
    /// Nothing of it is done. Short work prints nothing.
    pub fn new(what: String, total: usize) -> Self {
        Self { what, total, done: Cell::default(), told: Cell::new(Instant::now()) }
    }

    /// One more step is done.
    pub fn step(&self) {
        self.done.set(self.done.get() + 1);
        if self.told.get().elapsed() >= EVERY {
            self.told.set(Instant::now());
            eprintln!("{}", self.line());
        }
    }

    fn line(&self) -> String {
        format!("{}: {} of {}", self.what, self.done.get(), self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn the_line_says_how_far_the_work_is() {
        let progress = Progress::new("joins of Synapse".to_owned(), 1000);
        progress.step();
        progress.step();
        assert_eq!(progress.line(), "joins of Synapse: 2 of 1000");
    }
}
