//! `/_depesche/admin/reports`: what users report, until an administrator has dealt with it.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use depesche_server::{
    records::reports::{Report, Subject},
    reports::MAX_REPORTS_PER_PAGE,
};
use ruma::{OwnedEventId, OwnedRoomId, OwnedUserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Answer, Json, json, users::Nothing};
use crate::{App, error::Error};

/// The reports of a page, if the request does not say.
const PAGE: usize = 100;

/// A report.
#[derive(Serialize)]
pub(super) struct ShownReport {
    number: u64,
    /// "room", "event" or "user".
    kind: &'static str,
    reporter: OwnedUserId,
    room_id: Option<OwnedRoomId>,
    event_id: Option<OwnedEventId>,
    /// Who is reported, or who sent the event.
    user_id: Option<OwnedUserId>,
    reason: String,
    reported_ms: u64,
    closed_ms: Option<u64>,
    note: Option<String>,
    /// The event as it was sent, also if it was redacted since.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<RawValue>>,
}

/// A page of reports.
#[derive(Serialize)]
pub(super) struct Reports {
    reports: Vec<ShownReport>,
    /// What to ask `after` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// The query of a list.
#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    /// Those that are closed too.
    #[serde(default)]
    all: bool,
}

/// `GET /_depesche/admin/reports?after=&limit=&all=`
pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer<Reports> {
    let Wanted { after, limit, all } = serde_html_form::from_str(&query.unwrap_or_default())
        .map_err(|error| Error::invalid_param(error.to_string()))?;
    let limit = limit.unwrap_or(PAGE).clamp(1, MAX_REPORTS_PER_PAGE);
    let found = app.server.reports.list(after, limit, all).await?;
    let next = (found.len() == limit).then(|| found.last().map(|(number, _)| *number)).flatten();
    let reports = found.into_iter().map(|(number, report)| shown(number, report, None)).collect();
    Ok(Json(Reports { reports, next }))
}

/// `GET /_depesche/admin/reports/{number}`: with the event.
pub(super) async fn show(State(app): State<Arc<App>>, Path(number): Path<String>) -> Answer<ShownReport> {
    let number = parse(&number)?;
    let (report, event) = app.server.reports.show(number).await?;
    Ok(Json(shown(number, report, event)))
}

/// What was done.
#[derive(Deserialize)]
struct Closing {
    #[serde(default)]
    note: String,
}

/// `POST /_depesche/admin/reports/{number}/close`
pub(super) async fn close(
    State(app): State<Arc<App>>,
    Path(number): Path<String>,
    request: Request,
) -> Answer<Nothing> {
    let Closing { note } = json(request).await?;
    let number = parse(&number)?;
    app.server.reports.close(number, &note).await?;
    tracing::info!(number, "the operator closed a report");
    Ok(Json(Nothing {}))
}

fn parse(number: &str) -> Result<u64, Error> {
    number.parse().map_err(|_| Error::not_found("reports have numbers"))
}

fn shown(number: u64, report: Report, event: Option<Box<RawValue>>) -> ShownReport {
    let Report { reporter, subject, reason, reported_ms, closed } = report;
    let (kind, room_id, event_id, user_id) = match subject {
        Subject::Room(room) => ("room", Some(room), None, None),
        Subject::Event { room, event, sender } => ("event", Some(room), Some(event), Some(sender)),
        Subject::User(user) => ("user", None, None, Some(user)),
    };
    let (closed_ms, note) = closed.map(|closed| (closed.closed_ms, closed.note)).unzip();
    ShownReport { number, kind, reporter, room_id, event_id, user_id, reason, reported_ms, closed_ms, note, event }
}
