//! The server: its parts and how they are joined, top down.

use std::sync::Arc;

use depesche_config::Config;
use depesche_rules::signing::SigningKey;
use depesche_store::{Engine, Position};
use futures::future::BoxFuture;
use ruma::{DeviceId, OwnedDeviceId, UserId};
use tokio::sync::watch;

use crate::{
    Fault,
    account_data::AccountData,
    accounts::Accounts,
    backup::Backups,
    base::Base,
    clock::{Clock, Random},
    devices::{DeviceFollower, Devices},
    directory::Directory,
    expiry,
    filters::Filters,
    identity::{self, IdentityError, SCHEMA},
    keys::{self, Keys},
    media::{Media, blobs::Blobs, thumbnails::Thumbnailer},
    migrations::{self, MigrationError},
    outbox::push::{PushGateway, Worker},
    presence::Presences,
    previews::{Previews, web::Web},
    profiles::Profiles,
    push_rules,
    pushers::{self, Pushers},
    reports::Reports,
    restored::{self, Restored},
    rooms::{Rooms, receipts::Receipts},
    schemas::MIGRATIONS,
    search::Searches,
    sync::Syncs,
    tasks::{supervise, until_done},
    to_device::ToDevice,
    turn::{self, Turn},
    turns::Turns,
    tx::Tx,
    typing::Typing,
    user_directory::UserDirectory,
};

/// A homeserver over one database.
pub struct Server {
    /// What all parts stand on.
    pub base: Arc<Base>,
    /// Accounts, sessions, confirmations.
    pub accounts: Arc<Accounts>,
    /// Devices of local users.
    pub devices: Arc<Devices>,
    /// Display names, avatars and other profile fields.
    pub profiles: Profiles,
    /// Account data and tags.
    pub account_data: Arc<AccountData>,
    /// What notifies users.
    pub push_rules: push_rules::Editor,
    /// Over which gateways they are notified.
    pub pushers: Pushers,
    /// Stored filters.
    pub filters: Arc<Filters>,
    /// End-to-end keys.
    pub keys: Arc<Keys>,
    /// Key backups.
    pub backups: Backups,
    /// Messages between devices.
    pub to_device: Arc<ToDevice>,
    /// Uploaded files.
    pub media: Arc<Media>,
    /// What links lead to.
    pub previews: Arc<Previews>,
    /// Servers that carry calls.
    pub turn: Turn,
    /// Who types.
    pub typing: Arc<Typing>,
    /// Who is there.
    pub presence: Arc<Presences>,
    /// Rooms.
    pub rooms: Arc<Rooms>,
    /// What people have read.
    pub receipts: Receipts,
    /// The published room directory.
    pub directory: Directory,
    /// Finding users.
    pub user_directory: UserDirectory,
    /// What users report.
    pub reports: Reports,
    /// Finding events by their words.
    pub searches: Searches,
    /// What is new for a device.
    pub syncs: Arc<Syncs>,
    /// Whose profiles are on their way: one task at a time for each user.
    pub(crate) spreads: Turns,
    stop: watch::Sender<bool>,
}

/// What a server is made of.
pub struct Parts {
    /// The operator's choices.
    pub config: Arc<Config>,
    /// The database.
    pub engine: Arc<dyn Engine>,
    /// Signs events.
    pub key: SigningKey,
    /// The wall clock.
    pub clock: Clock,
    /// The source of randomness.
    pub random: Random,
    /// Keeps the bytes of uploaded files.
    pub blobs: Arc<dyn Blobs>,
    /// Makes pictures smaller.
    pub thumbnailer: Arc<dyn Thumbnailer>,
    /// What the servers that carry calls believe; none if there are none.
    pub turn: Option<turn::Secret>,
    /// If the database is a copy that goes on for the first time: the newest change it shares with the original.
    pub copied: Option<Position>,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database is another server's or of a newer version.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database is of an older version, and could not be brought up to this one.
    #[error(transparent)]
    Migration(#[from] MigrationError),
    /// The database failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Server {
    /// Takes the database, joins the parts and resumes what a crash interrupted. In a box, so that all this is compiled
    /// here and not in each crate that waits for it.
    pub fn start(parts: Parts) -> BoxFuture<'static, Result<Arc<Self>, StartError>> {
        Box::pin(Self::open(parts))
    }

