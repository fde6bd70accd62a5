//! Printing to the terminal. In this crate `println!` and `print!` mean these: a reader that has gone (`depesche user list
//! | head`) is no error, and what is left to print is dropped.

use std::{
    fmt,
    io::{self, Write},
};

/// As the standard library's, but a closed pipe is no panic.
macro_rules! println {
    () => { $crate::print::out(format_args!("\n")) };
    ($($part:tt)*) => { $crate::print::out(format_args!("{}\n", format_args!($($part)*))) };
}

/// As the standard library's, but a closed pipe is no panic.
macro_rules! print {
    ($($part:tt)*) => { $crate::print::out(format_args!($($part)*)) };
}

/// Writes to standard output. When nobody can read it there is nobody to tell either.
pub fn out(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}
