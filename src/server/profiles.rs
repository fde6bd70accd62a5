//! Profiles: what users say of themselves, one JSON object each.
//!
//! Who shares a room sees display name and avatar in the member events: the batch of a change has a journal row, by
//! which a workflow carries it into the rooms. The words of the names are kept for the user directory. Which profiles one may look up is not decided here.
//!
//! Spec: [profiles](https://spec.matrix.org/v1.19/client-server-api/#profiles).

pub mod terms;

use std::sync::Arc;

use depesche_rules::bounds::{MAX_AVATAR_URL_CHARS, MAX_DISPLAY_NAME_CHARS, MAX_PROFILE_BYTES, MAX_PROFILE_KEY_BYTES};
use ruma::{CanonicalJsonObject, MxcUri, UserId};
use serde_json::{Map, Value};

use crate::{
    Base, Fault,
    keyspace::{ACCOUNT, PROFILE, PROFILE_SPREAD},
    records::accounts::{Spread, Standing},
    tx::{Tx, View},
};

/// The name of the field with the display name.
pub const DISPLAYNAME: &str = "displayname";
/// The name of the field with the avatar.
pub const AVATAR_URL: &str = "avatar_url";
/// The name of the field with the time zone.
pub const TIME_ZONE: &str = "m.tz";

/// A profile: fields by name.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Profile(pub Map<String, Value>);

impl Profile {
    /// The display name.
    pub fn displayname(&self) -> Option<&str> {
        self.0.get(DISPLAYNAME)?.as_str()
    }

    /// The avatar.
    pub fn avatar_url(&self) -> Option<&MxcUri> {
        self.0.get(AVATAR_URL)?.as_str().map(Into::into)
    }

    /// What membership events say of the user.
    pub fn member_content(&self) -> CanonicalJsonObject {
        let fields = [(DISPLAYNAME, self.displayname()), (AVATAR_URL, self.avatar_url().map(MxcUri::as_str))];
        let said = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?.to_owned().into())));
        said.collect()
    }
}

