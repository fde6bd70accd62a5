//! What happens beside the messages while the server is killed: receipts of all kinds, push rules, account data, messages
//! to another device, uploads, claims of keys. Each is a chain too: the next step is taken when the one before was
//! answered 200, and after each restart the server must know the last of each chain. A key is given to one claimer at
//! most, and each message to the other device comes exactly once. Somebody has a phone, and in the end its gateway must
//! have been told of every message that was answered 200.

use std::collections::HashSet;
use std::time::Duration;

use depesche_spec_tests::gateway::Gateway;
use depesche_spec_tests::keys::{device_keys, one_time_key};
use depesche_spec_tests::prelude::*;
use tokio::sync::Semaphore;

const ACCOUNT_DATA: &str = "/_matrix/client/v3/user/{userId}/account_data/{type}";
/// Keys uploaded at a time.
const KEYS: usize = 40;
/// Bytes of an upload.
const UPLOAD_BYTES: usize = 20_000;
/// How many of the newest uploads are read after a restart; all are in the end.
const NEWEST: usize = 3;
/// The receipts that take turns: type, and the thread that it is for.
const RECEIPTS: [(&str, Option<&str>); 4] =
    [("m.read", None), ("m.read.private", None), ("m.read", Some("main")), ("m.fully_read", None)];
/// The gateway is told of some event within this time, as long as there is one to tell of.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

/// One person who does it all, in a room of their own.
pub struct Beside {
    user: User,
    room: String,
    /// Who has the phone, is in the room and reads nothing.
    told: String,
    gateway: Gateway,
    /// Events sent, in order.
    events: Vec<String>,
    /// The receipt of each kind that was answered 200, as a place in `events`.
    receipts: [Option<usize>; RECEIPTS.len()],
    /// The value that the push rule has had at last, and the one that was asked for after it.
    rule: Option<usize>,
    asked_rule: usize,
    /// The same of an entry of account data.
    entry: Option<usize>,
    asked_entry: usize,
    /// Another device of the same person, up to where it has synced, and what it was told, in order.
    other: User,
    since: Option<String>,
    arrived: Vec<u64>,
    /// How many messages to it were answered 200; the next one has this number.
    sent: u64,
    /// Keys that were handed out.
    claimed: HashSet<String>,
    keys_made: usize,
    /// What was uploaded, and where it is.
    uploads: Vec<(String, Vec<u8>)>,
}

/// The server does not answer any more.
struct Died;

fn alive(answer: Answer) -> Result<Answer, Died> {
    if answer.status == 0 { Err(Died) } else { Ok(answer) }
}

/// Whether the server has the endpoint at all.
fn is_served(answer: &Answer) -> bool {
    answer.body["errcode"] != "M_UNRECOGNIZED"
}

fn bytes(n: usize) -> Vec<u8> {
    (0..UPLOAD_BYTES).map(|at| (at.wrapping_mul(31) ^ n.wrapping_mul(7)) as u8).collect()
}

impl Beside {
    pub async fn new(server: &Server) -> Self {
        let user = server.user("beside").await;
        let room = user.public_room().await;
        user.post("/_matrix/client/v3/keys/upload", &[]).json(json!({ "device_keys": device_keys(&user) })).await.ok();
        let (told, gateway) = (server.user("told").await, Gateway::start().await);
        told.join(&room).await;
        let pusher = json!({
            "kind": "http", "app_id": "org.example.app", "pushkey": "phone", "app_display_name": "App",
            "device_display_name": "Phone", "lang": "de", "data": { "url": gateway.url(), "format": "event_id_only" },
        });
        told.post("/_matrix/client/v3/pushers/set", &[]).json(pusher).await.ok();
        let other = user.another_device().await;
        Self {
            user,
            room,
            told: told.id,
            gateway,
            events: Vec::new(),
            receipts: [None; RECEIPTS.len()],
            rule: None,
            asked_rule: 0,
            entry: None,
            asked_entry: 0,
            other,
            since: None,
            arrived: Vec::new(),
            sent: 0,
            claimed: HashSet::new(),
            keys_made: 0,
            uploads: Vec::new(),
        }
    }

    /// Goes on until the server does not answer any more.
    pub async fn go_on_until_it_dies(&mut self, client: &Client, acknowledged: &Semaphore) {
        let client = client.with_token(self.user.token());
        while self.step(&client).await.is_ok() {
            acknowledged.add_permits(1);
        }
    }

    async fn step(&mut self, client: &Client) -> Result<(), Died> {
        self.read(client).await?;
        self.change_rule(client).await?;
        self.keep(client).await?;
        self.tell_the_other(client).await?;
        self.hear_as_the_other(client).await?;
        self.claim(client).await?;
        self.upload(client).await
    }

