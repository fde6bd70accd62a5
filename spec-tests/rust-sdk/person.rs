//! One person on one device: a client of matrix-rust-sdk with its own encryption, that syncs and remembers what it saw.
//! Knows nothing of what is being tested.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::StreamExt as _;
use matrix_sdk::{
    Client, Room, RoomState,
    config::SyncSettings,
    deserialized_responses::EncryptionInfo,
    encryption::{
        BackupDownloadStrategy, EncryptionSettings,
        verification::{SasState, SasVerification, Verification, VerificationRequest, VerificationRequestState},
    },
    room::MessagesOptions,
    ruma::{
        OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId,
        api::client::{
            filter::FilterDefinition,
            sync::sync_events::v3::Filter,
            uiaa::{AuthData, MatrixUserIdentifier, Password, UserIdentifier},
        },
        events::{
            AnySyncTimelineEvent, key::verification::request::ToDeviceKeyVerificationRequestEvent,
            receipt::SyncReceiptEvent, typing::SyncTypingEvent,
        },
        serde::Raw,
        uint,
    },
};
use serde_json::Value;
use tokio::task::JoinHandle;

/// How long to wait for something that another client must come to know.
const PATIENCE: Duration = Duration::from_secs(60);

/// An event as this device got it from the server, decrypted where it was encrypted.
#[derive(Clone, Debug)]
struct Seen {
    encrypted: bool,
    event: Value,
}

#[derive(Default)]
struct Memory {
    seen: Vec<Seen>,
    requests: Vec<(OwnedUserId, String)>,
    receipts: Vec<(OwnedRoomId, Value)>,
    typing: Vec<(OwnedRoomId, Vec<OwnedUserId>)>,
}

pub struct Person {
    pub client: Client,
    password: String,
    memory: Arc<Mutex<Memory>>,
    syncing: Option<JoinHandle<()>>,
}

impl Person {
    /// Logs in on a new device. A short timeline, so that what the device misses leaves a gap.
    pub async fn log_in(url: &str, user: &UserId, password: &str) -> Result<Self> {
        let settings = EncryptionSettings {
            auto_enable_cross_signing: false,
            auto_enable_backups: false,
            backup_download_strategy: BackupDownloadStrategy::Manual,
        };
        let client = Client::builder().homeserver_url(url).with_encryption_settings(settings).build().await?;
        client.matrix_auth().login_username(user, password).initial_device_display_name("rust-sdk").send().await?;
        let mut person = Self { client, password: password.to_owned(), memory: Arc::default(), syncing: None };
        person.remember();
        person.client.sync_once(Self::settings()).await?;
        person.follow();
        person.client.encryption().wait_for_e2ee_initialization_tasks().await;
        Ok(person)
    }

    fn settings() -> SyncSettings {
        let mut filter = FilterDefinition::default();
        filter.room.timeline.limit = Some(uint!(5));
        SyncSettings::default().filter(Filter::FilterDefinition(filter)).timeout(Duration::from_secs(10))
    }

    fn remember(&self) {
        let memory = Arc::clone(&self.memory);
        self.client.add_event_handler(move |raw: Raw<AnySyncTimelineEvent>, info: Option<EncryptionInfo>| {
            let memory = Arc::clone(&memory);
            async move {
                let Ok(event) = raw.deserialize_as_unchecked::<Value>() else { return };
                let mut memory = memory.lock().unwrap();
                if event["content"]["msgtype"] == "m.key.verification.request"
                    && let (Some(sender), Some(id)) = (event["sender"].as_str(), event["event_id"].as_str())
                {
                    memory.requests.push((OwnedUserId::try_from(sender).unwrap(), id.to_owned()));
                }
                memory.seen.push(Seen { encrypted: info.is_some(), event });
            }
        });
        let memory = Arc::clone(&self.memory);
        self.client.add_event_handler(move |event: ToDeviceKeyVerificationRequestEvent| {
            memory.lock().unwrap().requests.push((event.sender, event.content.transaction_id.to_string()));
            async {}
        });
        let memory = Arc::clone(&self.memory);
        self.client.add_event_handler(move |event: SyncReceiptEvent, room: Room| {
            let content = serde_json::to_value(&event.content).unwrap_or_default();
            memory.lock().unwrap().receipts.push((room.room_id().to_owned(), content));
            async {}
        });
        let memory = Arc::clone(&self.memory);
        self.client.add_event_handler(move |event: SyncTypingEvent, room: Room| {
            memory.lock().unwrap().typing.push((room.room_id().to_owned(), event.content.user_ids));
            async {}
        });
    }

