//! What users are uploading at the moment: so many files at once, and their bytes, which count before they are kept.

use std::collections::HashMap;

use depesche_rules::bounds::MAX_UPLOADS_AT_ONCE;
use depesche_store::Mutex;
use ruma::{OwnedUserId, UserId};

/// The uploads of all users who have any.
#[derive(Default)]
pub(super) struct Underway(Mutex<HashMap<OwnedUserId, Load>>);

#[derive(Clone, Copy, Default)]
struct Load {
    uploads: usize,
    bytes: u64,
}

/// One upload, until this is dropped.
pub(super) struct Upload<'a> {
    all: &'a Underway,
    user: &'a UserId,
    bytes: u64,
}

impl Underway {
    /// Begins an upload; `None` if the user has as many as may be.
    pub fn begin<'a>(&'a self, user: &'a UserId) -> Option<Upload<'a>> {
        let mut users = self.0.lock();
        let load = users.entry(user.to_owned()).or_default();
        if load.uploads >= MAX_UPLOADS_AT_ONCE {
            return None;
        }
        load.uploads += 1;
        Some(Upload { all: self, user, bytes: 0 })
    }
}

impl Upload<'_> {
    /// More of it has come. Answers the bytes of all the user's uploads.
    pub fn received(&mut self, bytes: u64) -> u64 {
        self.bytes += bytes;
        let mut users = self.all.0.lock();
        let load = users.entry(self.user.to_owned()).or_default();
        load.bytes += bytes;
        load.bytes
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        let mut users = self.all.0.lock();
        let Some(load) = users.get_mut(self.user) else { return };
        load.uploads = load.uploads.saturating_sub(1);
        load.bytes = load.bytes.saturating_sub(self.bytes);
        if load.uploads == 0 {
            users.remove(self.user);
        }
    }
}