    /// A message and the receipt for it. It names whom it is for: of several that wait, a phone is told of each that does.
    async fn read(&mut self, client: &Client) -> Result<(), Died> {
        let txn = format!("txn{}", self.events.len());
        let body = json!({ "msgtype": "m.text", "body": txn, "m.mentions": { "user_ids": [self.told] } });
        let sent = alive(client.put(crate::SEND, &[&self.room, "m.room.message", &txn]).json(body).await)?.ok();
        let event = sent["event_id"].as_str().expect("an event id").to_owned();
        let path = "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}";
        self.events.push(event.clone());
        let turn = self.events.len() % RECEIPTS.len();
        let (kind, thread) = RECEIPTS[turn];
        let body = thread.map_or(json!({}), |thread| json!({ "thread_id": thread }));
        alive(client.post(path, &[&self.room, kind, &event]).json(body).await)?.ok();
        self.receipts[turn] = Some(self.events.len() - 1);
        Ok(())
    }

    async fn keep(&mut self, client: &Client) -> Result<(), Died> {
        self.asked_entry += 1;
        let body = json!({ "n": self.asked_entry });
        alive(client.put(ACCOUNT_DATA, &[&self.user.id, "org.example.kill"]).json(body).await)?.ok();
        self.entry = Some(self.asked_entry);
        Ok(())
    }

    /// A message to the other device. One that was not answered is repeated with the same id.
    async fn tell_the_other(&mut self, client: &Client) -> Result<(), Died> {
        let message = json!({ &self.other.id: { &self.other.device: { "n": self.sent } } });
        let path = "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}";
        let request = client.put(path, &["org.example.kill", &format!("n{}", self.sent)]);
        alive(request.json(json!({ "messages": message })).await)?.ok();
        self.sent += 1;
        Ok(())
    }

    /// The other device asks what came, from where it got to: with that it says that it has what came before.
    async fn hear_as_the_other(&mut self, client: &Client) -> Result<(), Died> {
        let nothing_else = json!({ "room": { "rooms": [] }, "presence": { "not_types": ["*"] } });
        let mut syncer = Syncer::new(client.with_token(self.other.token())).filter(&nothing_else);
        syncer.since.clone_from(&self.since);
        let sync = alive(syncer.request(0).await)?.ok();
        self.since = Some(sync["next_batch"].as_str().expect("next_batch").to_owned());
        let events = sync["to_device"]["events"].as_array().into_iter().flatten();
        self.arrived.extend(events.map(|event| event["content"]["n"].as_u64().expect("a number")));
        Ok(())
    }

    async fn change_rule(&mut self, client: &Client) -> Result<(), Died> {
        self.asked_rule += 1;
        let body = json!({ "pattern": self.asked_rule.to_string(), "actions": [] });
        let path = "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}";
        let answer = alive(client.put(path, &["content", "kill"]).json(body).await)?;
        if is_served(&answer) {
            answer.ok();
            self.rule = Some(self.asked_rule);
        }
        Ok(())
    }

    async fn claim(&mut self, client: &Client) -> Result<(), Died> {
        let body =
            json!({ "one_time_keys": { self.user.id.clone(): { self.user.device.clone(): "signed_curve25519" } } });
        let answer = alive(client.post("/_matrix/client/v3/keys/claim", &[]).json(body).await)?.ok();
        let key =
            answer["one_time_keys"][&self.user.id][&self.user.device].as_object().and_then(|keys| keys.keys().next());
        if let Some(key) = key {
            assert!(self.claimed.insert(key.clone()), "{key} was given out twice");
            return Ok(());
        }
        let mut keys = json!({});
        for _ in 0..KEYS {
            let label = format!("k{}", self.keys_made);
            keys[format!("signed_curve25519:{label}")] = one_time_key(&self.user, &label);
            self.keys_made += 1;
        }
        alive(client.post("/_matrix/client/v3/keys/upload", &[]).json(json!({ "one_time_keys": keys })).await)?.ok();
        Ok(())
    }

    async fn upload(&mut self, client: &Client) -> Result<(), Died> {
        let bytes = bytes(self.uploads.len());
        let request = client.post("/_matrix/media/v3/upload", &[]);
        let answer = alive(request.raw("application/octet-stream", bytes.clone()).await)?;
        if is_served(&answer) {
            let uri = answer.ok()["content_uri"].as_str().expect("an mxc URI").to_owned();
            self.uploads.push((uri, bytes));
        }
        Ok(())
    }