/// Why a profile is not shown or changed.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The user is unknown, or has said nothing, or nothing under this name.
    #[error("there is no such profile or field")]
    NotFound,
    /// The field's name is longer than 255 bytes.
    #[error("the name of a profile field may have at most {MAX_PROFILE_KEY_BYTES} bytes")]
    KeyTooLarge,
    /// The field's name is not of the grammar.
    #[error("this is not a name for a profile field")]
    InvalidKey,
    /// The value is not what the field holds: text for a display name or a time zone, an mxc URI for an avatar.
    #[error("this is not a value for {0}")]
    InvalidValue(&'static str),
    /// The profile would become too large.
    #[error("a profile must be smaller than {MAX_PROFILE_BYTES} bytes")]
    TooLarge,
    /// The server failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The profiles of this server's users.
pub struct Profiles {
    base: Arc<Base>,
}

impl Profiles {
    /// Over this base.
    pub fn new(base: Arc<Base>) -> Self {
        Self { base }
    }

    /// A user's profile; an empty one for users who are unknown or have said nothing.
    pub async fn find(&self, view: &View, user: &UserId) -> Result<Profile, Fault> {
        of(view, user).await
    }

    /// A user's profile.
    pub async fn get(&self, user: &UserId) -> Result<Profile, ProfileError> {
        let profile = self.find(&self.base.view(), user).await?;
        if profile.0.is_empty() { Err(ProfileError::NotFound) } else { Ok(profile) }
    }

    /// One field of it.
    pub async fn get_field(&self, user: &UserId, field: &str) -> Result<Value, ProfileError> {
        let mut profile = self.find(&self.base.view(), user).await?;
        profile.0.remove(field).ok_or(ProfileError::NotFound)
    }

    /// Sets a field and returns the profile with it. An empty display name or avatar removes it.
    pub async fn set_field(&self, user: &UserId, field: &str, value: Value) -> Result<Profile, ProfileError> {
        check_key(field)?;
        let value = check_value(field, value)?;
        self.change(user, field, value).await
    }

    /// Removes a field, if it is there, and returns the profile without it.
    pub async fn remove_field(&self, user: &UserId, field: &str) -> Result<Profile, ProfileError> {
        check_key(field)?;
        self.change(user, field, None).await
    }

    async fn change(&self, user: &UserId, field: &str, value: Option<Value>) -> Result<Profile, ProfileError> {
        let (key, value) = (&(user.to_owned(),), &value);
        self.base
            .transact(|tx| async move {
                // The account may end in this moment, and its profile with it.
                if tx.read(&ACCOUNT, key).await?.is_some_and(|account| account.standing != Standing::Active) {
                    return Err(ProfileError::NotFound);
                }
                let stored = tx.read(&PROFILE, key).await?;
                let mut profile = parse(key, stored)?;
                let before = match value {
                    Some(value) => profile.0.insert(field.to_owned(), value.clone()),
                    None => profile.0.remove(field),
                };
                if before == *value {
                    return Ok(profile);
                }
                let text = Value::Object(profile.0.clone()).to_string();
                if text.len() >= MAX_PROFILE_BYTES {
                    return Err(ProfileError::TooLarge);
                }
                tx.put(&PROFILE, key, &text);
                if is_spread(field) {
                    tx.put_stamped_value(&PROFILE_SPREAD, key, &Spread::default(), vec![Spread::CHANGED]);
                }
                if field == DISPLAYNAME {
                    terms::index(&tx, user, profile.displayname()).await?;
                }
                Ok(profile)
            })
            .await
    }
}

/// A user's profile; an empty one for users who are unknown or have said nothing.
pub async fn of(view: &View, user: &UserId) -> Result<Profile, Fault> {
    let key = (user.to_owned(),);
    parse(&key, view.get(&PROFILE, &key).await?)
}

/// Whether a field stands in the membership events of the user's rooms as well.
pub fn is_spread(field: &str) -> bool {
    [DISPLAYNAME, AVATAR_URL].contains(&field)
}

/// What a membership event of the batch says of a user. The batch requires that it is still so at the commit: a change of
/// the profile at the same moment either is in it, or finds the member in the room and follows.
pub(crate) async fn member_content(tx: &Tx, user: &UserId) -> Result<CanonicalJsonObject, Fault> {
    let key = (user.to_owned(),);
    let stored = tx.read(&PROFILE, &key).await?;
    Ok(parse(&key, stored)?.member_content())
}

/// Puts the first profile of a new account into the batch.
pub(crate) async fn first(tx: &Tx, user: &UserId, display_name: Option<&str>) -> Result<(), Fault> {
    if let Some(name) = display_name {
        let profile = Map::from_iter([(DISPLAYNAME.to_owned(), Value::from(name))]);
        tx.put(&PROFILE, &(user.to_owned(),), &Value::Object(profile).to_string());
    }
    terms::index(tx, user, display_name).await
}

/// Puts the end of a profile into the batch.
pub(crate) async fn forget(tx: &Tx, user: &UserId) -> Result<(), Fault> {
    tx.delete(&PROFILE, &(user.to_owned(),));
    tx.delete(&PROFILE_SPREAD, &(user.to_owned(),));
    terms::forget(tx, user).await
}

fn parse(key: &(ruma::OwnedUserId,), stored: Option<String>) -> Result<Profile, Fault> {
    let Some(text) = stored else { return Ok(Profile::default()) };
    let corrupt = |_| Fault::Corrupt { table: PROFILE.name, key: PROFILE.key(key) };
    serde_json::from_str(&text).map(Profile).map_err(corrupt)
}

/// Every name is one of the common namespaced identifier grammar. That custom names begin with a domain is a custom, by
/// which nobody is refused. Spec: <https://spec.matrix.org/v1.19/appendices/#common-namespaced-identifier-grammar>.
fn check_key(field: &str) -> Result<(), ProfileError> {
    if field.len() > MAX_PROFILE_KEY_BYTES {
        return Err(ProfileError::KeyTooLarge);
    }
    let is_identifier = field.starts_with(|first: char| first.is_ascii_lowercase())
        && field.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    if is_identifier { Ok(()) } else { Err(ProfileError::InvalidKey) }
}

/// The value as it is stored; `None` for one that removes the field.
fn check_value(field: &str, value: Value) -> Result<Option<Value>, ProfileError> {
    match field {
        DISPLAYNAME => text(DISPLAYNAME, value, MAX_DISPLAY_NAME_CHARS),
        AVATAR_URL => {
            let value = text(AVATAR_URL, value, MAX_AVATAR_URL_CHARS)?;
            let is_mxc = |value: &Value| value.as_str().is_some_and(|url| <&MxcUri>::from(url).is_valid());
            if value.as_ref().is_some_and(|value| !is_mxc(value)) {
                return Err(ProfileError::InvalidValue(AVATAR_URL));
            }
            Ok(value)
        }
        // Which names there are changes from year to year: clients expect some that they do not know.
        TIME_ZONE if !value.is_string() => Err(ProfileError::InvalidValue(TIME_ZONE)),
        _ => Ok(Some(value)),
    }
}

fn text(field: &'static str, value: Value, max_chars: usize) -> Result<Option<Value>, ProfileError> {
    match value {
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) if text.chars().count() <= max_chars => Ok(Some(text.into())),
        _ => Err(ProfileError::InvalidValue(field)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::accounts::tests::House;

    #[tokio::test]
    async fn fields_are_set_and_removed() {
        let house = House::new();
        let alice = &house.user("alice").await;
        let profiles = Profiles::new(house.base.clone());
        let profile = profiles.set_field(alice, "displayname", json!("Alice")).await.unwrap();
        assert_eq!(profile.displayname(), Some("Alice"));
        let profile = profiles.set_field(alice, "avatar_url", json!("mxc://agency.test/a")).await.unwrap();
        assert_eq!(profile.avatar_url().map(MxcUri::as_str), Some("mxc://agency.test/a"));
        profiles.set_field(alice, "m.tz", json!("Europe/Berlin")).await.unwrap();
        profiles.set_field(alice, "org.example.any-thing", json!(null)).await.unwrap();
        assert_eq!(
            Value::Object(profiles.get(alice).await.unwrap().0),
            json!({ "displayname": "Alice", "avatar_url": "mxc://agency.test/a", "m.tz": "Europe/Berlin",
                "org.example.any-thing": null })
        );
        assert_eq!(profiles.get_field(alice, "org.example.any-thing").await.unwrap(), Value::Null);
        profiles.remove_field(alice, "m.tz").await.unwrap();
        profiles.remove_field(alice, "m.tz").await.unwrap();
        profiles.remove_field(alice, "org.example.any-thing").await.unwrap();
        profiles.set_field(alice, "displayname", json!("")).await.unwrap();
        assert!(matches!(profiles.get_field(alice, "displayname").await, Err(ProfileError::NotFound)));
        profiles.set_field(alice, "avatar_url", json!("")).await.unwrap();
        assert!(matches!(profiles.get(alice).await, Err(ProfileError::NotFound)));
    }

    #[tokio::test]
    async fn who_is_gone_gets_no_profile() {
        let house = House::new();
        let alice = &house.user("alice").await;
        let profiles = Profiles::new(house.base.clone());
        house.accounts.begin_deactivation(alice, false).await.unwrap();
        let refused = profiles.set_field(alice, "displayname", json!("Alice")).await;
        assert!(matches!(refused, Err(ProfileError::NotFound)));
        assert!(matches!(profiles.get(alice).await, Err(ProfileError::NotFound)));
    }

    #[tokio::test]
    async fn names_and_values_are_checked() {
        let house = House::new();
        let alice = &house.user("alice").await;
        let profiles = Profiles::new(house.base.clone());
        for field in ["a", "a..b", "a.", "org.example.1", "org.example.2nd-name", "a_b"] {
            profiles.set_field(alice, field, json!(1)).await.unwrap();
            profiles.remove_field(alice, field).await.unwrap();
        }
        for field in ["", "A.b", "org.example.A", ".a", "_a", "-a", "1.a", "a b.c", "a/b", "ä.b"] {
            let refused = profiles.set_field(alice, field, json!(1)).await;
            assert!(matches!(refused, Err(ProfileError::InvalidKey)), "{field}");
        }
        let long = |bytes: usize| format!("a.{}", "a".repeat(bytes - 2));
        profiles.set_field(alice, &long(MAX_PROFILE_KEY_BYTES), json!(1)).await.unwrap();
        assert!(matches!(
            profiles.set_field(alice, &long(MAX_PROFILE_KEY_BYTES + 1), json!(1)).await,
            Err(ProfileError::KeyTooLarge)
        ));
        assert!(matches!(
            profiles.remove_field(alice, &long(MAX_PROFILE_KEY_BYTES + 1)).await,
            Err(ProfileError::KeyTooLarge)
        ));
        profiles.set_field(alice, DISPLAYNAME, json!("\u{1f600}".repeat(MAX_DISPLAY_NAME_CHARS))).await.unwrap();
        for (field, value) in [
            (DISPLAYNAME, json!(1)),
            (DISPLAYNAME, json!("a".repeat(MAX_DISPLAY_NAME_CHARS + 1))),
            (AVATAR_URL, json!("https://example.org/a.png")),
            (AVATAR_URL, json!(format!("mxc://agency.test/{}", "a".repeat(MAX_AVATAR_URL_CHARS)))),
        ] {
            let refused = profiles.set_field(alice, field, value).await;
            assert!(matches!(refused, Err(ProfileError::InvalidValue(_))), "{field}");
        }
    }

    #[tokio::test]
    async fn a_profile_stays_below_64_kib() {
        let house = House::new();
        let alice = &house.user("alice").await;
        let profiles = Profiles::new(house.base.clone());
        let other = r#"{"a.b":"","displayname":"alice"}"#.len();
        let fits = "a".repeat(MAX_PROFILE_BYTES - 1 - other);
        profiles.set_field(alice, "a.b", json!(fits)).await.unwrap();
        let refused = profiles.set_field(alice, "a.b", json!(format!("{fits}a"))).await;
        assert!(matches!(refused, Err(ProfileError::TooLarge)));
        assert!(matches!(profiles.set_field(alice, "c.d", json!(1)).await, Err(ProfileError::TooLarge)));
    }
}
