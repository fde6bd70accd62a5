//! What users report, and the queue in which administrators find it.
//!
//! Whoever reports the same thing again before it is closed replaces their report. A user has a bounded number of reports
//! that wait. What is closed stays, as the record of what was done. Neither the words of a report nor what it is about
//! reaches a log.
//!
//! Spec: [reporting content](https://spec.matrix.org/v1.19/client-server-api/#reporting-content).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use depesche_rules::bounds::MAX_REASON_BYTES;
use ruma::{EventId, RoomId, UserId};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::{
    Base, Fault,
    keyspace::{ACCOUNT, COUNTER, EVENT, REPORT, REPORT_COUNT, REPORT_OF, REPORT_OPEN, ROOM_NO},
    records::reports::{Closed, Report, Subject},
    rooms::{history::ReadRefusal, show::Viewer, view::RoomView},
    tx::Tx,
};

/// The most reports in one page of a list.
pub const MAX_REPORTS_PER_PAGE: usize = 1000;
/// The counter of reports.
const NUMBERS: &str = "report";

/// Why a report is not taken, shown or closed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// What is reported does not exist, or the reporter may not see it. Of events: or is not joined to their room.
    #[error("there is no such thing, or you are not joined to its room")]
    NotFound,
    /// No report has this number.
    #[error("there is no such report")]
    NoReport,
    /// The reason is too long.
    #[error("the reason may have at most {MAX_REASON_BYTES} bytes")]
    TooLong,
    /// Too many reports of this user wait.
    #[error("too many of your reports wait for an answer")]
    TooMany,
    /// The report has been closed before.
    #[error("the report is closed")]
    Closed,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The reports of this server's users.
pub struct Reports {
    base: Arc<Base>,
    /// Reports take their numbers one after the other.
    turn: Mutex<()>,
}

