//! What a batch in the making counts.

use depesche_store::{Engine, Options, StampAt};

use super::*;
use crate::{
    keyspace::{COUNTER, PROFILE, TIMELINE},
    testing::{engine, user},
};

#[test]
fn the_bytes_that_are_counted_along_are_those_of_the_batch() {
    let tx = Tx::new(engine(Options::default()).snapshot());
    let profile = |text: &str| tx.put(&PROFILE, &(user("alice"),), &text.to_owned());
    let stamp = Stamp { at: StampAt::Key, offset: 9 };
    let place = (7, Position(0), 0, 0);
    let counter = ("room".to_owned(),);
    let steps: [&dyn Fn(); 9] = [
        &|| profile("short"),
        &|| profile("and now something longer"),
        &|| profile(""),
        &|| tx.put(&COUNTER, &counter, &1),
        &|| tx.delete(&COUNTER, &counter),
        &|| tx.delete(&COUNTER, &counter),
        &|| tx.put_stamped(&TIMELINE, &place, &1, vec![stamp]),
        &|| tx.delete_range(TIMELINE.under(&(8_u64,))),
        &|| tx.put_stored(COUNTER.key(&counter), "stored".into()),
    ];
    assert_eq!(tx.size(), 0);
    for (n, step) in steps.iter().enumerate() {
        step();
        assert_eq!(tx.size(), tx.making.lock().batch.size(), "after step {n}");
    }
    assert_eq!(tx.writes(), 4);
    tx.finish();
    assert_eq!((tx.size(), tx.writes()), (0, 0));
}
