//! Where passwords come from: a prompt, standard input, or a file. Never the command line.

use std::io::{IsTerminal, stdin};

use crate::{
    cli::Password,
    failure::Failure,
    secret::{first_line, first_line_of},
};

/// The password; a prompt asks twice.
pub fn read(source: &Password, user: &str) -> Result<String, Failure> {
    if source.password_stdin {
        return first_line(stdin().lock()).map_err(|error| Failure::failed("cannot read the password", error));
    }
    if let Some(path) = &source.password_file {
        return first_line_of(path).map_err(|error| Failure::failed(path.display(), error));
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
