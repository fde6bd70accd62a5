//! `/_matrix/client/v3/keys/`: end-to-end keys.
//! <https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption>

pub mod changes;
pub mod claim;
pub mod device_signing;
pub mod query;
pub mod signatures;
pub mod upload;
