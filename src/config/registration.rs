//! `[registration]`: who may make an account.

use url::Url;

use crate::{
    section::{preset, required, section},
    value::{choices, section_as_value},
};

section! {
    /// Who may make an account. `depesche user create` always can.
    [registration]
    pub struct Registration {
        /// Who may register.
        mode: RegistrationMode = preset(RegistrationMode::Closed),
        /// What new users must agree to. Repeat the block for each document, and for each language of one.
        terms: Vec<Term> = preset(Vec::new()),
    }
}

choices! {
    /// Who may register.
    pub enum RegistrationMode {
        /// nobody.
        Closed = "closed",
        /// whoever has a token; `depesche token create` makes one.
        Token = "token",
        /// everyone who can reach the server.
        Open = "open",
    }
}

section! {
    /// A document to agree to: an entry of `m.login.terms`.
    [terms]
    pub struct Term {
        /// What the document is called in the protocol: letters, digits and underscores.
        id: String = required("\"privacy_policy\""),
        /// Its version. One document has one version in all its languages.
        version: String = required("\"2026-01\""),
        /// The language of this entry.
        language: String = preset("en".to_owned()),
        /// Its title.
        name: String = required("\"Privacy Policy\""),
        /// Where it can be read.
        url: Url = required("\"https://example.org/privacy\""),
    }
}

section_as_value!(Term);
