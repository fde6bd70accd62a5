//! `/_depesche/admin/registration_tokens`: who has one may register.

use axum::{
    body::Body,
    extract::{Path, State},
};
use depesche_server::accounts::{NewRegistrationToken, RegistrationTokenInfo};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Json, Shared, read};

/// What a token is made of.
#[derive(Deserialize)]
struct New {
    /// The text; made up if absent.
    token: Option<String>,
    /// How many accounts it is good for; any number if absent.
    uses_allowed: Option<u32>,
    /// For how long it is valid; for ever if absent.
    valid_for_ms: Option<u64>,
}

/// `POST /_depesche/admin/registration_tokens`
pub async fn post(State(app): Shared, body: Body) -> Answer {
    let New { token, uses_allowed, valid_for_ms } = read(body).await?;
    let now_ms = app.server.base.clock.now_ms();
    let expires_ms = valid_for_ms.map(|valid_for_ms| now_ms.saturating_add(valid_for_ms));
    let new = NewRegistrationToken { token, uses_allowed, expires_ms };
    Ok(Json(shown(&app.server.accounts.create_registration_token(&new).await?)))
}

/// `GET /_depesche/admin/registration_tokens`: all of them; an operator has made each one.
pub async fn list(State(app): Shared) -> Answer {
    let mut tokens: Vec<RegistrationTokenInfo> = Vec::new();
    loop {
        let after = tokens.last().map(|last| last.token.as_str());
        let page = app.server.accounts.list_registration_tokens(after).await?;
        if page.is_empty() {
            break;
        }
        tokens.extend(page);
    }
    Ok(Json(json!({ "registration_tokens": tokens.iter().map(shown).collect::<Vec<_>>() })))
}

/// `DELETE /_depesche/admin/registration_tokens/{token}`
pub async fn delete(State(app): Shared, Path(token): Path<String>) -> Answer {
    app.server.accounts.delete_registration_token(&token).await?;
    Ok(Json(json!({})))
}

fn shown(info: &RegistrationTokenInfo) -> Value {
    let RegistrationTokenInfo { token, stored, pending } = info;
    json!({
        "token": token,
        "uses_allowed": stored.uses_allowed,
        "completed": stored.completed,
        "pending": pending,
        "created_ms": stored.created_ms,
        "expires_ms": stored.expires_ms,
    })
}
