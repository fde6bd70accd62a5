use std::sync::{Arc, Mutex};

use depesche_rules::bounds::MAX_DEVICE_DISPLAY_NAME_BYTES;
use depesche_store::Position;
use futures::future::BoxFuture;
use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId, device_id, event_id};

use super::{DeviceError, DeviceFollower, Devices, OpenDeviceError, SEEN_EVERY_MS, SEEN_REMEMBERED, UnfitDevice};
use crate::{
    Fault,
    accounts::{
        LoginError, NewSession,
        tests::{House, PASSWORD},
    },
    keyspace::{DEVICE_SEEN, TRANSACTION},
    testing::{Fixture, user},
    topic,
    tx::Tx,
};

/// Writes down what it is told, and claims the device id `CLAIMED`.
#[derive(Default)]
struct Diary(Mutex<Vec<String>>);

impl Diary {
    fn note(&self, line: String) -> BoxFuture<'_, Result<(), Fault>> {
        self.0.lock().unwrap().push(line);
        Box::pin(async { Ok(()) })
    }
}

impl DeviceFollower for Diary {
    fn removed<'a>(
        &'a self,
        _: &'a Tx,
        user: &'a UserId,
        devices: &'a [OwnedDeviceId],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        self.note(format!("{user} lost {devices:?}"))
    }

    fn renamed<'a>(&'a self, _: &'a Tx, user: &'a UserId, device: &'a DeviceId) -> BoxFuture<'a, Result<(), Fault>> {
        self.note(format!("{user} renamed {device}"))
    }

    fn user_gone<'a>(&'a self, _: &'a Tx, user: &'a UserId) -> BoxFuture<'a, Result<(), Fault>> {
        self.note(format!("{user} is gone"))
    }

    fn claims<'a>(&'a self, _: &'a Tx, _: &'a UserId, device: &'a DeviceId) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(async move { Ok(device == "CLAIMED") })
    }
}

async fn house() -> (House, Arc<Diary>, OwnedUserId) {
    let diary = Arc::new(Diary::default());
    let house = House::with("", vec![diary.clone()]);
    let alice = house.user("alice").await;
    (house, diary, alice)
}

#[tokio::test]
async fn what_ends_a_device_ends_all_of_it_in_one_batch() {
    let (house, diary, alice) = house().await;
    house.login(&alice, "A").await;
    house.login(&alice, "B").await;
    let [a, b] = [device_id!("A"), device_id!("B")].map(ToOwned::to_owned);
    let sent = [&a, &b].map(|device| (alice.clone(), device.clone(), "send".to_owned(), "1".to_owned()));
    let tx = house.base.tx();
    for key in &sent {
        tx.put(&TRANSACTION, key, &event_id!("$a").to_owned());
    }
    house.base.commit(&tx).await.unwrap();
    let mut watch = house.base.topics().watch();
    watch.add(topic::device(&alice, &a));
    watch.add(topic::device(&alice, &b));

    house.devices.saw(&alice, &a, None).await;
    let before = house.base.view().position();
    house.devices.delete(&alice, &[a.clone(), "UNKNOWN".into()]).await.unwrap();
    assert_eq!(*diary.0.lock().unwrap(), [format!("{alice} lost {:?}", [&a])]);
    assert_eq!(watch.changed_since(before), [topic::device(&alice, &a)]);
    let view = house.base.view();
    assert!(view.get(&TRANSACTION, &sent[0]).await.unwrap().is_none());
    assert!(view.get(&TRANSACTION, &sent[1]).await.unwrap().is_some());
    assert!(view.get(&DEVICE_SEEN, &(alice.clone(), a.clone())).await.unwrap().is_none());
    assert_eq!(house.devices.ids(&view, &alice).await.unwrap(), [b]);
    // It is over: nothing is written or told again.
    house.devices.delete(&alice, &[a]).await.unwrap();
    assert_eq!(house.base.view().position(), view.position());
}

#[tokio::test]
async fn a_device_never_has_the_id_of_a_key() {
    let (house, _, alice) = house().await;
    let new = NewSession { device: Some("CLAIMED".into()), ..NewSession::default() };
    let refused = house.try_login("alice", PASSWORD, &new).await;
    assert!(matches!(refused, Err(LoginError::Device(OpenDeviceError::Unfit(UnfitDevice::CrossSigningKey)))));
    assert_eq!(house.devices.list(&alice).await.unwrap(), []);
}

