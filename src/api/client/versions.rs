//! `GET /_matrix/client/versions`: what this server speaks.
//! <https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions>

use ruma::api::client::discovery::get_supported_versions::{Request, Response};

use crate::{caller::User, error::Error, route::Context};

/// The newest version of the specification, 1.x, that is announced; all from 1.1 on are.
const NEWEST_MINOR: u32 = 19;

/// What clients ask for by the name it had before it came into the specification, and leave undone where the name is
/// missing, whatever versions are announced. Only what is served as that name has it stands here: for names without
/// `.stable`, their unstable paths too.
pub const FEATURES: [&str; 14] = [
    // Loading the members of rooms when they are needed.
    "m.lazy_load_members",
    // Cross-signing: without it Element sets up no encryption.
    "org.matrix.e2e_cross_signing",
    // Private receipts.
    "org.matrix.msc2285.stable",
    // The aliases of a room.
    "org.matrix.msc2432",
    // The event nearest to a time.
    "org.matrix.msc3030",
    // Threads.
    "org.matrix.msc3440.stable",
    // The room directory by type of room: spaces are found by it.
    "org.matrix.msc3827.stable",
    // Media for who is logged in.
    "org.matrix.msc3916.stable",
    // Users who take no invites.
    "org.matrix.msc4380.stable",
    // Rooms that two users share.
    "uk.half-shot.msc2666.query_mutual_rooms",
    "uk.half-shot.msc2666.query_mutual_rooms.stable",
    // Profile fields of any name.
    "uk.tcpip.msc4133",
    "uk.tcpip.msc4133.stable",
    // Locking and suspending accounts.
    "uk.timedout.msc4323",
];

/// `GET /_matrix/client/versions`: the same for everyone.
pub async fn get(_: Context, _: Option<User>, _: Request) -> Result<Response, Error> {
    let versions = (1..=NEWEST_MINOR).map(|minor| format!("v1.{minor}")).collect();
    let unstable_features = FEATURES.iter().map(|&feature| (feature.to_owned(), true)).collect();
    Ok(Response { versions, unstable_features })
}
