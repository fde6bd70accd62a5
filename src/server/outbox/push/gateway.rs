//! What carries a notification to a push gateway: a trait, because the server has no HTTP.

use futures::future::BoxFuture;

/// Reaches push gateways.
pub trait PushGateway: Send + Sync + 'static {
    /// Posts a JSON body to a gateway and gives the JSON of its answer, if that is a success. Bounded in time and bytes;
    /// follows no redirect; reaches no address that users must not reach.
    fn notify<'a>(&'a self, url: &'a str, body: Vec<u8>) -> BoxFuture<'a, Result<Vec<u8>, GatewayError>>;
}

/// A gateway that was not reached, or did not take the notification. Says nothing of the notification itself.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct GatewayError(pub String);
