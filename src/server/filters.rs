//! Filters that clients store and name in later requests.
//!
//! They are kept as the client wrote them, with what this server does not know of, and read anew by each request that
//! names them. They never change and are never removed but with the account; the same filter again gets the same id.
//!
//! Spec: [filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

use std::sync::Arc;

use depesche_rules::{
    bounds::MAX_FILTER_BYTES,
    filter::{self, BadFilter},
};
use depesche_store::MAX_VALUE;
use ruma::{UserId, api::client::filter::FilterDefinition};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::{
    Base, Fault,
    keyspace::{FILTER, FILTER_NO},
    turns::Turns,
    tx::{Tx, View},
};

/// A filter as a client writes it.
pub type Written = Map<String, Value>;

// A filter is one value of the store.
const _: () = assert!(MAX_FILTER_BYTES <= MAX_VALUE);

/// Why a filter is not stored or found.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The user has none of this id.
    #[error("there is no such filter")]
    NotFound,
    /// It is none.
    #[error("this is no filter: {0}")]
    Malformed(serde_json::Error),
    /// It asks for what there is not.
    #[error(transparent)]
    Bad(#[from] BadFilter),
    /// It is larger than we keep.
    #[error("a filter may have at most {MAX_FILTER_BYTES} bytes")]
    TooLarge,
    /// The user has stored as many as we keep.
    #[error("there are too many filters")]
    TooMany,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The filters of this server's users.
pub struct Filters {
    base: Arc<Base>,
    turns: Turns,
}

impl Filters {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base, turns: Turns::default() }
    }

    /// Keeps a filter and returns its id.
    pub async fn create(&self, user: &UserId, filter: &Written) -> Result<String, FilterError> {
        filter::check(&FilterDefinition::deserialize(filter).map_err(FilterError::Malformed)?)?;
        let text =
            serde_json::to_string(filter).map_err(|error| Fault::Bug(format!("a filter is no JSON: {error}")))?;
        if text.len() > MAX_FILTER_BYTES {
            return Err(FilterError::TooLarge);
        }
        // Each new one takes the number behind the last.
        let _turn = self.turns.of(user).await;
        let (text, same) = (&text, &(user.to_owned(), Sha256::digest(&text).into()));
        let number = self.base.transact(|tx| async move {
            if let Some(number) = tx.read(&FILTER_NO, same).await? {
                return Ok(number);
            }
            let last = tx.view().scan_back(&FILTER, FILTER.under(&(user.to_owned(),)), 1).await?;
            let number = last.first().map_or(0, |((_, number), _)| number + 1);
            let most = self.base.config.limits.filters_per_user;
            if usize::try_from(number).is_ok_and(|number| number >= most) {
                return Err(FilterError::TooMany);
            }
            let key = (user.to_owned(), number);
            // Another request may have taken the number since the snapshot: the requirement finds out.
            tx.read(&FILTER, &key).await?;
            tx.put(&FILTER, &key, text);
            tx.put(&FILTER_NO, same, &number);
            Ok(number)
        });
        Ok(number.await?.to_string())
    }

    /// A filter of the user's, to go by.
    pub async fn get(&self, view: &View, user: &UserId, id: &str) -> Result<FilterDefinition, FilterError> {
        self.read(view, user, id).await
    }

    /// A filter of the user's as they wrote it.
    pub async fn written(&self, view: &View, user: &UserId, id: &str) -> Result<Written, FilterError> {
        self.read(view, user, id).await
    }

    async fn read<T: DeserializeOwned>(&self, view: &View, user: &UserId, id: &str) -> Result<T, FilterError> {
        // A number has one way to be written: "+0" and "00" are nobody's filters.
        let number = id.parse().ok().filter(|number: &u32| number.to_string() == id).ok_or(FilterError::NotFound)?;
        let key = (user.to_owned(), number);
        let text = view.get(&FILTER, &key).await?.ok_or(FilterError::NotFound)?;
        let corrupt = |_| Fault::Corrupt { table: FILTER.name, key: FILTER.key(&key) };
        Ok(serde_json::from_str(&text).map_err(corrupt)?)
    }
}

