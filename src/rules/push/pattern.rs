//! Patterns with `*` and `?`, of whole values and of words in a body. Case does not count.
//!
//! Both sides of a match are a user's to choose, so nothing recurses, and a match is begun only if what it costs at most
//! is left of the [`Budget`]. A pattern is an automaton whose states are bits: a character moves 64 of them at once.
//!
//! Spec: [glob-style matching](https://spec.matrix.org/v1.19/appendices/#glob-style-matching),
//! [`event_match`](https://spec.matrix.org/v1.19/client-server-api/#conditions-1).

use crate::bounds::MAX_PUSH_MATCHING;

/// How many bytes of a text are searched for a literal in the time of one step of an automaton.
const SEARCHED_PER_STEP: usize = 16;

/// What matching may still cost, in steps: 64 states of a pattern moved over one character.
#[derive(Debug)]
pub struct Budget(usize);

impl Budget {
    /// What one user's rules may cost on one event.
    pub fn new() -> Self {
        Self(MAX_PUSH_MATCHING)
    }

    /// Takes so many steps, if they are left. Otherwise nothing is left after: what comes later is not done because it is
    /// cheap.
    pub fn take(&mut self, steps: usize) -> bool {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or_default();
        left.is_some()
    }
}

/// What of a text a pattern has to match.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Some part that begins and ends at word boundaries: the start, the end and each side of a character that is not one
    /// of `[A-Za-z0-9_]`.
    Words,
}

/// A text made ready for patterns.
#[derive(Clone, Debug)]
pub struct Text(String);

impl Text {
    /// Folds the text.
    pub fn new(text: &str) -> Self {
        Self(fold(text))
    }
}

/// Whether a text matches a pattern. Not if too little of the budget is left.
pub fn matches(pattern: &str, text: &Text, extent: Extent, budget: &mut Budget) -> bool {
    Pattern::new(pattern).found_in(text, extent, budget)
}

/// Whether a text that is no pattern stands in another between word boundaries. Nothing has the empty text. Not if too
/// little of the budget is left.
pub fn has_words(wanted: &str, text: &Text, budget: &mut Budget) -> bool {
    !wanted.is_empty() && Pattern::literal(wanted).found_in(text, Extent::Words, budget)
}

/// Without case: of the three sigmas that are one letter too, of which the last depends on where it stands.
pub(super) fn fold(text: &str) -> String {
    text.to_lowercase().replace('ς', "σ")
}

/// A pattern as characters (`None` for `?`) with the gaps between them that a `*` fills.
struct Pattern {
    tokens: Vec<Option<char>>,
    stars: Vec<bool>,
    /// The longest part without `*` and `?`: each text that matches has it.
    literal: String,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let pattern = fold(pattern);
        let (mut tokens, mut stars) = (Vec::new(), vec![false]);
        for c in pattern.chars() {
            match c {
                '*' => *stars.last_mut().expect("there is one more gap than characters") = true,
                c => {
                    tokens.push((c != '?').then_some(c));
                    stars.push(false);
                }
            }
        }
        let literal = pattern.split(['*', '?']).max_by_key(|part| part.len()).unwrap_or_default().to_owned();
        Self { tokens, stars, literal }
    }

    /// A text whose `*` and `?` mean themselves.
    fn literal(text: &str) -> Self {
        let literal = fold(text);
        let tokens: Vec<_> = literal.chars().map(Some).collect();
        Self { stars: vec![false; tokens.len() + 1], tokens, literal }
    }

    fn found_in(&self, Text(text): &Text, extent: Extent, budget: &mut Budget) -> bool {
        // Most texts end here: they do not have what is looked for at all.
        if !budget.take(1 + text.len() / SEARCHED_PER_STEP) || !text.contains(&self.literal) {
            return false;
        }
        if text.len() == self.literal.len() && !self.tokens.contains(&None) {
            // The text is the literal, and the pattern no more than that (and stars).
            return self.tokens.len() == text.chars().count();
        }
        if self.tokens.is_empty() && !self.stars[0] {
            return false;
        }
        let words = self.tokens.len() / 64 + 1;
        // The rows of the automaton, and its way through the text.
        budget.take(words * (self.tokens.len() + text.len())) && Automaton::new(self).accepts(text, extent)
    }
}

/// A pattern as bits: bit `n` is the state in which its first `n` characters have matched.
struct Automaton {
    /// Words of 64 states.
    words: usize,
    /// The last state.
    last: usize,
    /// For each character of the pattern, and first for all others, into which states it leads.
    rows: Vec<u64>,
    /// The pattern's characters in order.
    chars: Vec<char>,
    /// The rows of the first 128 characters.
    ascii: [usize; 128],
    /// Which states any character leaves as they are.
    stars: Vec<u64>,
}

