//! `[support]`: whom users ask for help.

use toml::{Spanned, de::DeValue};
use url::Url;

use crate::{
    section::{Description, Section, Source, optional, preset, section},
    value::Value,
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
        matrix_id: Option<String> = optional("\"@admin:example.org\""),
    }
}

impl Value for Contact {
    fn read<'t>(source: &mut Source<'t>, key: &str, value: &Spanned<DeValue<'t>>) -> Option<Self> {
        source.table(key, value)
    }

    fn show(&self) -> String {
        self.inline()
    }

    fn entries() -> Option<Description> {
        Some(Self::describe())
    }
}

// Ranges of keys need an order; contacts have none.
impl PartialOrd for Contact {
    fn partial_cmp(&self, _: &Self) -> Option<std::cmp::Ordering> {
        None
    }
}
