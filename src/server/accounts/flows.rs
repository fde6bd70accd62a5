//! What the operator's choices ask of who registers.

use std::collections::BTreeMap;

use depesche_config::{Registration, RegistrationMode};
use ruma::api::client::uiaa::{AuthFlow, AuthType, LoginTermsParams, PolicyDefinition, PolicyTranslation};

/// The ways to confirm a registration; none if it is closed.
pub(super) fn registration(config: &Registration) -> Vec<AuthFlow> {
    let mut stages = Vec::new();
    match config.mode {
        RegistrationMode::Closed => return Vec::new(),
        RegistrationMode::Token => stages.push(AuthType::RegistrationToken),
        RegistrationMode::Open => {}
    }
    if !config.terms.is_empty() {
        stages.push(AuthType::Terms);
    }
    // The specification wants one answer 401 even where nothing is asked.
    if stages.is_empty() {
        stages.push(AuthType::Dummy);
    }
    vec![AuthFlow { stages }]
}

/// The documents to agree to, as the parameters of `m.login.terms` show them.
pub(super) fn terms(config: &Registration) -> LoginTermsParams {
    let mut policies: BTreeMap<String, PolicyDefinition> = BTreeMap::new();
    for term in &config.terms {
        let policy = policies
            .entry(term.id.clone())
            .or_insert_with(|| PolicyDefinition { version: term.version.clone(), translations: BTreeMap::new() });
        let translation = PolicyTranslation { name: term.name.clone(), url: term.url.to_string() };
        policy.translations.insert(term.language.clone(), translation);
    }
    LoginTermsParams { policies }
}

/// The documents and versions that a new user is shown now.
pub(super) fn documents(config: &Registration) -> BTreeMap<String, String> {
    config.terms.iter().map(|term| (term.id.clone(), term.version.clone())).collect()
}
