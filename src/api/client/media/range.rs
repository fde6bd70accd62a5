//! A part of a file: the `Range` header, as far as one part goes.
//!
//! Spec: [RFC 9110, range requests](https://www.rfc-editor.org/rfc/rfc9110#name-range-requests).

use std::ops::Range;

use http::{HeaderMap, HeaderValue, header};

/// What is asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Part {
    /// All of it: no range, or one that we do not understand.
    Whole,
    /// These bytes, at least one.
    Of(Range<u64>),
    /// Bytes that it does not have.
    Beyond,
}

/// The part of a file of this size and tag that a request asks for.
pub(super) fn part(asked: &HeaderMap, tag: &HeaderValue, size: u64) -> Part {
    let Some(range) = asked.get(header::RANGE).and_then(|range| range.to_str().ok()) else { return Part::Whole };
    // The caller has a part of something else.
    if asked.get(header::IF_RANGE).is_some_and(|known| known != tag) {
        return Part::Whole;
    }
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|span| span.split_once('-')) else {
        return Part::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (from, to) = match (number(first), number(last)) {
        (Some(from), Some(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        (Some(from), None) if last.trim().is_empty() => (from, size),
        (None, Some(count)) if first.trim().is_empty() => (size - count.min(size), size),
        _ => return Part::Whole,
    };
    if from < to { Part::Of(from..to) } else { Part::Beyond }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_is_understood() {
        let tag = HeaderValue::from_static("\"t\"");
        for (range, expected) in [
            ("bytes=0-", Part::Of(0..10)),
            ("bytes=0-0", Part::Of(0..1)),
            ("bytes=3-5", Part::Of(3..6)),
            ("bytes=3-99", Part::Of(3..10)),
            ("bytes=-3", Part::Of(7..10)),
            ("bytes=-99", Part::Of(0..10)),
            ("bytes=-0", Part::Beyond),
            ("bytes=10-", Part::Beyond),
            ("bytes=10-20", Part::Beyond),
            ("bytes=5-3", Part::Whole),
            ("bytes=0-1,3-4", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("lines=1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=0-18446744073709551615", Part::Of(0..10)),
        ] {
            let mut asked = HeaderMap::new();
            asked.insert(header::RANGE, range.parse().unwrap());
            assert_eq!(part(&asked, &tag, 10), expected, "{range}");
            asked.insert(header::IF_RANGE, tag.clone());
            assert_eq!(part(&asked, &tag, 10), expected, "{range}");
            asked.insert(header::IF_RANGE, HeaderValue::from_static("\"other\""));
            assert_eq!(part(&asked, &tag, 10), Part::Whole);
        }
        assert_eq!(part(&HeaderMap::new(), &tag, 10), Part::Whole);
    }
}
