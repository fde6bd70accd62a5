//! A future that is often ready at once.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::future::BoxFuture;

/// A value that is there at once (in memory, in the block cache) or comes later (from disk).
pub struct Read<T>(State<T>);

enum State<T> {
    Ready(Option<T>),
    Later(BoxFuture<'static, T>),
}

impl<T> Read<T> {
    /// The value is there.
    pub fn ready(value: T) -> Self {
        Self(State::Ready(Some(value)))
    }

    /// The value comes from somewhere that takes time.
    pub fn later(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(State::Later(Box::pin(future)))
    }
}

// The value is never pinned in place: it is moved out when ready, and a boxed future is pinned in its box.
impl<T> Unpin for Read<T> {}

impl<T> Future for Read<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            State::Ready(value) => match value.take() {
                Some(value) => Poll::Ready(value),
                None => panic!("a read was awaited again after it had finished"),
            },
            State::Later(future) => future.as_mut().poll(context),
        }
    }
}