impl Reports {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base, turn: Mutex::default() }
    }

    /// Reports a room that the server knows, be the reporter in it or not.
    pub async fn room(&self, reporter: &UserId, room: &RoomId, reason: &str) -> Result<(), ReportError> {
        let found = self.base.view().get(&ROOM_NO, &(room.to_owned(),)).await?;
        found.ok_or(ReportError::NotFound)?;
        self.file(reporter, Subject::Room(room.to_owned()), reason).await
    }

    /// Reports an event that the reporter can see, in a room in which the reporter is.
    pub async fn event(
        &self,
        reporter: &UserId,
        room: &RoomId,
        event: &EventId,
        reason: &str,
    ) -> Result<(), ReportError> {
        let found = RoomView::find(&self.base.view(), room).await?.ok_or(ReportError::NotFound)?;
        if !found.is_joined(reporter).await? {
            return Err(ReportError::NotFound);
        }
        let mut viewer = Viewer::new(&found, reporter.to_owned(), None, self.base.now()).await?;
        let seen = viewer.known_event(event).await.map_err(|refusal| match refusal {
            ReadRefusal::Fault(fault) => ReportError::Fault(fault),
            _ => ReportError::NotFound,
        })?;
        let sender = seen.pdu.sender().to_owned();
        self.file(reporter, Subject::Event { room: room.to_owned(), event: event.to_owned(), sender }, reason).await
    }

    /// Reports a user. Those of other servers are taken as they are named.
    pub async fn user(&self, reporter: &UserId, user: &UserId, reason: &str) -> Result<(), ReportError> {
        if user.server_name() == self.base.name {
            self.base.view().get(&ACCOUNT, &(user.to_owned(),)).await?.ok_or(ReportError::NotFound)?;
        }
        self.file(reporter, Subject::User(user.to_owned()), reason).await
    }

    /// The reports behind this number, oldest first, at most `limit`: those that wait, or all.
    pub async fn list(&self, after: u64, limit: usize, all: bool) -> Result<Vec<(u64, Report)>, Fault> {
        let (view, limit, from) = (self.base.view(), limit.min(MAX_REPORTS_PER_PAGE), &(after.saturating_add(1),));
        if all {
            let rows = view.scan(&REPORT, REPORT.from(&(), from), limit).await?;
            return Ok(rows.into_iter().map(|((number,), report)| (number, report)).collect());
        }
        let open = view.scan(&REPORT_OPEN, REPORT_OPEN.from(&(), from), limit).await?;
        let keys: Vec<_> = open.into_iter().map(|(key, ())| key).collect();
        let reports = view.get_many(&REPORT, &keys).await?;
        Ok(keys.into_iter().zip(reports).filter_map(|((number,), report)| Some((number, report?))).collect())
    }

    /// One report, and the text of the event that it is about.
    pub async fn show(&self, number: u64) -> Result<(Report, Option<Box<RawValue>>), ReportError> {
        let view = self.base.view();
        let report = view.get(&REPORT, &(number,)).await?.ok_or(ReportError::NoReport)?;
        let Subject::Event { room, event, .. } = &report.subject else { return Ok((report, None)) };
        let Some(room) = RoomView::find(&view, room).await? else { return Ok((report, None)) };
        let Some(no) = room.event_no(event).await? else { return Ok((report, None)) };
        let text = view.get(&EVENT, &(room.no, no)).await?;
        let text = text.and_then(|text| serde_json::from_slice(&text).ok());
        Ok((report, text))
    }

    /// Notes that a report has been dealt with.
    pub async fn close(&self, number: u64, note: &str) -> Result<(), ReportError> {
        if note.len() > MAX_REASON_BYTES {
            return Err(ReportError::TooLong);
        }
        self.base
            .transact(|tx| async move {
                let mut report = tx.read(&REPORT, &(number,)).await?.ok_or(ReportError::NoReport)?;
                if report.closed.is_some() {
                    return Err(ReportError::Closed);
                }
                report.closed = Some(Closed { closed_ms: self.base.clock.now_ms(), note: note.to_owned() });
                tx.put(&REPORT, &(number,), &report);
                tx.delete(&REPORT_OPEN, &(number,));
                tx.delete(&REPORT_OF, &(report.reporter.clone(), digest(&report.subject)));
                let of_user = (report.reporter,);
                match tx.read(&REPORT_COUNT, &of_user).await?.unwrap_or_default().saturating_sub(1) {
                    0 => tx.delete(&REPORT_COUNT, &of_user),
                    left => tx.put(&REPORT_COUNT, &of_user, &left),
                }
                Ok(())
            })
            .await
    }

    async fn file(&self, reporter: &UserId, subject: Subject, reason: &str) -> Result<(), ReportError> {
        if reason.len() > MAX_REASON_BYTES {
            return Err(ReportError::TooLong);
        }
        let of_subject = &(reporter.to_owned(), digest(&subject));
        let report = &Report {
            reporter: reporter.to_owned(),
            subject,
            reason: reason.to_owned(),
            reported_ms: self.base.clock.now_ms(),
            closed: None,
        };
        let turn = self.turn.lock().await;
        let number = self
            .base
            .transact(|tx| async move {
                let number = match tx.read(&REPORT_OF, of_subject).await? {
                    Some(number) => number,
                    None => self.number(&tx, of_subject).await?,
                };
                tx.put(&REPORT, &(number,), report);
                Ok::<_, ReportError>(number)
            })
            .await?;
        drop(turn);
        tracing::info!(number, "a report waits: depesche report show {number}");
        Ok(())
    }

    /// A place in the queue for a report on something that this user has not reported.
    async fn number(&self, tx: &Tx, of_subject: &(ruma::OwnedUserId, [u8; 32])) -> Result<u64, ReportError> {
        let of_user = (of_subject.0.clone(),);
        let count = tx.read(&REPORT_COUNT, &of_user).await?.unwrap_or_default();
        if count >= self.base.config.limits.reports_per_user {
            return Err(ReportError::TooMany);
        }
        let counter = (NUMBERS.to_owned(),);
        let number = tx.read(&COUNTER, &counter).await?.unwrap_or_default() + 1;
        tx.put(&COUNTER, &counter, &number);
        tx.put(&REPORT_COUNT, &of_user, &(count + 1));
        tx.put(&REPORT_OPEN, &(number,), &());
        tx.put(&REPORT_OF, of_subject, &number);
        Ok(number)
    }
}

/// What a report is about, at a fixed length.
fn digest(subject: &Subject) -> [u8; 32] {
    let (kind, id) = match subject {
        Subject::Room(room) => (b'r', room.as_str()),
        Subject::Event { event, .. } => (b'e', event.as_str()),
        Subject::User(user) => (b'u', user.as_str()),
    };
    Sha256::new().chain_update([kind]).chain_update(id).finalize().into()
}
