//! Two people and a third device with matrix-rust-sdk against a running server, whose URL is in DEPESCHE_URL.
//!
//! A check looks at what *another* client than the acting one received and decrypted, never at a local echo. Ends with
//! one line `N passed, N failed`.

// The futures of the SDK nest deeply.
#![recursion_limit = "256"]

mod person;

use std::{future::Future, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use matrix_sdk::{
    RoomState,
    attachment::AttachmentConfig,
    media::{MediaFormat, MediaRequestParameters, MediaThumbnailSettings},
    notification_settings::RoomNotificationMode,
    room::{IncludeRelations, ListThreadsOptions, RelationsOptions},
    ruma::{
        OwnedEventId, OwnedRoomId, OwnedUserId,
        api::client::{
            account::register::{RegistrationKind, v3::Request as Register},
            push::set_pushrule_actions::v3::Request as SetActions,
            receipt::create_receipt::v3::ReceiptType,
            room::create_room::v3::{Request as CreateRoom, RoomPreset},
            uiaa::{AuthData, Dummy},
        },
        events::{
            InitialStateEvent,
            reaction::ReactionEventContent,
            receipt::ReceiptThread,
            relation::{Annotation, InReplyTo, RelationType, Replacement, Reply, Thread},
            room::{
                encryption::RoomEncryptionEventContent,
                message::{Relation, RoomMessageEventContent, RoomMessageEventContentWithoutRelation},
            },
        },
        push::{Action, HighlightTweakValue, RuleKind, Tweak},
        uint,
    },
};
use person::{Person, compare};
use serde_json::Value;

const PASSWORD: &str = "correct horse battery staple";

/// The promises kept and broken so far. What follows builds on it: after a failure the rest counts as failed too.
#[derive(Default)]
struct Count {
    passed: u32,
    failed: u32,
}

impl Count {
    async fn check<T>(&mut self, promise: &str, act: impl Future<Output = Result<T>>) -> Option<T> {
        if self.failed > 0 {
            self.failed += 1;
            println!("not run  {promise}");
            return None;
        }
        match tokio::time::timeout(Duration::from_secs(180), act).await.context("not done in time").flatten() {
            Ok(value) => {
                self.passed += 1;
                println!("ok       {promise}");
                Some(value)
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED   {promise}\n{error:#}");
                None
            }
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut count = Count::default();
    let _ = run(&mut count).await;
    println!("{} passed, {} failed", count.passed, count.failed);
    if count.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn text(body: &str) -> RoomMessageEventContent {
    RoomMessageEventContent::text_plain(body)
}

async fn register(url: &str, name: &str) -> Result<OwnedUserId> {
    let client = matrix_sdk::Client::builder().homeserver_url(url).build().await?;
    let mut request = Register::new();
    request.kind = RegistrationKind::User;
    request.username = Some(name.to_owned());
    request.password = Some(PASSWORD.to_owned());
    request.inhibit_login = true;
    request.auth = Some(AuthData::Dummy(Dummy::new()));
    Ok(client.matrix_auth().register(request).await?.user_id)
}

/// The acts, in order. `None` ends them: the rest is reported as not run.
async fn run(count: &mut Count) -> Option<()> {
    let start = async {
        let url = std::env::var("DEPESCHE_URL").context("DEPESCHE_URL is not set: the server to test")?;
        let tag = std::process::id();
        let (alice, bob) =
            (register(&url, &format!("alice-{tag}")).await?, register(&url, &format!("bob-{tag}")).await?);
        let (alice, bob) = (Person::log_in(&url, &alice, PASSWORD).await?, Person::log_in(&url, &bob, PASSWORD).await?);
        anyhow::Ok((url, alice, bob))
    };
    let (url, alice, mut bob) = count.check("two people log in, each with a device that has keys", start).await?;
    let (alice_id, bob_id) = (alice.id().to_owned(), bob.id().to_owned());

    let recovery = count
        .check("both set up cross-signing, secret storage and a key backup", async {
            bob.bootstrap().await?;
            alice.bootstrap().await
        })
        .await?;

    let room = count.check("an invite to an encrypted room arrives and is accepted", begin(&alice, &bob)).await?;
    let hello =
        count.check("bob decrypts what alice writes, alice what bob writes", greet(&alice, &bob, &room)).await?;
    count.check("a reply, an edit and a reaction arrive", relate(&alice, &bob, &room, &hello)).await;
    count.check("a thread is listed with its latest message, and paged", thread(&alice, &bob, &room, &hello)).await;
    count.check("receipts: public, private and of a thread", receipts(&alice, &bob, &room, &hello)).await;
    count.check("typing is shown, and ends", typing(&alice, &bob, &room)).await;
    count
        .check("a picture: encrypted in the room, as an avatar with its thumbnail", pictures(&alice, &bob, &room))
        .await;

    let emoji = async {
        // The request goes into the room of the two; otherwise the library makes one.
        alice.client.account().mark_as_dm(&room, std::slice::from_ref(&bob_id)).await?;
        alice.until("the room of the two", || async { alice.client.get_dm_room(&bob_id).map(drop) }).await?;
        let identity = alice.client.encryption().request_user_identity(&bob_id).await?.context("bob's identity")?;
        let mine = identity.request_verification().await?;
        compare(&mine, &bob.requested(&alice_id).await?).await?;
        // His library sends his signature when it is done, and hears of it from the server.
        bob.until("alice as verified", || async {
            let seen = bob.client.encryption().get_user_identity(&alice_id).await.ok().flatten();
            seen.filter(|seen| seen.is_verified()).map(drop)
        })
        .await
    };
    count.check("alice and bob verify each other by emoji", emoji).await;

    let third = async {
        let tablet = Person::log_in(&url, &alice_id, PASSWORD).await?;
        let device = tablet.client.device_id().context("a device")?.to_owned();
        // A request from a device that is not known yet is not listened to.
        alice
            .until("the tablet", || async {
                alice.client.encryption().get_device(&alice_id, &device).await.ok().flatten().map(drop)
            })
            .await?;
        let own = tablet.client.encryption().request_user_identity(&alice_id).await?.context("own identity")?;
        let mine = own.request_verification().await?;
        compare(&mine, &alice.requested(&alice_id).await?).await?;
        bob.until("the tablet signed by alice", || async {
            let identity = bob.client.encryption().request_user_identity(&alice_id).await;
            drop(identity);
            let device = bob.client.encryption().get_device(&alice_id, &device).await.ok().flatten()?;
            device.is_cross_signed_by_owner().then_some(())
        })
        .await?;
        Ok(tablet)
    };
    let mut tablet = count.check("a third device logs in and is verified by the first", third).await?;

    let restore = async {
        alice.client.encryption().backups().wait_for_steady_state().await?;
        tablet.client.encryption().recovery().recover(&recovery).await?;
        tablet.client.encryption().backups().download_room_keys_for_room(&room).await?;
        let texts = tablet.history(&room).await?;
        for body in ["hello bob", "hello alice", "I reply"] {
            ensure!(texts.iter().any(|text| text == body), "{body}: {texts:?}");
        }
        Ok(())
    };
    count.check("the third device restores the key backup and reads what was before it", restore).await;

    let both = async {
        bob.room(&room)?.send(text("to both")).await?;
        alice.expect_text(&bob_id, "to both").await?;
        tablet.expect_text(&bob_id, "to both").await?;
        tablet.room(&room)?.send(text("from the tablet")).await?;
        alice.expect_text(&alice_id, "from the tablet").await?;
        bob.expect_text(&alice_id, "from the tablet").await?;
        Ok(())
    };
    count.check("all three devices read each other", both).await;
    count.check("push rules set on one device hold on the other", push_rules(&alice, &tablet, &room)).await;
    count.check("what push rules silence is not counted; a keyword is", counted(&alice, &bob, &room)).await;

    let gap = async {
        bob.pause();
        let many: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
        for body in &many {
            alice.room(&room)?.send(text(body)).await?;
        }
        bob.follow();
        bob.expect_text(&alice_id, "message 39").await?;
        let texts = bob.history(&room).await?;
        let got: Vec<_> = texts.into_iter().filter(|text| text.starts_with("message ")).collect();
        ensure!(got == many, "{got:?}");
        Ok(())
    };
    count.check("after many messages the sync is limited, and the gap is filled without a loss", gap).await;
    count
        .check("who leaves gets nothing more; who is invited again reads on", comings(&alice, &bob, &tablet, &room))
        .await;
    tablet.pause();
    Some(())
}

async fn begin(alice: &Person, bob: &Person) -> Result<OwnedRoomId> {
    let mut request = CreateRoom::new();
    request.name = Some("Encrypted".to_owned());
    request.invite = vec![bob.id().to_owned()];
    request.preset = Some(RoomPreset::TrustedPrivateChat);
    let encryption = RoomEncryptionEventContent::with_recommended_defaults();
    request.initial_state = vec![InitialStateEvent::with_empty_state_key(encryption).to_raw_any()];
    let room = alice.client.create_room(request).await?.room_id().to_owned();
    bob.is_in(&room, RoomState::Invited).await?;
    bob.client.join_room_by_id(&room).await?;
    bob.is_in(&room, RoomState::Joined).await?;
    alice
        .until("bob in the room", || async {
            let member = alice.client.get_room(&room)?.get_member(bob.id()).await.ok().flatten()?;
            (member.membership().as_str() == "join").then_some(())
        })
        .await?;
    Ok(room)
}

async fn greet(alice: &Person, bob: &Person, room: &OwnedRoomId) -> Result<OwnedEventId> {
    let sent = alice.room(room)?.send(text("hello bob")).await?.response.event_id;
    let hello = bob.expect_text(alice.id(), "hello bob").await?;
    ensure!(hello == sent, "another event: {hello}");
    bob.room(room)?.send(text("hello alice")).await?;
    alice.expect_text(bob.id(), "hello alice").await?;
    Ok(hello)
}

async fn relate(alice: &Person, bob: &Person, room: &OwnedRoomId, hello: &OwnedEventId) -> Result<()> {
    let mut reply = text("I reply");
    reply.relates_to = Some(Relation::Reply(Reply::new(InReplyTo::new(hello.clone()))));
    bob.room(room)?.send(reply).await?;
    let event = alice.expect(bob.id(), "the reply", |event| event["content"]["body"] == "I reply").await?;
    ensure!(event["content"]["m.relates_to"]["m.in_reply_to"]["event_id"] == hello.as_str(), "{event}");

    let mut edit = text("* hello dear bob");
    let content = RoomMessageEventContentWithoutRelation::text_plain("hello dear bob");
    edit.relates_to = Some(Relation::Replacement(Replacement::new(hello.clone(), content)));
    alice.room(room)?.send(edit).await?;
    let is_edit = |event: &Value| event["content"]["m.new_content"]["body"] == "hello dear bob";
    bob.expect(alice.id(), "the edit", is_edit).await?;

    bob.room(room)?.send(ReactionEventContent::new(Annotation::new(hello.clone(), "👍".to_owned()))).await?;
    alice
        .until("the reaction", || async {
            let options = RelationsOptions {
                include_relations: IncludeRelations::RelationsOfType(RelationType::Annotation),
                ..RelationsOptions::default()
            };
            let found = alice.client.get_room(room)?.relations(hello.clone(), options).await.ok()?;
            let event: Value = found.chunk.first()?.raw().deserialize_as_unchecked().ok()?;
            (event["content"]["m.relates_to"]["key"] == "👍").then_some(())
        })
        .await
}

async fn thread(alice: &Person, bob: &Person, room: &OwnedRoomId, root: &OwnedEventId) -> Result<()> {
    let mut latest = root.clone();
    for n in 0..3 {
        let mut message = text(&format!("in the thread {n}"));
        message.relates_to = Some(Relation::Thread(Thread::plain(root.clone(), latest)));
        latest = bob.room(room)?.send(message).await?.response.event_id;
    }
    alice.expect_text(bob.id(), "in the thread 2").await?;
    let threads = alice.room(room)?.list_threads(ListThreadsOptions::default()).await?;
    ensure!(threads.chunk.len() == 1, "{} threads", threads.chunk.len());
    let event: Value = threads.chunk[0].raw().deserialize_as_unchecked()?;
    let summary = &event["unsigned"]["m.relations"]["m.thread"];
    ensure!(event["event_id"] == root.as_str() && summary["count"] == 3, "{event}");
    ensure!(summary["latest_event"]["event_id"] == latest.as_str(), "{summary}");
    let (mut texts, mut from) = (Vec::new(), None);
    loop {
        let options = RelationsOptions {
            from: from.take(),
            limit: Some(uint!(2)),
            include_relations: IncludeRelations::RelationsOfType(RelationType::Thread),
            ..RelationsOptions::default()
        };
        let page = alice.room(room)?.relations(root.clone(), options).await?;
        for event in page.chunk {
            let event: Value = event.raw().deserialize_as_unchecked()?;
            texts.push(event["content"]["body"].as_str().unwrap_or_default().to_owned());
        }
        from = page.next_batch_token;
        if from.is_none() {
            break;
        }
    }
    ensure!(texts == ["in the thread 2", "in the thread 1", "in the thread 0"], "{texts:?}");
    Ok(())
}

async fn receipts(alice: &Person, bob: &Person, room: &OwnedRoomId, root: &OwnedEventId) -> Result<()> {
    let latest = alice.room(room)?.send(text("read this")).await?.response.event_id;
    bob.expect_text(alice.id(), "read this").await?;
    let unread = |person: &Person| person.client.get_room(room).map(|room| room.unread_notification_counts());
    bob.until("one unread message", || async { unread(bob).filter(|counts| counts.notification_count >= 1).map(drop) })
        .await?;
    let of_bob = bob.room(room)?;
    of_bob.send_single_receipt(ReceiptType::Read, ReceiptThread::Unthreaded, latest.clone()).await?;
    alice.receipt(room, [latest.as_str(), "m.read", bob.id().as_str()], None).await?;
    bob.until("nothing unread", || async { unread(bob).filter(|counts| counts.notification_count == 0).map(drop) })
        .await?;

    let more = alice.room(room)?.send(text("read this in private")).await?.response.event_id;
    bob.expect_text(alice.id(), "read this in private").await?;
    of_bob.send_single_receipt(ReceiptType::ReadPrivate, ReceiptThread::Unthreaded, more.clone()).await?;
    bob.receipt(room, [more.as_str(), "m.read.private", bob.id().as_str()], None).await?;

    let mut message = text("read this in the thread");
    message.relates_to = Some(Relation::Thread(Thread::plain(root.clone(), root.clone())));
    let in_thread = alice.room(room)?.send(message).await?.response.event_id;
    bob.expect_text(alice.id(), "read this in the thread").await?;
    of_bob.send_single_receipt(ReceiptType::Read, ReceiptThread::Thread(root.clone()), in_thread.clone()).await?;
    alice.receipt(room, [in_thread.as_str(), "m.read", bob.id().as_str()], Some(root.as_str())).await?;
    ensure!(
        !alice.has_receipt(room, [more.as_str(), "m.read.private", bob.id().as_str()]),
        "alice saw a private receipt of bob"
    );
    Ok(())
}

async fn typing(alice: &Person, bob: &Person, room: &OwnedRoomId) -> Result<()> {
    bob.room(room)?.typing_notice(true).await?;
    alice.typing(room, &[bob.id()]).await?;
    bob.room(room)?.typing_notice(false).await?;
    alice.typing(room, &[]).await
}

/// The smallest picture with a size that a thumbnail can have: 64 by 64, grey.
fn picture() -> Vec<u8> {
    include_bytes!("grey.png").to_vec()
}

async fn pictures(alice: &Person, bob: &Person, room: &OwnedRoomId) -> Result<()> {
    let image = picture();
    let png: mime::Mime = "image/png".parse()?;
    alice.room(room)?.send_attachment("grey.png", &png, image.clone(), AttachmentConfig::new()).await?;
    let event = bob.expect(alice.id(), "the picture", |event| event["content"]["body"] == "grey.png").await?;
    let source = serde_json::from_value(event["content"].clone()).context("where the picture is")?;
    let request = MediaRequestParameters { source, format: MediaFormat::File };
    let got = bob.client.media().get_media_content(&request, false).await?;
    ensure!(got == image, "another picture of {} bytes", got.len());

    alice.client.account().upload_avatar(&png, image.clone()).await?;
    let avatar = bob
        .until("alice's avatar", || async {
            bob.client.get_room(room)?.get_member(alice.id()).await.ok()??.avatar_url().map(ToOwned::to_owned)
        })
        .await?;
    let source = matrix_sdk::ruma::events::room::MediaSource::Plain(avatar);
    let format = MediaFormat::Thumbnail(MediaThumbnailSettings::new(uint!(32), uint!(32)));
    let thumbnail = bob.client.media().get_media_content(&MediaRequestParameters { source, format }, false).await?;
    ensure!(thumbnail.starts_with(b"\x89PNG") || thumbnail.starts_with(b"\xFF\xD8"), "no picture");
    ensure!(thumbnail != image, "the thumbnail is the whole picture");
    Ok(())
}

async fn push_rules(one: &Person, other: &Person, room: &OwnedRoomId) -> Result<()> {
    let settings = one.client.notification_settings().await;
    settings.set_room_notification_mode(room, RoomNotificationMode::Mute).await?;
    settings.add_keyword("depesche".to_owned()).await?;
    let theirs = other.client.notification_settings().await;
    other
        .until("the room muted and the keyword", || async {
            let mode = theirs.get_user_defined_room_notification_mode(room).await;
            let keywords = theirs.enabled_keywords().await;
            (mode == Some(RoomNotificationMode::Mute) && keywords.contains("depesche")).then_some(())
        })
        .await?;
    theirs.unmute_room(room, true.into(), true.into()).await?;
    one.until("the room no longer muted", || async {
        let mode = settings.get_user_defined_room_notification_mode(room).await;
        (mode != Some(RoomNotificationMode::Mute)).then_some(())
    })
    .await
}

/// The count comes with the message: who has seen this one has seen what it does to the count.
async fn counted(alice: &Person, bob: &Person, room: &OwnedRoomId) -> Result<()> {
    let counts = |room: &OwnedRoomId| alice.client.get_room(room).map(|room| room.unread_notification_counts());
    let settings = alice.client.notification_settings().await;
    let before = bob.room(room)?.send(text("before the silence")).await?.response.event_id;
    alice.expect_text(bob.id(), "before the silence").await?;
    alice.room(room)?.send_single_receipt(ReceiptType::ReadPrivate, ReceiptThread::Unthreaded, before).await?;
    alice
        .until("all read", || async { counts(room).filter(|counts| counts.notification_count == 0).map(drop) })
        .await?;
    settings.set_room_notification_mode(room, RoomNotificationMode::Mute).await?;
    bob.room(room)?.send(text("into the silence")).await?;
    alice.expect_text(bob.id(), "into the silence").await?;
    ensure!(counts(room).is_some_and(|counts| counts.notification_count == 0), "{:?}", counts(room));
    settings.delete_user_defined_room_rules(room).await?;

    // Words are for the server to find where it can read them.
    let mut request = CreateRoom::new();
    request.invite = vec![alice.id().to_owned()];
    request.preset = Some(RoomPreset::TrustedPrivateChat);
    let plain = bob.client.create_room(request).await?.room_id().to_owned();
    alice.is_in(&plain, RoomState::Invited).await?;
    alice.client.join_room_by_id(&plain).await?;
    alice.is_in(&plain, RoomState::Joined).await?;
    settings.set_room_notification_mode(&plain, RoomNotificationMode::MentionsAndKeywordsOnly).await?;
    settings.add_keyword("depesche".to_owned()).await?;
    let highlight = vec![Action::Notify, Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes))];
    alice.client.send(SetActions::new(RuleKind::Content, "depesche".to_owned(), highlight)).await?;
    for (body, wanted) in [("nothing to note", (0, 0)), ("a Depesche came", (1, 1)), ("nothing more", (1, 1))] {
        let said = bob.room(&plain)?.send(text(body)).await?.response.event_id;
        alice.until(body, || async { alice.has_seen(&said).then_some(()) }).await?;
        let found = counts(&plain).map(|counts| (counts.notification_count, counts.highlight_count));
        ensure!(found == Some(wanted), "{body}: {found:?}");
    }
    settings.remove_keyword("depesche").await?;
    Ok(())
}

async fn comings(alice: &Person, bob: &Person, tablet: &Person, room: &OwnedRoomId) -> Result<()> {
    bob.room(room)?.leave().await?;
    alice
        .until("bob gone", || async {
            let member = alice.client.get_room(room)?.get_member(bob.id()).await.ok().flatten();
            member.is_none_or(|member| member.membership().as_str() == "leave").then_some(())
        })
        .await?;
    let behind = alice.room(room)?.send(text("behind his back")).await?.response.event_id;
    tablet.expect_text(alice.id(), "behind his back").await?;
    bob.is_in(room, RoomState::Left).await?;
    if bob.has_seen(&behind) {
        bail!("bob read on after he had left");
    }
    alice.room(room)?.invite_user_by_id(bob.id()).await?;
    bob.is_in(room, RoomState::Invited).await?;
    bob.client.join_room_by_id(room).await?;
    alice
        .until("bob back", || async {
            let member = alice.client.get_room(room)?.get_member(bob.id()).await.ok().flatten()?;
            (member.membership().as_str() == "join").then_some(())
        })
        .await?;
    alice.room(room)?.send(text("welcome back")).await?;
    bob.expect_text(alice.id(), "welcome back").await?;
    Ok(())
}