    /// Syncs from now on.
    pub fn follow(&mut self) {
        let client = self.client.clone();
        self.syncing = Some(tokio::spawn(async move {
            if let Err(error) = client.sync(Self::settings()).await {
                eprintln!("the sync of {:?} ended: {error}", client.user_id());
            }
        }));
    }

    /// Stops syncing until [`Self::follow`].
    pub fn pause(&mut self) {
        if let Some(syncing) = self.syncing.take() {
            syncing.abort();
        }
    }

    pub fn id(&self) -> &UserId {
        self.client.user_id().expect("logged in")
    }

    pub fn room(&self, room: &RoomId) -> Result<Room> {
        self.client.get_room(room).with_context(|| format!("{} does not know {room}", self.id()))
    }

    /// Proof for user-interactive authentication.
    fn auth(&self, session: Option<String>) -> AuthData {
        let mut password = Password::new(
            UserIdentifier::Matrix(MatrixUserIdentifier::new(self.id().to_string())),
            self.password.clone(),
        );
        password.session = session;
        AuthData::Password(password)
    }

    /// Cross-signing, secret storage and a key backup, as a first device makes them; gives the recovery key.
    pub async fn bootstrap(&self) -> Result<String> {
        let encryption = self.client.encryption();
        if let Err(error) = encryption.bootstrap_cross_signing(None).await {
            let asked = error.as_uiaa_response().context("no authentication asked for")?;
            encryption.bootstrap_cross_signing(Some(self.auth(asked.session.clone()))).await?;
        }
        Ok(encryption.recovery().enable().wait_for_backups_to_upload().await?)
    }

