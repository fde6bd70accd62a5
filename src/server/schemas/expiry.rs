//! To schema 3: what ends by itself does so by one table alone. Login tokens, tokens of OpenID and to-device transactions
//! had tables of their own for it; of the oldest transactions of rooms nobody knew when they would end.

use depesche_store::{Bytes, Range};

use crate::{
    expiry,
    keys::bounds::TRANSACTION_MEMORY_MS,
    keyspace::{LOGIN_TOKEN, OPENID_TOKEN, TO_DEVICE_TXN, TRANSACTION},
    migrations::{Migration, ROWS, Step},
    records::accounts::{LoginToken, OpenIdToken},
    rooms::lane::TRANSACTION_KEPT_MS,
    table::Record,
};

/// The numbers of the tables that end: `login_token_due`, `openid_token_due`, `to_device_txn_age`.
const ENDED: [u8; 3] = [0x16, 0x24, 0x62];

pub const MIGRATION: Migration = Migration {
    to: 3,
    what: "all rows that end by themselves end in one way",
    ends: || ENDED.map(|number| Range::prefix(vec![number])).into(),
    rows: || vec![LOGIN_TOKEN.under(&()), OPENID_TOKEN.under(&()), TRANSACTION.under(&()), TO_DEVICE_TXN.under(&())],
    at_a_time: ROWS,
    change: |step| {
        change(&step);
        Box::pin(async { Ok(()) })
    },
};

fn change(step: &Step<'_>) {
    for (key, value) in step.rows {
        // What cannot be read is good for nothing.
        let due_ms = due_ms(key, value, step.now_ms).unwrap_or(step.now_ms);
        expiry::put_stored(step.tx, key, value, due_ms);
    }
}

fn due_ms(key: &Bytes, value: &Bytes, now_ms: u64) -> Option<u64> {
    let table = *key.first()?;
    if table == LOGIN_TOKEN.number {
        LoginToken::decode(value).map(|token| token.expires_ms)
    } else if table == OPENID_TOKEN.number {
        OpenIdToken::decode(value).map(|token| token.expires_ms)
    } else if table == TO_DEVICE_TXN.number {
        u64::decode(value).map(|sent_ms| sent_ms.saturating_add(TRANSACTION_MEMORY_MS))
    } else {
        // Those that are known to end earlier do so.
        Some(now_ms.saturating_add(TRANSACTION_KEPT_MS))
    }
}
