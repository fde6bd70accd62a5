//! `/_depesche/admin/users`: accounts, as the operator sees and changes them.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use depesche_server::{
    accounts::{AccountInfo, AdminError, Door, NewAccount, admin::MAX_ACCOUNTS_PER_PAGE},
    records::accounts::Standing,
};
use ruma::{OwnedUserId, api::error::ErrorKind};
use serde::{Deserialize, Serialize};

use super::{Answer, Json, json, local_user};
use crate::{App, error::Error};

/// The accounts of a page, if the request does not say.
const PAGE: usize = 100;

/// An account.
#[expect(clippy::struct_excessive_bools, reason = "the answer has them")]
#[derive(Serialize)]
pub(super) struct ShownUser {
    user_id: OwnedUserId,
    display_name: Option<String>,
    created_ms: u64,
    admin: bool,
    deactivated: bool,
    locked: bool,
    suspended: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    devices: Option<Vec<ShownDevice>>,
}

/// A device of an account.
#[derive(Serialize)]
struct ShownDevice {
    device_id: String,
    display_name: Option<String>,
    created_ms: u64,
    last_seen_ms: Option<u64>,
    last_seen_ip: Option<String>,
}

/// A page of accounts.
#[derive(Serialize)]
pub(super) struct Users {
    users: Vec<ShownUser>,
    /// What to ask `after` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<OwnedUserId>,
}

/// The query of a list.
#[derive(Deserialize)]
struct Wanted {
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET /_depesche/admin/users?after=&limit=`
pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Answer<Users> {
    let wanted: Wanted = serde_html_form::from_str(&query.unwrap_or_default())
        .map_err(|error| Error::invalid_param(error.to_string()))?;
    let after = wanted.after.map(|after| local_user(&app, &after)).transpose()?;
    let limit = wanted.limit.unwrap_or(PAGE).clamp(1, MAX_ACCOUNTS_PER_PAGE);
    let found = app.server.accounts.list(after.as_deref(), limit).await?;
    let next = (found.len() == limit).then(|| found.last().map(|last| last.user.clone())).flatten();
    let mut users = Vec::with_capacity(found.len());
    for info in found {
        users.push(user(&app, info).await?);
    }
    Ok(Json(Users { users, next }))
}

/// `GET /_depesche/admin/users/{user}`: with the devices.
pub(super) async fn show(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<ShownUser> {
    let id = local_user(&app, &name)?;
    let info = app.server.accounts.show(&id).await?;
    let devices = app.server.devices.list(&id).await?.into_iter().map(|info| ShownDevice {
        device_id: info.id.to_string(),
        display_name: info.device.display_name,
        created_ms: info.device.created_ms,
        last_seen_ms: info.seen.as_ref().map(|seen| seen.at_ms),
        last_seen_ip: info.seen.and_then(|seen| seen.ip).map(|ip| ip.to_string()),
    });
    let devices = Some(devices.collect());
    Ok(Json(ShownUser { devices, ..user(&app, info).await? }))
}

/// An account to be made.
#[derive(Deserialize)]
struct New {
    user: String,
    password: Option<String>,
    #[serde(default)]
    admin: bool,
    display_name: Option<String>,
}

/// What was made.
#[derive(Serialize)]
pub(super) struct Made {
    user_id: OwnedUserId,
}

/// `POST /_depesche/admin/users`: without a password nobody can log in until one is set.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer<Made> {
    let New { user, password, admin, display_name } = json(request).await?;
    // A whole user id is taken as well, if it is one of ours.
    let localpart = if user.starts_with('@') { local_user(&app, &user)?.localpart().to_owned() } else { user };
    let new = NewAccount { localpart: Some(localpart), password, display_name, admin };
    let user_id = app.server.accounts.create(&Door::Operator, &new).await?;
    tracing::info!(user = %user_id, admin, "the operator made an account");
    Ok(Json(Made { user_id }))
}

/// A new password.
#[derive(Deserialize)]
struct NewPassword {
    password: String,
    /// Whether all devices are logged out, as when somebody else may know the old password.
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

/// `PUT /_depesche/admin/users/{user}/password`
pub(super) async fn set_password(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Nothing> {
    let NewPassword { password, logout_devices } = json(request).await?;
    let id = local_user(&app, &name)?;
    app.server.accounts.reset_password(&id, &password, logout_devices).await?;
    tracing::info!(user = %id, logout_devices, "the operator set a new password");
    Ok(Json(Nothing {}))
}

/// Whether somebody is an administrator.
#[derive(Deserialize)]
struct IsAdmin {
    admin: bool,
}

/// `PUT /_depesche/admin/users/{user}/admin`
pub(super) async fn set_admin(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Nothing> {
    let IsAdmin { admin } = json(request).await?;
    let user = local_user(&app, &name)?;
    app.server.accounts.set_admin(&user, admin).await?;
    tracing::info!(%user, admin, "the operator said whether an account is an administrator's");
    Ok(Json(Nothing {}))
}

/// Whether somebody is suspended.
#[derive(Deserialize)]
struct IsSuspended {
    suspended: bool,
}

/// `PUT /_depesche/admin/users/{user}/suspended`
pub(super) async fn set_suspended(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Nothing> {
    let IsSuspended { suspended } = json(request).await?;
    let user = local_user(&app, &name)?;
    app.server.accounts.set_suspended(&user, suspended).await?;
    tracing::info!(%user, suspended, "the operator suspended an account, or lifted it");
    Ok(Json(Nothing {}))
}

/// Whether somebody is locked.
#[derive(Deserialize)]
struct IsLocked {
    locked: bool,
}

/// `PUT /_depesche/admin/users/{user}/locked`
pub(super) async fn set_locked(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Nothing> {
    let IsLocked { locked } = json(request).await?;
    let user = local_user(&app, &name)?;
    app.server.accounts.set_locked(&user, locked).await?;
    tracing::info!(%user, locked, "the operator locked an account, or unlocked it");
    Ok(Json(Nothing {}))
}

/// How thoroughly.
#[derive(Deserialize)]
struct Deactivation {
    #[serde(default)]
    erase: bool,
}

/// `POST /_depesche/admin/users/{user}/deactivate`: for good.
pub(super) async fn deactivate(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Answer<Nothing> {
    let Deactivation { erase } = json(request).await?;
    let user = local_user(&app, &name)?;
    app.server.deactivate(&user, erase).await?;
    tracing::info!(%user, erase, "the operator deactivated an account");
    Ok(Json(Nothing {}))
}

/// `{}`
#[derive(Serialize)]
pub(super) struct Nothing {}

async fn user(app: &App, info: AccountInfo) -> Result<ShownUser, Error> {
    let AccountInfo { user: user_id, account } = info;
    let profile = app.server.profiles.find(&app.server.base.view(), &user_id).await?;
    Ok(ShownUser {
        display_name: profile.displayname().map(str::to_owned),
        user_id,
        created_ms: account.created_ms,
        admin: account.admin,
        deactivated: account.standing != Standing::Active,
        locked: account.locked,
        suspended: account.suspended,
        devices: None,
    })
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound => Self::not_found(error.to_string()),
            AdminError::Deactivated => Self::bad_request(ErrorKind::UserDeactivated, error.to_string()),
            AdminError::Fault(fault) => fault.into(),
        }
    }
}
