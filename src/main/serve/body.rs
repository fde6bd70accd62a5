//! A request's body that must arrive in time. A client that sends a byte now and then would else hold a request for
//! ever.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// A body with a deadline, counted from the first time that it is waited for.
pub struct Timely<B> {
    body: B,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The body could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E> {
    /// It did not arrive in time.
    #[error("the body of the request took too long")]
    TooSlow,
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] E),
}

impl<B> Timely<B> {
    /// Gives this body that long.
    pub fn new(body: B, limit: Duration) -> Self {
        Self { body, limit, timer: None }
    }
}

impl<B: Body + Unpin> Body for Timely<B> {
    type Data = B::Data;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            // One who sends in drops is always ready sooner or later: the clock runs on between the frames.
            return match &this.timer {
                Some(timer) if timer.is_elapsed() => Poll::Ready(Some(Err(BodyError::TooSlow))),
                _ => Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Failed))),
            };
        }
        let limit = this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        timer.as_mut().poll(context).map(|()| Some(Err(BodyError::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
