//! Time and randomness, which enter through `main`: a test stops the clock, and a seed replays.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use depesche_store::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// The wall clock, in milliseconds since the Unix epoch.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }))
    }

    /// A clock that stands still until it is set; it hands out the hand that sets it.
    pub fn paused(now_ms: u64) -> (Self, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(now_ms));
        let read = Arc::clone(&hand);
        (Self(Arc::new(move || read.load(Ordering::Relaxed))), hand)
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        (self.0)()
    }
}

/// A cryptographic source of randomness. Cloning shares it.
#[derive(Clone)]
pub struct Random(Arc<Mutex<StdRng>>);

impl Random {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(rand::make_rng())))
    }

    /// The same numbers each time.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().fill_bytes(&mut bytes);
        bytes
    }

    /// An opaque string of 192 bits, URL-safe.
    pub fn secret(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.bytes::<24>())
    }

    /// An identifier of capital letters, for people to compare (device ids). About 4.7 bits a letter.
    pub fn letters(&self, length: usize) -> String {
        let mut letters = String::with_capacity(length);
        while letters.len() < length {
            // Only bytes below 26 * 9 are used, so that each letter is equally likely.
            letters
                .extend(self.bytes::<16>().iter().filter(|byte| **byte < 234).map(|byte| char::from(b'A' + byte % 26)));
        }
        letters.truncate(length);
        letters
    }
}
