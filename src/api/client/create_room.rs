//! `POST /_matrix/client/v3/createRoom`
//! <https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3createroom>

use std::collections::BTreeSet;

use depesche_rules::{bounds::MAX_CREATE_INVITES, json};
use depesche_server::workflows::create::{Creation, Preset};
use ruma::{
    CanonicalJsonObject, OwnedRoomAliasId, OwnedUserId,
    api::{
        client::room::{
            Visibility,
            create_room::v3::{Request, Response, RoomPreset},
        },
        error::ErrorKind,
    },
    events::StateEventType,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::room_version::Versioned;
use crate::{caller::User, error::Error, route::Context};

/// `POST /_matrix/client/v3/createRoom`
pub async fn post(context: Context, user: User, request: Versioned<Request>) -> Result<Response, Error> {
    user.must_not_be_suspended()?;
    let request = request.known()?;
    let server = &context.app.server;
    if !request.invite_3pid.is_empty() {
        let words = "this server invites by user id only: it trusts no identity server";
        return Err(Error::new(http::StatusCode::FORBIDDEN, ErrorKind::ServerNotTrusted, words));
    }
    let published = match request.visibility {
        Visibility::Public => true,
        Visibility::Private => false,
        _ => return Err(Error::invalid_param("`visibility` is \"public\" or \"private\"")),
    };
    if published {
        server.directory.must_have_space().await?;
    }
    let preset = match request.preset {
        Some(RoomPreset::PublicChat) => Preset::PublicChat,
        Some(RoomPreset::PrivateChat) => Preset::PrivateChat,
        Some(RoomPreset::TrustedPrivateChat) => Preset::TrustedPrivateChat,
        Some(_) => return Err(Error::invalid_param("this is no preset")),
        None if published => Preset::PublicChat,
        None => Preset::PrivateChat,
    };
    let alias = match &request.room_alias_name {
        Some(name) => Some(alias(&context, name)?),
        None => None,
    };
    let initial_state: Vec<_> =
        request.initial_state.iter().map(|raw| initial_state(raw.json())).collect::<Result<_, _>>()?;
    let invite = invites(&context, request.invite, request.is_direct).await?;
    let members = initial_state.iter().filter(|(kind, ..)| *kind == StateEventType::RoomMember).count();
    context.app.count_invites(invite.len() + members, &user)?;
    let creation = Creation {
        creator: user.user_id,
        version: request.room_version,
        preset,
        published,
        alias,
        name: request.name,
        topic: request.topic,
        invite,
        creation_content: object(request.creation_content.as_ref().map(ruma::serde::Raw::json))?,
        initial_state,
        power_levels: object(request.power_level_content_override.as_ref().map(ruma::serde::Raw::json))?,
    };
    let creator = creation.creator.clone();
    let room_id = server.rooms.create(creation).await?;
    server.has_joined(&creator, &room_id).await;
    Ok(Response { room_id })
}

fn alias(context: &Context, localpart: &str) -> Result<OwnedRoomAliasId, Error> {
    let alias = format!("#{localpart}:{}", context.app.server.base.name);
    alias.try_into().map_err(|_| Error::invalid_param("`room_alias_name` cannot be the local part of an alias"))
}

async fn invites(
    context: &Context,
    users: Vec<OwnedUserId>,
    is_direct: bool,
) -> Result<Vec<(OwnedUserId, CanonicalJsonObject)>, Error> {
    let server = &context.app.server;
    if users.len() > MAX_CREATE_INVITES {
        return Err(Error::too_large(format!("at most {MAX_CREATE_INVITES} invites at once")));
    }
    let (mut invites, mut seen) = (Vec::with_capacity(users.len()), BTreeSet::new());
    for user in users {
        if user.server_name() != server.base.name {
            return Err(Error::forbidden("this server does not federate, so it cannot invite users of other servers"));
        }
        if !seen.insert(user.clone()) {
            continue;
        }
        let mut content = server.member_content(&user).await?;
        if is_direct {
            content.insert("is_direct".to_owned(), true.into());
        }
        invites.push((user, content));
    }
    Ok(invites)
}

fn object(raw: Option<&RawValue>) -> Result<CanonicalJsonObject, Error> {
    match raw {
        Some(raw) => json::raw_object(raw).map_err(|why| Error::bad_json(why.to_string())),
        None => Ok(CanonicalJsonObject::new()),
    }
}

fn initial_state(raw: &RawValue) -> Result<(StateEventType, String, CanonicalJsonObject), Error> {
    #[derive(Deserialize)]
    struct InitialState<'a> {
        #[serde(rename = "type")]
        kind: StateEventType,
        #[serde(default)]
        state_key: String,
        #[serde(borrow)]
        content: &'a RawValue,
    }
    let state: InitialState<'_> =
        serde_json::from_str(raw.get()).map_err(|why| Error::bad_json(format!("in `initial_state`: {why}")))?;
    Ok((state.kind, state.state_key, object(Some(state.content))?))
}