#[tokio::test]
async fn devices_are_renamed_by_their_user() {
    let (house, diary, alice) = house().await;
    let bob = house.user("bob").await;
    house.login(&alice, "A").await;
    let a = device_id!("A");
    house.devices.rename(&alice, a, "Phone").await.unwrap();
    house.devices.rename(&alice, a, "Phone").await.unwrap();
    assert_eq!(*diary.0.lock().unwrap(), [format!("{alice} renamed A")]);
    let names = house.devices.names(&house.base.view(), &alice).await.unwrap();
    assert_eq!(names, [(a.to_owned(), Some("Phone".to_owned()))]);
    house.devices.rename(&alice, a, &"a".repeat(MAX_DEVICE_DISPLAY_NAME_BYTES)).await.unwrap();
    let long = house.devices.rename(&alice, a, &"a".repeat(MAX_DEVICE_DISPLAY_NAME_BYTES + 1)).await;
    assert!(matches!(long, Err(DeviceError::DisplayNameTooLong)));
    assert!(matches!(house.devices.rename(&bob, a, "Mine").await, Err(DeviceError::NotFound)));
    assert!(matches!(house.devices.get(&bob, a).await, Err(DeviceError::NotFound)));
}

#[tokio::test]
async fn a_deactivated_user_has_no_devices_and_nothing_else() {
    let (house, diary, alice) = house().await;
    house.login(&alice, "A").await;
    house.accounts.begin_deactivation(&alice, false).await.unwrap();
    let told = diary.0.lock().unwrap().clone();
    assert_eq!(told, [format!("{alice} lost {:?}", [device_id!("A")]), format!("{alice} is gone")]);
}

#[tokio::test]
async fn last_seen_is_written_once_a_minute() {
    let (house, _, alice) = house().await;
    house.login(&alice, "A").await;
    let a = device_id!("A");
    let ip = Some([192, 0, 2, 1].into());
    let saw = async || -> Position {
        house.devices.saw(&alice, a, ip).await;
        house.base.view().position()
    };
    let first = saw().await;
    let seen = house.devices.get(&alice, a).await.unwrap().seen.unwrap();
    assert_eq!((seen.at_ms, seen.ip), (house.base.clock.now_ms(), ip));
    house.pass_ms(59_999);
    assert_eq!(saw().await, first);
    house.pass_ms(1);
    assert!(saw().await > first);
    let seen = house.devices.list(&alice).await.unwrap().remove(0).seen.unwrap();
    assert_eq!(seen.at_ms, house.base.clock.now_ms());
    // Who is gone leaves no trace.
    house.devices.log_out(&alice, a).await.unwrap();
    house.pass_ms(60_000);
    saw().await;
    assert!(house.base.view().get(&DEVICE_SEEN, &(alice.clone(), a.to_owned())).await.unwrap().is_none());
}

#[tokio::test]
async fn a_login_cannot_slip_past_the_end_of_all_devices() {
    let (house, _, alice) = house().await;
    house.login(&alice, "A").await;
    let tx = house.base.tx();
    let seen = house.devices.ids(tx.view(), &alice).await.unwrap();
    house.login(&alice, "B").await;
    house.devices.remove(&tx, &alice, &seen).await.unwrap();
    let conflict = house.base.commit(&tx).await;
    assert!(matches!(conflict, Err(Fault::Commit(depesche_store::CommitError::Conflict(_)))));
}

#[tokio::test]
async fn one_device_too_many_does_not_make_all_others_due() {
    let devices = Devices::new(Arc::clone(&Fixture::new().base), Vec::new());
    let key = |n: usize| (user("alice"), OwnedDeviceId::from(n.to_string()));
    for n in 0..=SEEN_REMEMBERED {
        assert!(devices.is_due(&key(n), 1));
    }
    let due = (0..=SEEN_REMEMBERED).filter(|n| devices.is_due(&key(*n), 2)).count();
    assert_eq!(due, 0);
    assert!(devices.is_due(&key(5), 1 + SEEN_EVERY_MS));
}

#[tokio::test]
async fn ids_that_nobody_has_cost_a_deletion_nothing() {
    let (house, _, alice) = house().await;
    house.login(&alice, "A").await;
    let mut named: Vec<OwnedDeviceId> = (0..1000).map(|number| format!("UNKNOWN{number}").into()).collect();
    named.extend(["A".into(), "A".into()]);
    let tx = house.base.tx();
    house.devices.remove(&tx, &alice, &named).await.unwrap();
    let batch = tx.finish();
    assert!(batch.requirements.len() < 10, "{}", batch.requirements.len());
    house.devices.delete(&alice, &named).await.unwrap();
    assert_eq!(house.devices.list(&alice).await.unwrap(), []);
}
