//! `[support]`: whom users ask for help.

use ruma::OwnedUserId;
use url::Url;

use crate::{
    section::{optional, preset, section},
    value::section_as_value,
};

section! {
    /// Whom users ask for help: told by /.well-known/matrix/support, which answers only if something is set here.
    [support]
    pub struct Support {
        /// A page for users.
        page: Option<Url> = optional("\"https://example.org/matrix\""),
        /// People in charge. Repeat the block for each of them.
        contacts: Vec<Contact> = preset(Vec::new()),
    }
}

section! {
    /// One in charge.
    [contacts]
    pub struct Contact {
        /// For what: "m.role.admin" for anything, "m.role.security" for what is confidential.
        role: String = preset("m.role.admin".to_owned()),
        /// An address for mail. This or matrix_id must be set.
        email: Option<String> = optional("\"matrix@example.org\""),
        /// An address in Matrix.
        matrix_id: Option<OwnedUserId> = optional("\"@admin:example.org\""),
    }
}

section_as_value!(Contact);
