//! `/_depesche/admin/version`: what runs here.

use serde::Serialize;

use super::{Answer, Json};

/// The running program.
#[derive(Serialize)]
pub(super) struct Version {
    name: &'static str,
    version: &'static str,
}

/// `GET /_depesche/admin/version`
pub(super) async fn show() -> Answer<Version> {
    Ok(Json(Version { name: "depesche", version: env!("CARGO_PKG_VERSION") }))
}