/// Puts the end of a user's filters into the batch.
pub(crate) fn forget(tx: &Tx, user: &UserId) {
    let user = (user.to_owned(),);
    tx.delete_range(FILTER.under(&user));
    tx.delete_range(FILTER_NO.under(&user));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accounts::tests::House;

    fn filter(limit: u32) -> Written {
        serde_json::from_value(json!({ "room": { "timeline": { "limit": limit } } })).unwrap()
    }

    #[tokio::test]
    async fn the_same_filter_has_the_same_id() {
        let house = House::new();
        let (alice, bob) = (house.user("alice").await, house.user("bob").await);
        let filters = Filters::new(house.base.clone());
        let first = filters.create(&alice, &filter(1)).await.unwrap();
        let second = filters.create(&alice, &filter(2)).await.unwrap();
        assert_ne!(first, second);
        assert_eq!(filters.create(&alice, &filter(1)).await.unwrap(), first);
        let view = house.base.view();
        assert_eq!(filters.written(&view, &alice, &second).await.unwrap(), filter(2));
        let read = filters.get(&view, &alice, &second).await.unwrap();
        assert_eq!(read.room.timeline.limit, Some(ruma::uint!(2)));
        for (user, id) in [
            (&bob, first.as_str()),
            (&alice, "2"),
            (&alice, "x"),
            (&alice, ""),
            (&alice, "-1"),
            (&alice, "+0"),
            (&alice, "00"),
        ] {
            assert!(matches!(filters.get(&view, user, id).await, Err(FilterError::NotFound)), "{id}");
        }
    }

    #[tokio::test]
    async fn a_filter_is_kept_as_it_was_written() {
        let house = House::new();
        let alice = house.user("alice").await;
        let filters = Filters::new(house.base.clone());
        let written = json!({
            "event_format": "client", "event_fields": [], "org.example.own": { "a": 1 },
            "room": { "include_leave": false, "timeline": { "limit": 10, "org.example.more": [1] } },
        });
        let written: Written = serde_json::from_value(written).unwrap();
        let id = filters.create(&alice, &written).await.unwrap();
        let view = house.base.view();
        assert_eq!(filters.written(&view, &alice, &id).await.unwrap(), written);
        assert!(!filters.get(&view, &alice, &id).await.unwrap().room.include_leave);
        let wrong = serde_json::from_value(json!({ "room": "all" })).unwrap();
        assert!(matches!(filters.create(&alice, &wrong).await, Err(FilterError::Malformed(_))));
    }

    #[tokio::test]
    async fn two_at_once_get_two_numbers() {
        let house = House::new();
        let alice = house.user("alice").await;
        let filters = Filters::new(house.base.clone());
        let (one, two) = (filter(1), filter(2));
        let (one, two) = tokio::join!(filters.create(&alice, &one), filters.create(&alice, &two));
        assert_ne!(one.unwrap(), two.unwrap());
    }

    #[tokio::test]
    async fn filters_are_bounded() {
        let house = House::with("[limits]\nfilters_per_user = 2\n", Vec::new());
        let alice = house.user("alice").await;
        let filters = Filters::new(house.base.clone());
        for limit in [1, 2] {
            filters.create(&alice, &filter(limit)).await.unwrap();
        }
        assert!(matches!(filters.create(&alice, &filter(3)).await, Err(FilterError::TooMany)));
        filters.create(&alice, &filter(2)).await.unwrap();
        let sized = |bytes: usize| {
            let fields = json!(["a".repeat(bytes - r#"{"event_fields":[""]}"#.len())]);
            Written::from_iter([("event_fields".to_owned(), fields)])
        };
        let bob = house.user("bob").await;
        filters.create(&bob, &sized(MAX_FILTER_BYTES)).await.unwrap();
        assert!(matches!(filters.create(&bob, &sized(MAX_FILTER_BYTES + 1)).await, Err(FilterError::TooLarge)));
    }
}
