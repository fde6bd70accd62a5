//! Requests and answers of our own, where ruma's types cannot say what is to be said.

use std::marker::PhantomData;

use bytes::BufMut;
use http::{HeaderValue, header};
use ruma::api::{
    IncomingRequest, OutgoingBody, OutgoingResponse,
    error::{DeserializationError, IntoHttpError},
};
use serde::Serialize;

/// A request of ours is described like ruma's: method, paths and authentication are the endpoint's, however it is read.
/// What wraps any request is described like that one.
macro_rules! described_as {
    (@like $Request:ty, $limited:expr) => {
        const METHOD: http::Method = <$Request as ruma::api::Metadata>::METHOD;
        const RATE_LIMITED: bool = $limited;
        type Authentication = <$Request as ruma::api::Metadata>::Authentication;
        type PathBuilder = <$Request as ruma::api::Metadata>::PathBuilder;
        const PATH_BUILDER: Self::PathBuilder = <$Request as ruma::api::Metadata>::PATH_BUILDER;
    };
    ($Own:ty: any $Wrapped:ident $(, with $Other:ident)*) => {
        impl<$Wrapped: ruma::api::Metadata $(, $Other)*> ruma::api::Metadata for $Own {
            $crate::route::described_as!(@like $Wrapped, <$Wrapped as ruma::api::Metadata>::RATE_LIMITED);
        }
    };
    ($Own:ty: $Request:ty) => {
        $crate::route::described_as!($Own: $Request, limited: <$Request as ruma::api::Metadata>::RATE_LIMITED);
    };
    ($Own:ty: $Request:ty, limited: $limited:expr) => {
        impl ruma::api::Metadata for $Own {
            $crate::route::described_as!(@like $Request, $limited);
        }
    };
}
pub(crate) use described_as;

/// A response's JSON, where ruma's type for it cannot say what is to be said.
pub struct JsonResponse<T = serde_json::Value>(pub T);

impl<T: Serialize> OutgoingResponse for JsonResponse<T> {
    type Body = JsonBody<T>;

    fn try_into_http_response_inner(self) -> Result<http::Response<JsonBody<T>>, IntoHttpError> {
        Ok(http::Response::new(JsonBody(self.0)))
    }
}

/// The body of a [`JsonResponse`], which may be large: it is written where it is sent from.
pub struct JsonBody<T>(T);

impl<T: Serialize> OutgoingBody for JsonBody<T> {
    type Error = IntoHttpError;

    fn content_type(&self) -> Option<HeaderValue> {
        Some(HeaderValue::from_static("application/json"))
    }

    fn try_into_buf<B: Default + BufMut + AsRef<[u8]>>(self) -> Result<B, IntoHttpError> {
        let mut buffer = B::default().writer();
        serde_json::to_writer(&mut buffer, &self.0)?;
        Ok(buffer.into_inner())
    }
}

/// A request that application services alone make with a token, and whether this one has any.
pub struct MaybeOfService<R> {
    /// The request.
    pub request: R,
    /// Whether it has a token.
    pub shows_token: bool,
}

described_as!(MaybeOfService<R>: any R);

impl<R: IncomingRequest> IncomingRequest for MaybeOfService<R> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = R::OutgoingResponse;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        let shows_token = request.headers().contains_key(header::AUTHORIZATION);
        R::try_from_http_request_inner(request, path).map(|request| Self { request, shows_token })
    }
}

/// ruma's request `R`, answered with `A` and not with ruma's response.
pub struct Answering<R, A> {
    /// The request.
    pub request: R,
    answer: PhantomData<fn() -> A>,
}

impl<R, A> From<R> for Answering<R, A> {
    fn from(request: R) -> Self {
        Self { request, answer: PhantomData }
    }
}

described_as!(Answering<R, A>: any R, with A);

impl<R: IncomingRequest, A: OutgoingResponse> IncomingRequest for Answering<R, A> {
    type EndpointError = R::EndpointError;
    type OutgoingResponse = A;

    fn try_from_http_request_inner(request: http::Request<&[u8]>, path: &[&str]) -> Result<Self, DeserializationError> {
        R::try_from_http_request_inner(request, path).map(Self::from)
    }
}
