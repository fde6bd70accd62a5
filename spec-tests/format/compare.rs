//! Whether an answer still says what an older one said.

use serde_json::Value;

/// Fields that say when or how, not what.
const PASSING: &[&str] = &["age", "next_batch", "last_seen_ts", "last_seen_ip", "etag", "start", "end"];

/// Every field of `wanted` is in `found` with its value, and every element of a list is matched by one of the list. More
/// may be there. The error says where something is missing.
pub fn contains(found: &Value, wanted: &Value) -> Result<(), String> {
    match (found, wanted) {
        (Value::Object(found), Value::Object(wanted)) => {
            for (name, value) in wanted.iter().filter(|(name, _)| !PASSING.contains(&name.as_str())) {
                let there = found.get(name).unwrap_or(&Value::Null);
                contains(there, value).map_err(|missing| format!(".{name}{missing}"))?;
            }
            Ok(())
        }
        (Value::Array(found), Value::Array(wanted)) => {
            for value in wanted {
                if !found.iter().any(|there| contains(there, value).is_ok()) {
                    return Err(format!("[]: no {value}"));
                }
            }
            Ok(())
        }
        (found, wanted) if found == wanted => Ok(()),
        (found, wanted) => Err(format!(": {found} instead of {wanted}")),
    }
}

#[test]
fn more_may_be_there_and_nothing_may_be_missing() {
    use serde_json::json;
    let wanted = json!({ "a": [1, { "b": 2 }], "age": 3 });
    assert_eq!(contains(&json!({ "a": [0, { "b": 2, "c": 0 }, 1], "d": 4 }), &wanted), Ok(()));
    assert!(contains(&json!({ "a": [1, { "b": 3 }] }), &wanted).is_err());
    assert!(contains(&json!({ "a": [1] }), &wanted).is_err());
    assert!(contains(&json!({}), &wanted).is_err());
}