impl Automaton {
    fn new(pattern: &Pattern) -> Self {
        let last = pattern.tokens.len();
        let words = last / 64 + 1;
        let mut chars: Vec<char> = pattern.tokens.iter().flatten().copied().collect();
        chars.sort_unstable();
        chars.dedup();
        let mut others = vec![0; words];
        let mut stars = vec![0; words];
        for (state, token) in (1..).zip(&pattern.tokens) {
            if token.is_none() {
                set(&mut others, state);
            }
        }
        for (state, _) in pattern.stars.iter().enumerate().filter(|(_, star)| **star) {
            set(&mut stars, state);
        }
        let mut automaton = Self { words, last, rows: others.repeat(chars.len() + 1), chars, ascii: [0; 128], stars };
        for (at, c) in automaton.chars.iter().enumerate() {
            if let Some(row) = automaton.ascii.get_mut(*c as usize) {
                *row = at + 1;
            }
        }
        for (state, token) in (1..).zip(&pattern.tokens) {
            if let Some(c) = token {
                let row = automaton.row(*c) * words;
                set(&mut automaton.rows[row..row + words], state);
            }
        }
        automaton
    }

    /// Which row is a character's.
    fn row(&self, c: char) -> usize {
        match self.ascii.get(c as usize) {
            Some(row) => *row,
            None => self.chars.binary_search(&c).map_or(0, |at| at + 1),
        }
    }

    fn accepts(&self, text: &str, extent: Extent) -> bool {
        let mut active = vec![0; self.words];
        set(&mut active, 0);
        let mut after_word = false;
        for c in text.chars() {
            let is_word = c.is_ascii_alphanumeric() || c == '_';
            let at_boundary = !(after_word && is_word);
            if extent == Extent::Words && at_boundary {
                set(&mut active, 0);
                if self.is_accepting(&active) {
                    return true;
                }
            }
            after_word = is_word;
            if self.step(&mut active, c) == 0 && extent == Extent::Whole {
                return false;
            }
        }
        self.is_accepting(&active)
    }

    /// Reads a character. What is left is zero if no state is active.
    fn step(&self, active: &mut [u64], c: char) -> u64 {
        let row = self.row(c) * self.words;
        let (mut carried, mut any) = (0, 0);
        for ((active, row), stars) in active.iter_mut().zip(&self.rows[row..]).zip(&self.stars) {
            let moved = (*active << 1) | carried;
            carried = *active >> 63;
            *active = (moved & row) | (*active & stars);
            any |= *active;
        }
        any
    }

    fn is_accepting(&self, active: &[u64]) -> bool {
        active[self.last / 64] >> (self.last % 64) & 1 == 1
    }
}

