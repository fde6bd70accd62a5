//! Filters that clients store and name in later requests.
//!
//! They never change and are never removed but with the account; the same filter again gets the same id.
//!
//! Spec: [filtering](https://spec.matrix.org/v1.19/client-server-api/#filtering).

use std::sync::Arc;

use depesche_rules::{
    bounds::MAX_FILTER_BYTES,
    filter::{self, BadFilter},
};
use depesche_store::MAX_VALUE;
use ruma::{UserId, api::client::filter::FilterDefinition};
use sha2::{Digest, Sha256};

use crate::{
    Base, Fault,
    keyspace::{FILTER, FILTER_NO},
    tx::{Tx, View},
};

// A filter is one value of the store.
const _: () = assert!(MAX_FILTER_BYTES <= MAX_VALUE);

/// Why a filter is not stored or found.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The user has none of this id.
    #[error("there is no such filter")]
    NotFound,
    /// It is none.
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
}

impl Filters {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base }
    }

    /// Keeps a filter and returns its id.
    pub async fn create(&self, user: &UserId, filter: &FilterDefinition) -> Result<String, FilterError> {
        filter::check(filter)?;
        let text =
            serde_json::to_string(filter).map_err(|error| Fault::Bug(format!("a filter is no JSON: {error}")))?;
        if text.len() > MAX_FILTER_BYTES {
            return Err(FilterError::TooLarge);
        }
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

    /// A filter of the user's.
    pub async fn get(&self, view: &View, user: &UserId, id: &str) -> Result<FilterDefinition, FilterError> {
        let number: u32 = id.parse().map_err(|_| FilterError::NotFound)?;
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

    fn filter(limit: u32) -> FilterDefinition {
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
        let stored = filters.get(&view, &alice, &second).await.unwrap();
        assert_eq!(serde_json::to_value(stored).unwrap(), serde_json::to_value(filter(2)).unwrap());
        for (user, id) in [(&bob, first.as_str()), (&alice, "2"), (&alice, "x"), (&alice, ""), (&alice, "-1")] {
            assert!(matches!(filters.get(&view, user, id).await, Err(FilterError::NotFound)), "{id}");
        }
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
        let sized = |bytes: usize| FilterDefinition {
            event_fields: Some(vec!["a".repeat(bytes - r#"{"event_fields":[""]}"#.len())]),
            ..FilterDefinition::default()
        };
        let bob = house.user("bob").await;
        filters.create(&bob, &sized(MAX_FILTER_BYTES)).await.unwrap();
        assert!(matches!(filters.create(&bob, &sized(MAX_FILTER_BYTES + 1)).await, Err(FilterError::TooLarge)));
    }
}
