//! Hashing passwords: Argon2id, on the blocking pool, only so many at a time.
//!
//! One hash takes 19 MiB and some 20 ms of a processor, so a flood of logins is a queue and not a flood of memory.

use std::{sync::Arc, thread::available_parallelism};

use argon2::{
    Argon2, Params,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use depesche_config::{Accounts, PasswordPart};
use depesche_rules::bounds::MAX_PASSWORD_BYTES;
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::{clock::Random, tx::Fault};

/// Why a new password is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UnfitPassword {
    /// It has too few characters.
    #[error("a password needs at least {min_length} characters")]
    Short {
        /// How many it needs.
        min_length: usize,
    },
    /// It lacks what the operator asks for.
    #[error("a password needs {}", words(*missing))]
    Lacks {
        /// What.
        missing: PasswordPart,
    },
    /// It has more bytes than we hash.
    #[error("a password may have at most {MAX_PASSWORD_BYTES} bytes")]
    Long,
}

/// Hashes and verifies.
pub(super) struct Passwords {
    permits: Arc<Semaphore>,
    random: Random,
}

impl Passwords {
    pub(super) fn new(random: Random) -> Self {
        let at_a_time = available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(at_a_time)), random }
    }

    /// The hash of a new password, as a PHC string.
    pub(super) async fn hash(&self, password: &str) -> Result<String, Fault> {
        let password = password.to_owned();
        let salt = self.random.bytes::<16>();
        let hashed = self
            .blocking(move || {
                let hash: Result<PasswordHash, _> =
                    Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
                hash.map(|hash| hash.to_string())
            })
            .await?;
        hashed.map_err(|error| Fault::Bug(format!("a password could not be hashed: {error}")))
    }

    /// Whether the password is the one behind the hash. Without a hash the same work is done in vain, so that the time
    /// taken does not tell whether an account exists.
    pub(super) async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, Fault> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let password = password.to_owned();
        let known = hash.is_some();
        let hash = hash.map_or_else(nobodys_hash, str::to_owned);
        let verified = self
            .blocking(move || {
                let hash = PasswordHash::new(&hash)?;
                match Argon2::default().verify_password(password.as_bytes(), &hash) {
                    Ok(()) => Ok(true),
                    Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                    Err(error) => Err(error),
                }
            })
            .await?;
        let same = verified.map_err(|error| Fault::Bug(format!("a stored password hash is not one: {error}")))?;
        Ok(same && known)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let gone = |_| Fault::Bug("the server stops while a password is hashed".to_owned());
        // The permit goes along: a caller who gives up does not free it before the work is done.
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| gone(error.to_string()))?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        spawn_blocking(work).await.map_err(|error| gone(error.to_string()))
    }
}

/// Whether a password may be set.
pub(super) fn check(password: &str, config: &Accounts) -> Result<(), UnfitPassword> {
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(UnfitPassword::Long);
    }
    let min_length = config.password_min_length;
    if password.chars().count() < min_length {
        return Err(UnfitPassword::Short { min_length });
    }
    let missing = config.password_must_contain.iter().find(|part| !password.chars().any(|c| is(c, **part)));
    missing.map_or(Ok(()), |missing| Err(UnfitPassword::Lacks { missing: *missing }))
}

fn is(character: char, part: PasswordPart) -> bool {
    match part {
        PasswordPart::Lowercase => character.is_lowercase(),
        PasswordPart::Uppercase => character.is_uppercase(),
        PasswordPart::Digit => character.is_numeric(),
        PasswordPart::Symbol => !character.is_alphanumeric(),
    }
}

fn words(part: PasswordPart) -> &'static str {
    match part {
        PasswordPart::Lowercase => "a small letter",
        PasswordPart::Uppercase => "a capital letter",
        PasswordPart::Digit => "a digit",
        PasswordPart::Symbol => "a character that is neither a letter nor a digit",
    }
}

/// A well-formed hash, with the parameters of new ones, that no known password has.
fn nobodys_hash() -> String {
    let salt = BASE64_STANDARD_NO_PAD.encode([0; 16]);
    let output = BASE64_STANDARD_NO_PAD.encode([0; Params::DEFAULT_OUTPUT_LEN]);
    let (memory, passes, lanes) = (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST, Params::DEFAULT_P_COST);
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${output}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verifies_what_it_hashed_and_nothing_else() {
        let passwords = Passwords::new(Random::seeded(1));
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap(), "the salt is the same");
        assert!(passwords.verify("correct horse", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("correct horses", Some(&hash)).await.unwrap());
        assert!(!passwords.verify("correct horse", None).await.unwrap());
        assert!(passwords.verify("correct horse", Some("not a hash")).await.is_err());
    }

    #[tokio::test]
    async fn an_unknown_user_costs_the_same_parameters() {
        let passwords = Passwords::new(Random::seeded(1));
        let hash = passwords.hash("correct horse").await.unwrap();
        let parameters = |hash: &str| hash.rsplit('$').skip(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(parameters(&nobodys_hash()), parameters(&hash));
        assert_eq!(nobodys_hash().len(), hash.len());
    }

    fn config(keys: &str) -> Accounts {
        let text = format!("[server]\nname = \"a.test\"\n[accounts]\n{keys}");
        depesche_config::Config::parse(&text).unwrap().accounts
    }

    #[test]
    fn length_counts_characters_and_is_bounded_in_bytes() {
        let config = config("password_min_length = 8");
        assert_eq!(check("äöüäöüä", &config), Err(UnfitPassword::Short { min_length: 8 }));
        assert_eq!(check("äöüäöüäö", &config), Ok(()));
        assert_eq!(check(&"a".repeat(MAX_PASSWORD_BYTES), &config), Ok(()));
        assert_eq!(check(&"a".repeat(MAX_PASSWORD_BYTES + 1), &config), Err(UnfitPassword::Long));
    }

    #[test]
    fn an_operator_may_ask_for_more() {
        let config = config("password_must_contain = [\"lowercase\", \"uppercase\", \"digit\", \"symbol\"]");
        for (password, missing) in [
            ("ÄBCDEF-1", PasswordPart::Lowercase),
            ("äbcdef-1", PasswordPart::Uppercase),
            ("äbcdef-G", PasswordPart::Digit),
            ("äbcdefG1", PasswordPart::Symbol),
        ] {
            assert_eq!(check(password, &config), Err(UnfitPassword::Lacks { missing }), "{password}");
        }
        assert_eq!(check("Äbcdef 1", &config), Ok(()));
    }
}
