//! For the snapshot tests of records.

use crate::table::Record;

/// The bytes of a versioned record are those of existing databases: who changes them brings a new version and reads the
/// old one.
pub fn check<R: Record + PartialEq>(record: &R, hex: &str) {
    let bytes = record.encode();
    let written: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written.concat(), hex);
    assert!(R::decode(&bytes).is_some_and(|read| read == *record), "the bytes do not read back");
    assert!(R::decode(&[&bytes[..], &[0xFF]].concat().into()).is_none(), "trailing bytes are accepted");
    assert!(R::decode(&[&[9], &bytes[1..]].concat().into()).is_none(), "another version is accepted");
}
