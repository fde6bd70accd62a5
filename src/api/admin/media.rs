//! `/_depesche/admin/users/{user}/media` and `/_depesche/admin/media/{id}`: what users uploaded.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use depesche_server::media::FileInfo;
use serde::{Deserialize, Serialize};

use super::{Answer, Json, local_user, users::Nothing};
use crate::{App, error::Error};

/// The most files of an answer.
const PAGE: usize = 1000;

/// A file.
#[derive(Serialize)]
pub(super) struct ShownFile {
    id: String,
    created_ms: u64,
    size: u64,
    content_type: Option<String>,
    filename: Option<String>,
}

/// Some of a user's files.
#[derive(Serialize)]
pub(super) struct Files {
    media: Vec<ShownFile>,
}

/// Where an answer begins: behind this file of the one before.
#[derive(Deserialize)]
pub(super) struct After {
    after_id: Option<String>,
    after_ms: Option<u64>,
}

/// `GET /_depesche/admin/users/{user}/media?after_ms=&after_id=`
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Files> {
    let after: After = serde_html_form::from_str(&query.unwrap_or_default())
        .map_err(|error| Error::invalid_param(error.to_string()))?;
    let user = local_user(&app, &user)?;
    let after = after.after_ms.zip(after.after_id);
    let after = after.as_ref().map(|(created_ms, id)| (*created_ms, id.as_str()));
    let files = app.server.media.list(&user, after, PAGE).await?;
    Ok(Json(Files { media: files.into_iter().map(ShownFile::from).collect() }))
}

/// `DELETE /_depesche/admin/media/{id}`
pub(super) async fn remove(State(app): State<Arc<App>>, Path(id): Path<String>) -> Answer<Nothing> {
    app.server.media.remove(&id).await?;
    Ok(Json(Nothing {}))
}

impl From<FileInfo> for ShownFile {
    fn from(info: FileInfo) -> Self {
        let FileInfo { id, created_ms, content } = info;
        Self { id, created_ms, size: content.size, content_type: content.content_type, filename: content.filename }
    }
}
