//! Where passwords come from: a prompt, standard input, or a file. Never the command line.

use std::io::{BufRead, IsTerminal, stdin};

use crate::{cli::Password, failure::Failure};

/// The password; a prompt asks twice.
pub fn read(source: &Password, user: &str) -> Result<String, Failure> {
    if source.password_stdin {
        return first_line(stdin().lock()).map_err(|error| Failure::failed("cannot read the password", error));
    }
    if let Some(path) = &source.password_file {
        return std::fs::File::open(path)
            .and_then(|file| first_line(std::io::BufReader::new(file)))
            .map_err(|error| Failure::failed(path.display(), error));
    }
    if !stdin().is_terminal() {
        return Err(Failure::Usage(
            "there is no terminal to ask for the password; use --password-stdin or --password-file".to_owned(),
        ));
    }
    prompt(user).map_err(|error| Failure::failed("cannot read the password", error))?
}

fn prompt(user: &str) -> std::io::Result<Result<String, Failure>> {
    let password = rpassword::prompt_password(format!("New password of {user}: "))?;
    let again = rpassword::prompt_password("The same again: ")?;
    Ok(if password == again {
        Ok(password)
    } else {
        Err(Failure::Usage("the two passwords differ; nothing was changed".to_owned()))
    })
}

/// The first line, without its end. An empty one is most likely a mistake.
fn first_line(mut from: impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the first line is empty"));
    }
    Ok(line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::first_line;

    #[test]
    fn the_first_line_is_the_password() {
        assert_eq!(first_line(&b" pass word \r\nmore\n"[..]).ok().as_deref(), Some(" pass word "));
        assert_eq!(first_line(&b"no newline"[..]).ok().as_deref(), Some("no newline"));
        assert!(first_line(&b"\nsecond"[..]).is_err());
    }
}