fn set(bits: &mut [u64], state: usize) {
    bits[state / 64] |= 1 << (state % 64);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, text: &str, extent: Extent) -> bool {
        super::matches(pattern, &Text::new(text), extent, &mut Budget::new())
    }

    fn has_words(wanted: &str, text: &str) -> bool {
        super::has_words(wanted, &Text::new(text), &mut Budget::new())
    }

    /// As the specification says it, by a table: which beginnings of the text the pattern matches.
    fn by_definition(pattern: &[char], text: &[char]) -> Vec<bool> {
        let mut matched = vec![false; text.len() + 1];
        matched[0] = true;
        for token in pattern {
            if *token == '*' {
                let first = matched.iter().position(|matched| *matched).unwrap_or(matched.len());
                matched[first..].fill(true);
            } else {
                for at in (1..=text.len()).rev() {
                    matched[at] = matched[at - 1] && (*token == '?' || *token == text[at - 1]);
                }
                matched[0] = false;
            }
        }
        matched
    }

    fn words_by_definition(pattern: &[char], text: &[char]) -> bool {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_boundary = |at: usize| at == 0 || at == text.len() || !is_word(text[at - 1]) || !is_word(text[at]);
        if pattern.is_empty() {
            // Else it would stand at each boundary, in every text.
            return text.is_empty();
        }
        (0..=text.len()).filter(|from| is_boundary(*from)).any(|from| {
            let matched = by_definition(pattern, &text[from..]);
            (from..).zip(matched).any(|(to, matched)| matched && is_boundary(to))
        })
    }

    fn check(pattern: &[char], text: &[char]) {
        let (pattern_, text_): (String, String) = (pattern.iter().collect(), text.iter().collect());
        let whole = matches(&pattern_, &text_, Extent::Whole);
        assert_eq!(whole, by_definition(pattern, text)[text.len()], "whole {pattern_:?} {text_:?}");
        let words = matches(&pattern_, &text_, Extent::Words);
        assert_eq!(words, words_by_definition(pattern, text), "words {pattern_:?} {text_:?}");
    }

    fn strings(alphabet: &[char], most: usize) -> Vec<Vec<char>> {
        let mut all = vec![vec![]];
        let mut from = 0;
        for _ in 0..most {
            let longer: Vec<_> =
                all[from..].iter().flat_map(|text| alphabet.iter().map(|c| [&text[..], &[*c]].concat())).collect();
            from = all.len();
            all.extend(longer);
        }
        all
    }

    #[test]
    fn all_short_ones_are_by_definition() {
        let texts = strings(&['a', 'b', ' '], 5);
        for pattern in strings(&['a', ' ', '*', '?'], 4) {
            for text in &texts {
                check(&pattern, text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: crate::testing::cases(100), ..ProptestConfig::default() })]

        /// With more than 64 states, and texts that match or nearly do.
        #[test]
        fn long_ones_are_by_definition(
            pattern in proptest::collection::vec(prop::sample::select(vec!['a', 'a', 'b', 'é', ' ', '?', '*']), 0..150),
            fill in proptest::collection::vec(prop::sample::select(vec!['a', 'b', 'é', ' ']), 1..8),
            wrong in proptest::option::of(any::<prop::sample::Index>()),
            around in any::<bool>(),
        ) {
            let mut fill = fill.into_iter().cycle();
            let mut text = Vec::new();
            for token in &pattern {
                match token {
                    '*' => text.extend(fill.by_ref().take(3)),
                    '?' => text.extend(fill.next()),
                    c => text.push(*c),
                }
            }
            if let Some(wrong) = wrong.filter(|_| !text.is_empty()) {
                let at = wrong.index(text.len());
                text[at] = 'x';
            }
            if around {
                text = [&['b', ' '][..], &text, &[' ', 'a']].concat();
            }
            check(&pattern, &text);
        }
    }

    #[test]
    fn words() {
        let yes = [
            ("cake", "I like Cake."),
            ("cake", "cake"),
            ("CAKE", "my-cake"),
            ("a b", "x a b y"),
            ("ca*e", "a cakee b"),
            ("ΟΔΟΣ", "η οδος εδω"),
        ];
        let also =
            [("c?ke", "coke!"), ("*", "x"), ("??", "ab"), ("lunc?*", "Lunch plans"), ("@a", "hi @a"), ("ß", "aßb")];
        for (pattern, text) in yes.into_iter().chain(also) {
            assert!(matches(pattern, text, Extent::Words), "{pattern} {text}");
        }
        let no = [("cake", "cakes"), ("cake", "pancake"), ("cake", ""), ("c?ke", "cke"), ("a", "_a_"), ("???", "ab")];
        for (pattern, text) in no {
            assert!(!matches(pattern, text, Extent::Words), "{pattern} {text}");
        }
    }

    #[test]
    fn texts() {
        for (wanted, text) in [("Ann", "hello ann!"), ("a*b", "an A*B here"), ("Who?", "who?"), ("Ann B.", "ann b.")] {
            assert!(has_words(wanted, text), "{wanted} {text}");
        }
        for (wanted, text) in [("Ann", "Anna"), ("a*b", "aab"), ("Who?", "whom"), ("", ""), ("", "x"), ("*", "x")] {
            assert!(!has_words(wanted, text), "{wanted} {text}");
        }
    }

    #[test]
    fn near_misses_without_end_take_no_stack() {
        assert!(!matches("a", &"xa ".repeat(21_000), Extent::Words));
        assert!(!matches(&"?".repeat(255), &"ab ".repeat(80), Extent::Words));
        assert!(!matches(&"*a".repeat(500), &"a".repeat(499), Extent::Whole));
    }

    #[test]
    fn nothing_is_begun_that_the_budget_does_not_cover() {
        let (pattern, text) = ("a?".repeat(512), Text::new(&"a".repeat(60_000)));
        let mut budget = Budget::new();
        let mut found = 0;
        while super::matches(&pattern, &text, Extent::Whole, &mut budget)
            || super::matches(&format!("*{pattern}"), &text, Extent::Whole, &mut budget)
        {
            found += 1;
            assert!(found <= MAX_PUSH_MATCHING / (17 * 60_000), "each costs 17 steps for each of 60,000 characters");
        }
        assert!(found > 0);
        assert!(!super::matches("a*", &text, Extent::Whole, &mut budget), "nothing is left");
    }
}
