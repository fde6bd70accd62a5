//! Printing to the terminal. In this crate `println!` and `print!` mean these: a reader that has gone (`depesche user list
//! | head`) is no error, and what is left to print is dropped. Any other error is kept for the end of the program, which
//! then fails: a file that was cut by a full disk must not pass for a whole one.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    sync::OnceLock,
};

/// Why something could not be printed: the first reason. Global, as standard output is.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// As the standard library's, but a closed pipe is no panic.
macro_rules! println {
    () => { $crate::print::out(format_args!("\n")) };
    ($($part:tt)*) => { $crate::print::out(format_args!("{}\n", format_args!($($part)*))) };
}

/// As the standard library's, but a closed pipe is no panic.
macro_rules! print {
    ($($part:tt)*) => { $crate::print::out(format_args!($($part)*)) };
}

/// Writes to standard output.
pub fn out(text: fmt::Arguments<'_>) {
    if let Err(error) = write(&mut io::stdout().lock(), text) {
        // Later ones follow from the first.
        let _ = LOST.set(error);
    }
}

/// Why what was printed did not arrive, if it did not.
pub fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// When nobody can read it there is nobody to tell either.
fn write(out: &mut impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    match out.write_fmt(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::OpenOptions, io::ErrorKind};

    use super::write;

    #[test]
    fn a_full_disk_is_an_error_and_a_closed_pipe_is_none() {
        let mut full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let written = write(&mut full, format_args!("a line\n"));
        assert_eq!(written.map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert!(write(&mut writer, format_args!("a line\n")).is_ok());
    }
}
