//! Patterns: `*` in filters; `*` and `?` around words in push rules.
//!
//! Both sides of a match are a user's to choose, so time is at most the product of the lengths and nothing recurses.
//!
//! Spec: [filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering),
//! [`event_match`](https://spec.matrix.org/v1.19/client-server-api/#conditions-1).

/// Whether the whole of `text` matches a pattern with `*`. Case counts.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*');
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        // The leftmost place leaves the most for what follows.
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// Whether some part of `text` that begins and ends at word boundaries matches a pattern with `*` and `?`. Case does not
/// count. A boundary is the start, the end and each side of a character that is not one of `[A-Za-z0-9_]`.
pub fn has_words(pattern: &str, text: &str) -> bool {
    Words::new(pattern).found_in(text)
}

/// Whether a text that is no pattern stands in another between word boundaries. Case does not count. Nothing has the
/// empty text.
pub fn has_text(wanted: &str, text: &str) -> bool {
    !wanted.is_empty() && Words::literal(wanted).found_in(text)
}

/// A pattern as characters (`None` for `?`) with the gaps between them that a `*` fills.
struct Words {
    tokens: Vec<Option<char>>,
    stars: Vec<bool>,
}

impl Words {
    fn new(pattern: &str) -> Self {
        let (mut tokens, mut stars) = (Vec::new(), vec![false]);
        for c in pattern.to_lowercase().chars() {
            match c {
                '*' => *stars.last_mut().expect("there is one more gap than characters") = true,
                c => {
                    tokens.push((c != '?').then_some(c));
                    stars.push(false);
                }
            }
        }
        Self { tokens, stars }
    }

    /// A text whose `*` and `?` mean themselves.
    fn literal(text: &str) -> Self {
        let tokens: Vec<_> = text.to_lowercase().chars().map(Some).collect();
        Self { stars: vec![false; tokens.len() + 1], tokens }
    }

    /// Whether a part of the text between word boundaries matches.
    fn found_in(&self, text: &str) -> bool {
        if self.tokens.is_empty() && self.stars.len() == 1 && !self.stars[0] {
            return text.is_empty();
        }
        let text: Vec<char> = text.to_lowercase().chars().collect();
        let is_word = |at: usize| text.get(at).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_');
        let boundary = |at: usize| at == 0 || at == text.len() || !is_word(at - 1) || !is_word(at);
        // Which prefixes of the pattern match a part that begins at a boundary and ends before `at`.
        let mut active = vec![false; self.tokens.len() + 1];
        for at in 0..=text.len() {
            active[0] |= boundary(at);
            if boundary(at) && active[self.tokens.len()] {
                return true;
            }
            if let Some(c) = text.get(at) {
                self.step(&mut active, *c);
            }
        }
        false
    }

    /// Reads one character, from the longest prefix down so that each moves once.
    fn step(&self, active: &mut [bool], c: char) {
        for matched in (0..active.len()).rev() {
            let grown = matched > 0 && active[matched - 1] && self.tokens[matched - 1].is_none_or(|token| token == c);
            active[matched] = grown || (active[matched] && self.stars[matched]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{has_text, has_words, matches};

    #[test]
    fn words() {
        let yes = [
            ("cake", "I like Cake."),
            ("cake", "cake"),
            ("CAKE", "my-cake"),
            ("a b", "x a b y"),
            ("ca*e", "a cakee b"),
        ];
        let also =
            [("c?ke", "coke!"), ("*", "x"), ("??", "ab"), ("lunc?*", "Lunch plans"), ("@a", "hi @a"), ("ß", "aßb")];
        for (pattern, text) in yes.into_iter().chain(also) {
            assert!(has_words(pattern, text), "{pattern} {text}");
        }
        let no = [("cake", "cakes"), ("cake", "pancake"), ("cake", ""), ("c?ke", "cke"), ("a", "_a_"), ("???", "ab")];
        for (pattern, text) in no {
            assert!(!has_words(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn texts() {
        for (wanted, text) in [("Ann", "hello ann!"), ("a*b", "an A*B here"), ("Who?", "who?"), ("Ann B.", "ann b.")] {
            assert!(has_text(wanted, text), "{wanted} {text}");
        }
        for (wanted, text) in [("Ann", "Anna"), ("a*b", "aab"), ("Who?", "whom"), ("", ""), ("", "x"), ("*", "x")] {
            assert!(!has_text(wanted, text), "{wanted} {text}");
        }
    }

    #[test]
    fn near_misses_without_end_take_no_stack() {
        assert!(!has_words("a", &"xa ".repeat(21_000)));
        assert!(!has_words(&"?".repeat(255), &"ab ".repeat(80)));
    }

    #[test]
    fn stars() {
        let yes = [("a", "a"), ("*", ""), ("*", "x"), ("m.room.*", "m.room.name"), ("*.name", "m.room.name")];
        let also = [("m.*.name", "m.room.name"), ("a*b*c", "a-b-b-c"), ("a**c", "ac"), ("*b*", "abc"), ("ä*", "äß")];
        for (pattern, text) in yes.into_iter().chain(also) {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        let no =
            [("a", "A"), ("a", "ab"), ("a*a", "a"), ("m.room.*", "m.roomname"), ("*c*c", "abc"), ("", "a"), ("?", "a")];
        for (pattern, text) in no {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
