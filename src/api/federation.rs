//! `/_matrix/federation/`: what others than users ask. Nothing yet but whose an OpenID token is.

pub mod openid;
