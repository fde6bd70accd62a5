//! `/_depesche/admin/users/{user}/media` and `/_depesche/admin/media/{id}`: what users uploaded.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use depesche_server::media::FileInfo;
use ruma::OwnedMxcUri;
use serde::{Deserialize, Serialize};

use super::{Answer, Json, local_user, users::Nothing};
use crate::{App, error::Error};

/// The most files of an answer.
const PAGE: usize = 1000;

/// A file.
#[derive(Serialize)]
pub(super) struct ShownFile {
    id: String,
    uri: OwnedMxcUri,
    created_ms: u64,
    size: u64,
    content_type: Option<String>,
    filename: Option<String>,
}

/// Some of a user's files.
#[derive(Serialize)]
pub(super) struct Files {
    media: Vec<ShownFile>,
    /// What to ask `after_ms` and `after_id` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<Next>,
}

/// Where the next page begins.
#[derive(Serialize)]
struct Next {
    after_ms: u64,
    after_id: String,
}

/// The query of a list: where it begins, behind this file of the one before; and the most files of it.
#[derive(Deserialize)]
struct Wanted {
    after_id: Option<String>,
    after_ms: Option<u64>,
    limit: Option<usize>,
}

/// `GET /_depesche/admin/users/{user}/media?after_ms=&after_id=&limit=`: oldest first.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Files> {
    let wanted: Wanted = serde_html_form::from_str(&query.unwrap_or_default())
        .map_err(|error| Error::invalid_param(error.to_string()))?;
    let user = local_user(&app, &user)?;
    // An account that is not there has no files, but that is not what is asked.
    app.server.accounts.show(&user).await?;
    let after = wanted.after_ms.zip(wanted.after_id);
    let after = after.as_ref().map(|(created_ms, id)| (*created_ms, id.as_str()));
    let limit = wanted.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let found = app.server.media.list(&user, after, limit).await?;
    let last = found.last().filter(|_| found.len() == limit);
    let next = last.map(|last| Next { after_ms: last.created_ms, after_id: last.id.clone() });
    let media = found.into_iter().map(|info| shown(&app, info)).collect();
    Ok(Json(Files { media, next }))
}

/// `DELETE /_depesche/admin/media/{id}`: of a file of this server, also by its address.
pub(super) async fn remove(State(app): State<Arc<App>>, Path(file): Path<String>) -> Answer<Nothing> {
    let ours = format!("mxc://{}/", app.config.server.name);
    let id = file.strip_prefix(&ours).unwrap_or(&file);
    app.server.media.remove(id).await?;
    tracing::info!(id, "the operator deleted a file");
    Ok(Json(Nothing {}))
}

fn shown(app: &App, info: FileInfo) -> ShownFile {
    let FileInfo { id, created_ms, content } = info;
    let uri = format!("mxc://{}/{id}", app.config.server.name).into();
    ShownFile {
        id,
        uri,
        created_ms,
        size: content.size,
        content_type: content.content_type,
        filename: content.filename,
    }
}
