//! A mutex that knows nothing of panics. Whoever panics with it in hand leaves what it guards to the next one: a request
//! that breaks off takes nothing from the others. So what is guarded is whole between any two statements that change it,
//! or is a cache, which is made anew.

use std::sync::{self, MutexGuard, PoisonError};

/// As the standard library's, without poison.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// With this in it.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Waits until nobody else has it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_leaves_what_is_guarded_to_the_next_one() {
        let mutex = Mutex::new(1);
        let broken = catch_unwind(AssertUnwindSafe(|| {
            let mut held = mutex.lock();
            *held = 2;
            panic!("a panic of the test");
        }));
        assert!(broken.is_err());
        assert_eq!(*mutex.lock(), 2);
    }
}
