use std::collections::BTreeSet;

use depesche_store::Position;
use ruma::{OwnedUserId, UserId, events::room::member::MembershipState};
use serde_json::json;

use super::{Home, Pair, alice, bob};
use crate::{
    Fault,
    keys::{forget_user, touch, touch_renamed},
    keyspace::MEMBER,
    records::rooms::Membership,
    topic,
};

async fn touched(home: &Home, user: &UserId) {
    home.base.transact(|tx| async move { touch(&tx, user).await }).await.unwrap();
}

#[tokio::test]
async fn a_change_wakes_the_user_and_the_rooms_the_user_is_in() {
    let home = Home::new();
    for (room, state) in [(7, MembershipState::Join), (8, MembershipState::Leave), (9, MembershipState::Invite)] {
        let member = Membership { position: 0, state, event: 1, forgotten: false, was_joined: true };
        home.write(|tx| tx.put(&MEMBER, &(alice(), room), &member)).await;
    }
    let mut watch = home.base.topics().watch();
    for room in 7..10 {
        watch.add(topic::keys_in_room(room));
    }
    watch.add(topic::user(&alice()));
    let before = home.base.view().position();
    touched(&home, &alice()).await;
    assert_eq!(watch.changed_since(before), [topic::user(&alice()), topic::keys_in_room(7)]);
}

#[tokio::test]
async fn device_keys_are_a_change_once() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let keys = json!({ "device_keys": Pair::new().device_keys(&alice(), "PHONE") });
    let start = home.base.view().position();
    home.upload(&alice(), "PHONE", keys.clone()).await.unwrap();
    let middle = home.base.view().position();
    home.upload(&alice(), "PHONE", keys).await.unwrap();
    let view = home.base.view();
    let changed = async |since| home.keys.changed_since(&view, since, 10).await.unwrap().unwrap();
    assert_eq!(changed(start).await, [alice()]);
    assert!(changed(middle).await.is_empty());
}

#[tokio::test]
async fn another_name_is_a_change_if_there_are_keys() {
    let home = Home::new();
    let user = &alice();
    let renamed = async || {
        let touched = home.base.transact(|tx| async move { touch_renamed(&tx, user, "PHONE".into()).await });
        touched.await.unwrap();
        let position = home.base.view().position();
        home.keys.changed_since(&home.base.view(), Position(position.0 - 1), 10).await.unwrap().unwrap().len()
    };
    home.device(user, "PHONE").await;
    assert_eq!(renamed().await, 0);
    let keys = json!({ "device_keys": Pair::new().device_keys(user, "PHONE") });
    home.upload(user, "PHONE", keys).await.unwrap();
    assert_eq!(renamed().await, 1);
}

#[tokio::test]
async fn touching_twice_in_a_batch_is_touching_once() {
    let home = Home::new();
    for _ in 0..2 {
        let (alice, bob) = (&alice(), &bob());
        let both = home.base.transact(|tx| async move {
            touch(&tx, alice).await?;
            touch(&tx, bob).await?;
            touch(&tx, alice).await
        });
        both.await.unwrap();
    }
    let changed = home.keys.changed_since(&home.base.view(), Position(0), 10).await.unwrap();
    assert_eq!(changed, Some(vec![alice(), bob()]));
}

#[tokio::test]
async fn the_log_and_the_heads_say_whose_keys_changed() {
    let home = Home::new();
    let user = |no: usize| OwnedUserId::try_from(format!("@u{no}:a.example")).unwrap();
    touched(&home, &user(1)).await;
    let before = home.base.view().position();
    touched(&home, &user(2)).await;
    touched(&home, &user(3)).await;
    touched(&home, &alice()).await;
    let view = home.base.view();
    let sharing = BTreeSet::from([user(1), user(2), user(4)]);
    let changed = home.keys.changed_among(&view, &alice(), before, &sharing).await.unwrap();
    assert_eq!(changed, BTreeSet::from([alice(), user(2)]));
    let all = async |most| home.keys.changed_since(&view, before, most).await.unwrap();
    assert_eq!(all(3).await, Some(vec![user(2), user(3), alice()]));
    assert_eq!(all(2).await, None, "one too many");
}

#[tokio::test]
async fn the_log_is_read_on_where_one_batch_changed_more_than_is_read_at_a_time() {
    let home = Home::new();
    let before = home.base.view().position();
    let users = &(0..1500).map(|no| OwnedUserId::try_from(format!("@u{no}:a.example")).unwrap()).collect::<Vec<_>>();
    let many = home.base.transact(|tx| async move {
        for user in users {
            touch(&tx, user).await?;
        }
        Ok::<_, Fault>(())
    });
    many.await.unwrap();
    let changed = home.keys.changed_since(&home.base.view(), before, 1500).await.unwrap().unwrap();
    assert_eq!(changed.into_iter().collect::<BTreeSet<_>>(), users.iter().cloned().collect());
}

#[tokio::test]
async fn a_user_who_ends_has_nothing_left_but_the_news() {
    let home = Home::new();
    home.device(&alice(), "PHONE").await;
    let mut request = super::one_time(&["A"]);
    request["device_keys"] = Pair::new().device_keys(&alice(), "PHONE");
    home.upload(&alice(), "PHONE", request).await.unwrap();
    let before = home.base.view().position();
    let user = &alice();
    home.base.transact(|tx| async move { forget_user(&tx, user).await }).await.unwrap();
    assert_eq!(home.query(&bob(), &alice()).await["device_keys"]["@alice:a.example"], json!({}));
    assert!(home.claim(&[(&alice(), "PHONE")]).await.is_empty());
    assert_eq!(home.keys.changed_since(&home.base.view(), before, 10).await.unwrap(), Some(vec![alice()]));
}
