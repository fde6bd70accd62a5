//! `[accounts]`: passwords, sessions and what users may change.

use std::time::Duration;

use crate::{
    section::{preset, section},
    value::choices,
};

/// The longest a session may be told to last: a hundred years.
const LONG: Duration = Duration::from_hours(100 * 365 * 24);

section! {
    /// Passwords, sessions and what users may change.
    [accounts]
    pub struct Accounts {
        /// The fewest characters of a new password. By default length is all that is asked, as NIST SP 800-63B advises.
        password_min_length: usize = preset(8).within(1..=128),
        /// What a new password must contain besides, where rules of your own ask for it: a list of the words below.
        password_must_contain: Vec<PasswordPart> = preset(Vec::new()).shown_as("[\"uppercase\", \"digit\"]"),
        /// Whether users log in with their passwords.
        password_login: bool = preset(true),
        /// Whether a logged-in client may ask for a short-lived token that logs in another one (m.login.token).
        token_login: bool = preset(false),
        /// How long such a token is valid.
        token_login_lifetime: Duration = preset(Duration::from_mins(2))
            .within(Duration::from_secs(5)..=Duration::from_hours(1)),
        /// How long an access token is valid that the client can refresh. Clients that cannot refresh keep theirs until
        /// they log out.
        access_token_lifetime: Duration = preset(Duration::from_hours(1)).within(Duration::from_mins(1)..=LONG),
        /// How long the steps of a confirmation (user-interactive authentication) may take together.
        confirmation_lifetime: Duration = preset(Duration::from_mins(15))
            .within(Duration::from_secs(30)..=Duration::from_hours(24)),
        /// Whether users may change their passwords.
        change_password: bool = preset(true),
        /// Whether users may deactivate their accounts.
        deactivate: bool = preset(true),
        /// Whether everyone finds every account in the user directory. Otherwise one finds those with whom one shares a
        /// room, and members of rooms that everyone may join or read.
        search_all_users: bool = preset(false),
        /// The display name of a new account.
        default_display_name: DisplayName = preset(DisplayName::Localpart),
    }
}

choices! {
    /// What a password can be asked to contain.
    pub enum PasswordPart {
        /// a small letter.
        Lowercase = "lowercase",
        /// a capital letter.
        Uppercase = "uppercase",
        /// a digit.
        Digit = "digit",
        /// anything but letters and digits.
        Symbol = "symbol",
    }
}

choices! {
    /// The display name of a new account.
    pub enum DisplayName {
        /// the part of the address before the colon.
        Localpart = "localpart",
        /// none; clients then show the address.
        None = "none",
    }
}
