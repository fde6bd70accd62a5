//! `/_depesche/admin/registration_tokens`: who has one may register.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use depesche_server::accounts::{NewRegistrationToken, RegistrationTokenInfo};
use serde::{Deserialize, Serialize};

use super::{Answer, Json, json, users::Nothing};
use crate::App;

/// A token.
#[derive(Serialize)]
pub(super) struct ShownToken {
    token: String,
    uses_allowed: Option<u32>,
    completed: u32,
    pending: usize,
    expires_ms: Option<u64>,
}

/// All tokens.
#[derive(Serialize)]
pub(super) struct Tokens {
    registration_tokens: Vec<ShownToken>,
}

/// `GET /_depesche/admin/registration_tokens`
pub(super) async fn list(State(app): State<Arc<App>>) -> Answer<Tokens> {
    let mut registration_tokens: Vec<ShownToken> = Vec::new();
    loop {
        let after = registration_tokens.last().map(|last| last.token.clone());
        let page = app.server.accounts.list_registration_tokens(after.as_deref()).await?;
        if page.is_empty() {
            return Ok(Json(Tokens { registration_tokens }));
        }
        registration_tokens.extend(page.into_iter().map(ShownToken::from));
    }
}

/// A token to be made. What is left out: the server chooses the token, any number may use it, it never expires.
#[derive(Deserialize)]
struct New {
    token: Option<String>,
    uses_allowed: Option<u32>,
    valid_for_ms: Option<u64>,
}

/// `POST /_depesche/admin/registration_tokens`
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Answer<ShownToken> {
    let New { token, uses_allowed, valid_for_ms } = json(request).await?;
    let now_ms = app.server.base.clock.now_ms();
    let expires_ms = valid_for_ms.map(|valid_for_ms| now_ms.saturating_add(valid_for_ms));
    let new = NewRegistrationToken { token, uses_allowed, expires_ms };
    let made = app.server.accounts.create_registration_token(&new).await?;
    // Never the token itself: whoever reads the log could register with it.
    tracing::info!(uses_allowed, expires_ms, "the operator made a registration token");
    Ok(Json(made.into()))
}

/// `DELETE /_depesche/admin/registration_tokens/{token}`
pub(super) async fn remove(State(app): State<Arc<App>>, Path(token): Path<String>) -> Answer<Nothing> {
    app.server.accounts.delete_registration_token(&token).await?;
    tracing::info!("the operator deleted a registration token");
    Ok(Json(Nothing {}))
}

impl From<RegistrationTokenInfo> for ShownToken {
    fn from(info: RegistrationTokenInfo) -> Self {
        let RegistrationTokenInfo { token, stored, pending } = info;
        let (uses_allowed, completed, expires_ms) = (stored.uses_allowed, stored.completed, stored.expires_ms);
        Self { token, uses_allowed, completed, pending, expires_ms }
    }
}
