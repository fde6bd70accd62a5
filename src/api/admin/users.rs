//! `/_depesche/admin/users`: the accounts of this server. A user is named by the whole address or by the part before the
//! colon.

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
};
use depesche_server::{
    accounts::{AccountInfo, AdminError, Door, NewAccount, admin::MAX_ACCOUNTS_PER_PAGE, names::local_user_id},
    devices::DeviceInfo,
    records::accounts::Standing,
};
use ruma::{OwnedUserId, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Json, Shared, read};
use crate::{App, error::Error};

/// What an account is made of.
#[derive(Deserialize)]
struct New {
    /// The address, or the part before the colon.
    user: String,
    /// Without one nobody can log in until one is set.
    password: Option<String>,
    /// May it use the admin API?
    #[serde(default)]
    admin: bool,
    /// The operator's default if absent.
    display_name: Option<String>,
}

/// `POST /_depesche/admin/users`
pub async fn post(State(app): Shared, body: Body) -> Answer {
    let New { user, password, admin, display_name } = read(body).await?;
    let localpart = if user.starts_with('@') { named(&app, &user)?.localpart().to_owned() } else { user };
    let new = NewAccount { localpart: Some(localpart), password, display_name, admin };
    let user = app.server.accounts.create(&Door::Operator, &new).await?;
    Ok(Json(json!({ "user_id": user })))
}

/// `GET /_depesche/admin/users?after=...&limit=...`: in the order of their addresses, with `next` if there are more.
pub async fn list(State(app): Shared, RawQuery(query): RawQuery) -> Answer {
    let (mut after, mut limit) = (None, MAX_ACCOUNTS_PER_PAGE);
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        match &*name {
            "after" => after = Some(named(&app, &value)?),
            "limit" => limit = value.parse().map_err(|_| Error::invalid_param("limit is not a number"))?,
            _ => {}
        }
    }
    let limit = limit.clamp(1, MAX_ACCOUNTS_PER_PAGE);
    let accounts = app.server.accounts.list(after.as_deref(), limit).await?;
    let next = accounts.last().filter(|_| accounts.len() == limit).map(|last| last.user.clone());
    let mut users = Vec::with_capacity(accounts.len());
    for account in &accounts {
        users.push(shown(&app, account).await?);
    }
    Ok(Json(json!({ "users": users, "next": next })))
}

/// `GET /_depesche/admin/users/{user}`: with the devices.
pub async fn get(State(app): Shared, Path(user): Path<String>) -> Answer {
    let user = named(&app, &user)?;
    let mut shown = shown(&app, &app.server.accounts.show(&user).await?).await?;
    let devices = app.server.devices.list(&user).await?;
    shown["devices"] = devices.iter().map(device).collect();
    Ok(Json(shown))
}

#[derive(Deserialize)]
struct NewPassword {
    password: String,
    /// Whether all devices are logged out.
    #[serde(default = "yes")]
    logout_devices: bool,
}

fn yes() -> bool {
    true
}

/// `PUT /_depesche/admin/users/{user}/password`
pub async fn put_password(State(app): Shared, Path(user): Path<String>, body: Body) -> Answer {
    let user = named(&app, &user)?;
    let NewPassword { password, logout_devices } = read(body).await?;
    app.server.accounts.reset_password(&user, &password, logout_devices).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Deactivation {
    /// Whether what the user wrote is shown redacted to those who join later.
    #[serde(default)]
    erase: bool,
}

/// `POST /_depesche/admin/users/{user}/deactivate`: for good.
pub async fn deactivate(State(app): Shared, Path(user): Path<String>, body: Body) -> Answer {
    let user = named(&app, &user)?;
    let Deactivation { erase } = read(body).await?;
    app.server.deactivate(&user, erase).await?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Rank {
    admin: bool,
}

/// `PUT /_depesche/admin/users/{user}/admin`
pub async fn put_admin(State(app): Shared, Path(user): Path<String>, body: Body) -> Answer {
    let user = named(&app, &user)?;
    let Rank { admin } = read(body).await?;
    app.server.accounts.set_admin(&user, admin).await?;
    Ok(Json(json!({})))
}

/// The user that an operator names.
fn named(app: &App, user: &str) -> Result<OwnedUserId, Error> {
    let name = &app.config.server.name;
    let other = |user: &str| <&UserId>::try_from(user).is_ok_and(|user| user.server_name() != name);
    local_user_id(user, name).ok_or_else(|| {
        Error::invalid_param(if other(user) {
            format!("{user} is no user of this server: its users end in :{name}")
        } else {
            format!("{user} is no user name")
        })
    })
}

async fn shown(app: &App, info: &AccountInfo) -> Result<Value, Error> {
    let AccountInfo { user, account } = info;
    let profile = app.server.profiles.find(&app.server.base.view(), user).await?;
    Ok(json!({
        "user_id": user,
        "display_name": profile.displayname(),
        "created_ms": account.created_ms,
        "admin": account.admin,
        "deactivated": account.standing != Standing::Active,
        "locked": account.locked,
        "suspended": account.suspended,
    }))
}

fn device(info: &DeviceInfo) -> Value {
    let DeviceInfo { id, device, seen } = info;
    json!({
        "device_id": id,
        "display_name": device.display_name,
        "created_ms": device.created_ms,
        "last_seen_ms": seen.as_ref().map(|seen| seen.at_ms),
        "last_seen_ip": seen.as_ref().and_then(|seen| seen.ip),
    })
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound => Self::not_found(error.to_string()),
            AdminError::Deactivated => Self::deactivated(),
            AdminError::Fault(fault) => fault.into(),
        }
    }
}
