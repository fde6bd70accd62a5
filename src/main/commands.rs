//! The commands: each asks the admin router and prints the answer. They have no logic of their own.

pub mod backup;
pub mod config;
pub mod db;
pub mod media;
mod password;
mod place;
pub mod report;
pub mod token;
pub mod user;
pub mod version;

use serde_json::Value;

/// Prints an answer as it is, for scripts.
fn print_json(value: &Value) {
    println!("{value:#}");
}

/// A list as columns of equal width, under a head.
fn print_table<const N: usize>(head: [&str; N], rows: &[[String; N]]) {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let print = |row: [&str; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("{}", cells.join("  ").trim_end());
    };
    print(head);
    for row in rows {
        print(row.each_ref().map(String::as_str));
    }
}

/// A text of the answer; empty if it is not there. What users have written cannot speak to the terminal.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// What a flag means, or nothing.
fn flag(value: &Value, meaning: &str) -> String {
    if value.as_bool() == Some(true) { meaning.to_owned() } else { String::new() }
}

/// The entries of a list in the answer.
fn entries<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A time of the answer, in milliseconds since 1970, as a date and time in UTC.
fn time(value: &Value) -> String {
    value.as_u64().map(moment).unwrap_or_default()
}

/// A time in milliseconds since 1970 as a date and time in UTC.
pub fn moment(ms: u64) -> String {
    let (days, minutes) = (ms / 86_400_000, ms / 60_000 % 1440);
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// Year, month and day of a day counted from 1970-01-01.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) && year < 9999 {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{text, time};

    #[test]
    fn texts_have_no_escapes() {
        assert_eq!(text(&json!("a\u{1b}[2Jb\nc\u{9b}")), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
        assert_eq!((text(&json!(null)), text(&json!(7))), (String::new(), "7".to_owned()));
    }

    #[test]
    fn times_are_dates() {
        for (ms, wanted) in [
            (0_u64, "1970-01-01 00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (1_767_225_599_999, "2025-12-31 23:59 UTC"),
            (1_795_316_640_000, "2026-11-22 03:04 UTC"),
        ] {
            assert_eq!(time(&json!(ms)), wanted);
        }
        assert_eq!(time(&json!(null)), "");
    }
}
