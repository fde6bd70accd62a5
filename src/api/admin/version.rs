//! `GET /_depesche/admin/version`: which program answers.

use serde_json::json;

use super::{Answer, Json};

/// `GET /_depesche/admin/version`
pub async fn get() -> Answer {
    Ok(Json(json!({ "name": "depesche", "version": env!("CARGO_PKG_VERSION") })))
}
