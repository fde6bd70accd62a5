//! The words by which a user is found: those of the local part and of the display name.
//!
//! They change in the batch that changes the name, so that they are never behind.

use std::collections::BTreeSet;

use depesche_store::Range;
use ruma::{OwnedUserId, UserId};

use crate::{
    Fault,
    keyspace::{USER_TERM, USER_TERMS},
    tx::{Tx, View},
};

/// Words that are kept of one text.
const MAX_WORDS: usize = 16;
/// Bytes that are kept of a word.
const MAX_WORD_BYTES: usize = 64;

/// The words of a text, in lower case: what is neither letter nor digit separates them.
pub fn words(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.take(MAX_WORDS).map(cut).collect()
}

/// The first bytes of a word, whole characters only.
fn cut(word: &str) -> String {
    let end = word.char_indices().map(|(at, character)| at + character.len_utf8());
    let end = end.take_while(|end| *end <= MAX_WORD_BYTES).last().unwrap_or(0);
    word[..end].to_owned()
}

/// Puts the words of a user into the batch, and takes the earlier ones out.
pub(crate) async fn index(tx: &Tx, user: &UserId, display_name: Option<&str>) -> Result<(), Fault> {
    let mut terms = words(user.localpart());
    terms.extend(display_name.map(words).unwrap_or_default());
    let key = (user.to_owned(),);
    let before = tx.read(&USER_TERMS, &key).await?.unwrap_or_default();
    for gone in before.lines().filter(|term| !terms.contains(*term)) {
        tx.delete(&USER_TERM, &(gone.to_owned(), user.to_owned()));
    }
    for term in &terms {
        tx.put(&USER_TERM, &(term.clone(), user.to_owned()), &());
    }
    let terms: Vec<String> = terms.into_iter().collect();
    tx.put(&USER_TERMS, &key, &terms.join("\n"));
    Ok(())
}

/// Takes a user out.
pub(super) async fn forget(tx: &Tx, user: &UserId) -> Result<(), Fault> {
    let key = (user.to_owned(),);
    if let Some(terms) = tx.read(&USER_TERMS, &key).await? {
        for term in terms.lines() {
            tx.delete(&USER_TERM, &(term.to_owned(), user.to_owned()));
        }
        tx.delete(&USER_TERMS, &key);
    }
    Ok(())
}

/// The range of the words that begin so: those with the word itself come first.
pub fn beginning(word: &str) -> Range {
    // A part of a word, so not a key's part with its end.
    Range::prefix([&[USER_TERM.number], cut(word).as_bytes()].concat())
}

/// The users of at most `limit` words of a range, and the range of the words behind, if there may be any.
pub async fn page(view: &View, range: Range, limit: usize) -> Result<(BTreeSet<OwnedUserId>, Option<Range>), Fault> {
    let rows = view.scan(&USER_TERM, range.clone(), limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit).map(|(row, ())| USER_TERM.key(row));
    let behind = last.map(|last| Range::new([&last[..], &[0]].concat(), range.to));
    Ok((rows.into_iter().map(|((_, user), ())| user).collect(), behind))
}

/// The words of users, in the order asked.
pub async fn of(view: &View, users: &[(OwnedUserId,)]) -> Result<Vec<BTreeSet<String>>, Fault> {
    let rows = view.get_many(&USER_TERMS, users).await?;
    Ok(rows.into_iter().map(|row| row.unwrap_or_default().lines().map(str::to_owned).collect()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{accounts::tests::House, profiles::Profiles};

    #[test]
    fn words_are_cut_at_what_is_neither_letter_nor_digit() {
        assert_eq!(
            words("Dr. Änne-Marie O'Hara 2nd"),
            ["2nd", "dr", "hara", "marie", "o", "änne"].map(str::to_owned).into()
        );
        assert_eq!(words(" ... "), BTreeSet::new());
        assert_eq!(words(&"ä".repeat(100)), [String::from("ä").repeat(32)].into());
        assert_eq!(words(&(0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")).len(), MAX_WORDS);
    }

    #[tokio::test]
    async fn the_words_follow_the_name() {
        let house = House::new();
        let alice = &house.user("alice").await;
        let found = async |word: &str| page(&house.base.view(), beginning(word), 10).await.unwrap().0.contains(alice);
        let profiles = Profiles::new(house.base.clone());
        assert!(found("ali").await && found("alice").await && !found("alicea").await);
        profiles.set_field(alice, "displayname", json!("Dr. Liddell")).await.unwrap();
        assert!(found("alice").await && found("lid").await && found("dr").await);
        profiles.set_field(alice, "displayname", json!("Hargreaves")).await.unwrap();
        assert!(found("alice").await && found("harg").await && !found("lid").await);
        profiles.remove_field(alice, "displayname").await.unwrap();
        assert!(found("alice").await && !found("harg").await);
        house.accounts.begin_deactivation(alice, false).await.unwrap();
        assert!(!found("alice").await);
    }
}