    /// Waits until `probe` gives something.
    pub async fn until<T, F>(&self, what: &str, mut probe: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Option<T>>,
    {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(value) = probe().await {
                return Ok(value);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let memory = self.memory.lock().unwrap();
        let last: Vec<_> = memory.seen.iter().rev().take(8).map(|seen| seen.event.to_string()).collect();
        bail!("{}: not seen: {what}; the last events:\n{}", self.id(), last.join("\n"))
    }

    /// Waits for an event of `sender` that fits; only what was encrypted on the wire and decrypted here counts.
    pub async fn expect(&self, sender: &UserId, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.until(what, || async {
            let memory = self.memory.lock().unwrap();
            let mut seen = memory.seen.iter().filter(|seen| seen.encrypted && seen.event["sender"] == sender.as_str());
            seen.find(|seen| fits(&seen.event)).map(|seen| seen.event.clone())
        })
        .await
    }

    /// Waits for a text that `sender` wrote.
    pub async fn expect_text(&self, sender: &UserId, body: &str) -> Result<OwnedEventId> {
        let event = self.expect(sender, body, |event| event["content"]["body"] == body).await?;
        OwnedEventId::try_from(event["event_id"].as_str().unwrap_or_default()).map_err(|error| anyhow!(error))
    }

    pub fn has_seen(&self, id: &OwnedEventId) -> bool {
        self.memory.lock().unwrap().seen.iter().any(|seen| seen.event["event_id"] == id.as_str())
    }

    pub async fn is_in(&self, room: &RoomId, state: RoomState) -> Result<()> {
        self.until(&format!("{state:?} in {room}"), || async {
            self.client.get_room(room).filter(|room| room.state() == state).map(drop)
        })
        .await
    }

    /// Waits for a receipt: event, type, user, thread.
    pub async fn receipt(&self, room: &RoomId, path: [&str; 3], thread: Option<&str>) -> Result<()> {
        self.until(&format!("the receipt {path:?} {thread:?}"), || async {
            let memory = self.memory.lock().unwrap();
            let of_room = memory.receipts.iter().filter(|(of, _)| of == room);
            let mut found = of_room.map(|(_, content)| &content[path[0]][path[1]][path[2]]);
            found.any(|receipt| receipt["ts"].is_u64() && receipt["thread_id"].as_str() == thread).then_some(())
        })
        .await
    }

    pub fn has_receipt(&self, room: &RoomId, path: [&str; 3]) -> bool {
        let memory = self.memory.lock().unwrap();
        memory.receipts.iter().any(|(of, content)| of == room && !content[path[0]][path[1]][path[2]].is_null())
    }

    pub async fn typing(&self, room: &RoomId, users: &[&UserId]) -> Result<()> {
        self.until(&format!("typing: {users:?}"), || async {
            let memory = self.memory.lock().unwrap();
            memory.typing.iter().any(|(of, typing)| of == room && typing == users).then_some(())
        })
        .await
    }

    /// All texts of a room in their order, paging back to its beginning, as the server has them and this device can
    /// decrypt them.
    pub async fn history(&self, room: &RoomId) -> Result<Vec<String>> {
        let room = self.room(room)?;
        let (mut texts, mut from) = (Vec::new(), None);
        loop {
            let mut options = MessagesOptions::backward().from(from.as_deref());
            options.limit = uint!(30);
            let page = room.messages(options).await?;
            for event in page.chunk {
                let event: Value = event.raw().deserialize_as_unchecked()?;
                if event["type"] == "m.room.message" {
                    texts.push(event["content"]["body"].as_str().unwrap_or_default().to_owned());
                } else if event["type"] == "m.room.encrypted" {
                    texts.push("(not decrypted)".to_owned());
                }
            }
            match page.end {
                Some(end) => from = Some(end),
                None => break,
            }
        }
        texts.reverse();
        Ok(texts)
    }

    /// The request for verification that another device sent.
    pub async fn requested(&self, by: &UserId) -> Result<VerificationRequest> {
        self.until("a request to verify", || async {
            let flows = self.memory.lock().unwrap().requests.clone();
            for (sender, flow) in flows.iter().rev().filter(|(sender, _)| sender == by) {
                let request = self.client.encryption().get_verification_request(sender, flow).await;
                if let Some(request) = request.filter(|request| !request.is_done() && !request.we_started()) {
                    return Some(request);
                }
            }
            None
        })
        .await
    }
}

/// Two devices verify each other: both show the same emoji, both say so.
pub async fn compare(one: &VerificationRequest, other: &VerificationRequest) -> Result<()> {
    other.accept().await?;
    ready(one).await?;
    let mine = one.start_sas().await?.context("no SAS begun")?;
    let theirs = begun(other).await?;
    theirs.accept().await?;
    let (mine_shown, theirs_shown) = (shown(&mine).await?, shown(&theirs).await?);
    if mine_shown.len() != 7 || mine_shown != theirs_shown {
        bail!("{mine_shown:?} and {theirs_shown:?}");
    }
    tokio::try_join!(mine.confirm(), theirs.confirm())?;
    tokio::try_join!(done(&mine), done(&theirs))?;
    Ok(())
}

async fn in_time<T>(what: &str, wait: impl Future<Output = Option<T>>) -> Result<T> {
    let value = tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("waiting for {what}"))?;
    value.with_context(|| format!("no {what}"))
}

async fn ready(request: &VerificationRequest) -> Result<()> {
    let mut changes = request.changes();
    in_time("readiness", async {
        while !request.is_ready() {
            changes.next().await?;
        }
        Some(())
    })
    .await
}

async fn begun(request: &VerificationRequest) -> Result<SasVerification> {
    let mut changes = request.changes();
    in_time("start of the comparison", async {
        loop {
            if let VerificationRequestState::Transitioned { verification: Verification::SasV1(sas), .. } =
                request.state()
            {
                return Some(sas);
            }
            changes.next().await?;
        }
    })
    .await
}

async fn shown(sas: &SasVerification) -> Result<Vec<&'static str>> {
    let mut changes = sas.changes();
    in_time("emoji", async {
        loop {
            if let Some(emoji) = sas.emoji() {
                return Some(emoji.iter().map(|emoji| emoji.symbol).collect());
            }
            changes.next().await?;
        }
    })
    .await
}

async fn done(sas: &SasVerification) -> Result<()> {
    let mut changes = sas.changes();
    in_time("end of the comparison", async {
        while !sas.is_done() {
            if let SasState::Cancelled(_) = changes.next().await? {
                return None;
            }
        }
        Some(())
    })
    .await
}
