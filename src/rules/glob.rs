//! Patterns in filters, with `*`.
//!
//! Both sides of a match are a user's to choose, so time is at most the product of the lengths and nothing recurses.
//! Patterns of push rules have a module of their own: they know `?` and words.
//!
//! Spec: [filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

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

#[cfg(test)]
mod tests {
    use super::matches;

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