    async fn open(parts: Parts) -> Result<Arc<Self>, StartError> {
        let Parts { config, engine, key, clock, random, copied, blobs, thumbnailer, turn } = parts;
        let name = config.server.name.clone();
        identity::claim(engine.as_ref(), &name).await?;
        migrations::run(engine.as_ref(), &clock, MIGRATIONS, SCHEMA).await?;
        let (stop, stopping) = watch::channel(false);
        let base = Arc::new(Base::new(engine, clock, random, config, stopping));
        if let Some(shared) = copied {
            restored::adopt(&base, shared).await?;
        }
        let restored = Restored::load(&base.view()).await?;
        let devices =
            Arc::new(Devices::new(Arc::clone(&base), vec![Arc::new(KeysOfDevices), Arc::new(PushersOfDevices)]));
        let account_data = Arc::new(AccountData::new(Arc::clone(&base)));
        let keys = Arc::new(Keys::new(Arc::clone(&base), Arc::clone(&devices)));
        let to_device = Arc::new(ToDevice::new(Arc::clone(&base), Arc::clone(&devices)));
        let rooms = Rooms::new(Arc::clone(&base), Arc::new(key));
        let presence = Presences::new(Arc::clone(&base));
        let media = Media::new(Arc::clone(&base), blobs, thumbnailer);
        let server = Arc::new(Self {
            reports: Reports::new(Arc::clone(&base)),
            searches: Searches::new(Arc::clone(&base)),
            accounts: Arc::new(
                Accounts::new(Arc::clone(&base), Arc::clone(&devices)).sparing_until(restored.spares_until_ms()),
            ),
            profiles: Profiles::new(Arc::clone(&base)),
            pushers: Pushers::open(Arc::clone(&base)).await?,
            push_rules: push_rules::Editor::new(Arc::clone(&base), Arc::clone(&account_data)),
            filters: Arc::new(Filters::new(Arc::clone(&base))),
            backups: Backups::new(Arc::clone(&base)),
            previews: Previews::new(Arc::clone(&base), Arc::clone(&media)),
            media,
            directory: Directory::new(Arc::clone(&rooms)),
            user_directory: UserDirectory::new(Arc::clone(&base)),
            rooms,
            typing: Typing::new(Arc::clone(&base)),
            turn: Turn::new(Arc::clone(&base), turn),
            receipts: Receipts::new(Arc::clone(&base), Arc::clone(&account_data)),
            syncs: Syncs::new(
                Arc::clone(&base),
                Arc::clone(&account_data),
                Arc::clone(&keys),
                Arc::clone(&to_device),
                Arc::clone(&presence),
                restored,
            ),
            presence,
            account_data,
            keys,
            to_device,
            devices,
            base,
            spreads: Turns::default(),
            stop,
        });
        server.resume_typing().await;
        server.presence.resume().await?;
        server.build_lists().await?;
        server.resume_deactivations();
        server.media.sweep().await?;
        server.resume_spreads().await?;
        let base = Arc::clone(&server.base);
        supervise(&server.base, "the sweeper", move || expiry::sweep_until_stopped(Arc::clone(&base)));
        Ok(server)
    }

    /// Tells that nobody types any more, later if that cannot be written now: a server whose disk is full starts, to be
    /// read.
    async fn resume_typing(self: &Arc<Self>) {
        let Err(fault) = self.typing.resume().await else { return };
        tracing::warn!(%fault, "who typed before the start is not told yet");
        let server = Arc::clone(self);
        tokio::spawn(async move {
            until_done(&server.base, "telling who types no longer", || server.typing.resume()).await;
        });
    }

    /// From now on, until the server stops, events go out to push gateways.
    pub fn push_through(&self, gateway: Arc<dyn PushGateway>) {
        let base = Arc::clone(&self.base);
        supervise(&self.base, "push", move || Worker::new(Arc::clone(&base), Arc::clone(&gateway)).run());
    }

    /// From now on, until the server stops, what is said is indexed for search as it comes.
    pub fn index_messages(&self) {
        self.searches.follow();
    }

    /// From now on links are followed, where the operator wants previews.
    pub fn look_through(&self, web: Arc<dyn Web>) {
        self.previews.look_through(web);
    }

    /// Ends what waits for something new: long polls answer at once from now on.
    pub fn end_waits(&self) {
        // Without receivers nobody waits.
        let _ = self.stop.send(true);
    }
}

/// Ends the keys and messages of a device with the device.
struct KeysOfDevices;

impl DeviceFollower for KeysOfDevices {
    fn removed<'a>(
        &'a self,
        tx: &'a Tx,
        user: &'a UserId,
        devices: &'a [OwnedDeviceId],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            for device in devices {
                keys::forget_device(tx, user, device).await?;
            }
            Ok(())
        })
    }

    fn renamed<'a>(&'a self, tx: &'a Tx, user: &'a UserId, device: &'a DeviceId) -> BoxFuture<'a, Result<(), Fault>> {
        // Others see the name with the device's keys.
        Box::pin(keys::touch_renamed(tx, user, device))
    }

    fn user_gone<'a>(&'a self, tx: &'a Tx, user: &'a UserId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(keys::forget_user(tx, user))
    }

    fn claims<'a>(&'a self, tx: &'a Tx, user: &'a UserId, device: &'a DeviceId) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(keys::is_cross_signing_key(tx, user, device))
    }
}

/// Ends a device's pushers with the device.
struct PushersOfDevices;

impl DeviceFollower for PushersOfDevices {
    fn removed<'a>(
        &'a self,
        tx: &'a Tx,
        user: &'a UserId,
        devices: &'a [OwnedDeviceId],
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(pushers::forget_devices(tx, user, devices))
    }

    fn renamed<'a>(&'a self, _: &'a Tx, _: &'a UserId, _: &'a DeviceId) -> BoxFuture<'a, Result<(), Fault>> {
        // A pusher has the name its app gave it.
        Box::pin(async { Ok(()) })
    }

    fn user_gone<'a>(&'a self, tx: &'a Tx, user: &'a UserId) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(pushers::forget_user(tx, user))
    }

    fn claims<'a>(&'a self, _: &'a Tx, _: &'a UserId, _: &'a DeviceId) -> BoxFuture<'a, Result<bool, Fault>> {
        Box::pin(async { Ok(false) })
    }
}