    /// After a restart: the last of each chain is known.
    pub async fn check(&self, client: &Client, all_uploads: bool) {
        let client = client.with_token(self.user.token());
        self.check_receipts(&client).await;
        if let Some(entry) = self.entry {
            let kept = client.get(ACCOUNT_DATA, &[&self.user.id, "org.example.kill"]).await.ok();
            let found = usize::try_from(kept["n"].as_u64().expect("a number")).expect("small");
            assert!((entry..=self.asked_entry).contains(&found), "entry {entry} was acknowledged, {found} is there");
        }
        if let Some(rule) = self.rule {
            let rules = client.get("/_matrix/client/v3/pushrules/", &[]).await.ok();
            let rules = rules["global"]["content"].as_array().expect("rules");
            let found = rules.iter().find(|found| found["rule_id"] == "kill").expect("the rule is there");
            let found: usize = found["pattern"].as_str().and_then(|value| value.parse().ok()).expect("a number");
            assert!((rule..=self.asked_rule).contains(&found), "rule {rule} was acknowledged, {found} is there");
        }
        let skipped = if all_uploads { 0 } else { self.uploads.len().saturating_sub(NEWEST) };
        for (uri, bytes) in self.uploads.iter().skip(skipped) {
            let (server, media) = uri.trim_start_matches("mxc://").split_once('/').expect("an mxc URI");
            let path = "/_matrix/client/v1/media/download/{serverName}/{mediaId}";
            let found = client.get(path, &[server, media]).await;
            assert_eq!((found.status, found.text().len()), (200, String::from_utf8_lossy(bytes).len()), "{uri}");
            assert!(found.text() == String::from_utf8_lossy(bytes), "{uri} has other bytes");
        }
    }

    /// In the end: the gateway has been told of every message, or is told of it now.
    pub async fn check_told(&mut self) {
        let mut untold: HashSet<&str> = self.events.iter().map(String::as_str).collect();
        assert!(!untold.is_empty(), "nothing was sent");
        while !untold.is_empty() {
            let Ok(told) = tokio::time::timeout(TOLD_WITHIN, self.gateway.next()).await else {
                panic!("of {} messages the gateway was not told of {untold:?}", self.events.len());
            };
            untold.remove(told["event_id"].as_str().unwrap_or_default());
        }
    }

    /// In the end: the other device gets what it lacks, and has got everything once and in order.
    pub async fn check_other(&mut self, client: &Client) {
        loop {
            let before = self.arrived.len();
            assert!(self.hear_as_the_other(client).await.is_ok(), "the server answers");
            if self.arrived.len() == before {
                break;
            }
        }
        let count = self.arrived.len() as u64;
        assert_eq!(self.arrived, (0..count).collect::<Vec<_>>(), "lost, doubled or out of order");
        // What was in flight at the last kill may have come.
        assert!(count > 0 && (self.sent..=self.sent + 1).contains(&count), "{} acknowledged, {count} came", self.sent);
    }

    async fn check_receipts(&self, client: &Client) {
        let sync = Syncer::new(client.clone()).next().await;
        let room = RoomSync::joined(&sync, &self.room);
        for ((kind, thread), acknowledged) in RECEIPTS.into_iter().zip(self.receipts) {
            let Some(acknowledged) = acknowledged else { continue };
            let found = if kind == "m.fully_read" {
                let kept = room.events("account_data");
                let marker = kept.iter().find(|event| event["type"] == kind).expect("a marker");
                vec![marker["content"]["event_id"].as_str().expect("an event id").to_owned()]
            } else {
                // An event for each thread.
                let passing = room.events("ephemeral");
                let receipts = passing.iter().filter(|event| event["type"] == "m.receipt");
                let receipts = receipts.filter_map(|event| event["content"].as_object()).flatten();
                let is_this = |content: &Value| {
                    let receipt = &content[kind][&self.user.id];
                    receipt.is_object() && receipt["thread_id"].as_str() == thread
                };
                receipts.filter(|(_, content)| is_this(content)).map(|(event, _)| event.clone()).collect()
            };
            let [found] = found.as_slice() else { panic!("one {kind} ({thread:?}), not {found:?}") };
            let place = self.events.iter().position(|event| event == found).expect("an event that was sent");
            assert!(
                place >= acknowledged,
                "{kind} ({thread:?}) for event {acknowledged} was acknowledged, that for {place} is there"
            );
        }
    }

    /// What was acknowledged in all.
    pub fn counts(&self) -> String {
        let (keys, uploads) = (self.claimed.len(), self.uploads.len());
        format!(
            "{} receipts and messages to a phone, {} to a device, {} changes of a rule, {keys} keys, {uploads} uploads",
            self.events.len(),
            self.sent,
            self.asked_rule
        )
    }
}
