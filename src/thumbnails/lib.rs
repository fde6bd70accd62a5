//! Makes pictures smaller.
//!
//! Decoding what strangers send is the most dangerous thing a homeserver does, so it is done in a process of its own
//! that has nothing to lose: no files, no network, no secrets, little memory, little time. [`Workers`] is the server's
//! side: it starts such a process for each thumbnail and kills it when it takes too long. [`work`] is the other side.
//! What happens to a picture is in [`picture`] and [`animation`], which know nothing of processes.
//!
//! The process is this program again, with [`COMMAND`] as its first argument.

mod animation;
mod bounds;
mod picture;
mod worker;
mod workers;

pub use bounds::Bounds;
pub use picture::{measure, thumbnail};
pub use worker::work;
pub use workers::Workers;

/// The argument that makes a program call [`work`] with those behind it.
pub const COMMAND: &str = "thumbnail-worker";
