//! The command line. One declaration gives the parser and the help; the help teaches by examples.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, value_parser};

const EXAMPLES: &str = "\
Examples:
  depesche config example --name example.org > config.toml   write a first configuration
  depesche --config config.toml serve                        run the server
  depesche --config config.toml user create alice --admin    make the first user (asks for a password)
  depesche --config config.toml doctor                       find out what is wrong

The configuration is the file named by --config, else by the environment variable DEPESCHE_CONFIG, else
/etc/depesche/config.toml.

The commands user, token, report, media, db and backup ask the running server, over a socket that only its owner may open. When no
server runs they open the database themselves. Run them as the user that the server runs as.

Exit codes: 0 done; 1 tried and failed; 2 wrong command line, configuration, signing key or
database: trying again does not help; 3 a server runs but cannot be reached.";

/// Depesche, a Matrix homeserver.
#[derive(Debug, Parser)]
#[command(name = "depesche", version, after_help = EXAMPLES, max_term_width = 110, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file.
    #[arg(long, short, global = true, env = "DEPESCHE_CONFIG", value_name = "FILE",
          default_value = depesche_config::DEFAULT_PATH, hide_env_values = true)]
    pub config: PathBuf,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until it is told to stop (SIGTERM or Ctrl-C).
    Serve(ServeOptions),
    /// Check the configuration, or print one to start from.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make, list and change the accounts of this server.
    #[command(subcommand)]
    User(UserCommand),
    /// Hand out registration tokens: who has one may register (registration.mode = "token").
    #[command(subcommand)]
    Token(TokenCommand),
    /// See what users report, and close it when it is dealt with.
    #[command(subcommand)]
    Report(ReportCommand),
    /// See what users uploaded, and delete it.
    #[command(subcommand)]
    Media(MediaCommand),
    /// Look after the database.
    #[command(subcommand)]
    Db(DbCommand),
    /// Copy everything that must not be lost into a folder that does not exist yet, while the server runs.
    #[command(after_help = "Example:\n  depesche backup /var/backups/depesche/2026-11-22")]
    Backup {
        /// The folder, which the server writes. The one above it must be there, and the server be allowed to write to it.
        into: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Put a backup in the place of lost data, while the server does not run.
    #[command(after_help = "Overwrites nothing: move what is left of the old data away first.\n\n\
                            Example:\n  depesche restore /var/backups/depesche/2026-11-22")]
    Restore {
        /// The folder that `depesche backup` made.
        backup: PathBuf,
    },
    /// Find out what is wrong with this installation, and what to do about it.
    #[command(after_help = "Exit code 1 if something is wrong; warnings alone leave it at 0.")]
    Doctor(Output),
    /// Print the version of this program, or of the running server.
    Version(VersionOptions),
    /// What the server runs to make one thumbnail.
    #[command(name = depesche_thumbnails::COMMAND, hide = true)]
    ThumbnailWorker {
        /// What is wanted, and what it may cost.
        arguments: Vec<String>,
    },
}

/// How the answer is printed.
#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON, for scripts.
    #[arg(long)]
    pub json: bool,
}

/// Options of `version`.
#[derive(Args, Clone, Copy, Debug)]
pub struct VersionOptions {
    /// Ask the running server: after an upgrade it may still be the old one.
    #[arg(long)]
    pub server: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Options of `serve`.
#[derive(Args, Debug, Default)]
pub struct ServeOptions {
    /// Make a new signing key although there is a database. Only if the old key is lost for good.
    #[arg(long)]
    pub new_signing_key: bool,
}

/// `depesche config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with the configuration, or else every value in force.
    Check,
    /// Print every key with its meaning and default, as a file to start from.
    #[command(after_help = "Example:\n  depesche config example --name example.org > /etc/depesche/config.toml")]
    Example {
        /// Put in the name of your server.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Put in the folder of the database.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
}

/// `depesche user`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account. Asks for the password unless told where it is.
    #[command(after_help = "Examples:\n  depesche user create alice --admin\n  \
                            pass show matrix/bob | depesche user create bob --password-stdin")]
    Create {
        /// The part of the address before the colon, or the whole address.
        user: String,
        /// Make the account an administrator.
        #[arg(long)]
        admin: bool,
        /// The name that others see.
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        #[command(flatten)]
        password: Password,
        #[command(flatten)]
        output: Output,
    },
    /// List the accounts, in the order of their addresses.
    List {
        /// Begin behind this user.
        #[arg(long, value_name = "USER")]
        after: Option<String>,
        /// The most to list, from 1 to 1000.
        #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Show one account with its devices.
    Show {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
        #[command(flatten)]
        output: Output,
    },
    /// Set a new password, and log all devices out.
    ResetPassword {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
        /// Leave the devices logged in.
        #[arg(long)]
        keep_devices: bool,
        #[command(flatten)]
        password: Password,
    },
    /// Close an account for good: its devices are logged out, it leaves its rooms, its name stays taken.
    Deactivate {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
        /// Remove what the profile says as well.
        #[arg(long)]
        erase: bool,
        /// Do not ask.
        #[arg(long, short)]
        yes: bool,
    },
    /// Suspend an account: its user reads and leaves rooms, but says, joins and changes nothing.
    Suspend {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
    },
    /// Lift a suspension.
    Unsuspend {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
    },
    /// Lock an account: its user can only log out. Its devices stay logged in, for when it is unlocked.
    Lock {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
    },
    /// Unlock an account.
    Unlock {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
    },
    /// Make an account an administrator of the server.
    MakeAdmin {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
        /// The other way round: make it an ordinary account.
        #[arg(long)]
        revoke: bool,
    },
}

/// Where a password comes from. Never from an argument: those are seen by every user of the machine.
#[derive(Args, Debug, Default)]
#[group(multiple = false)]
pub struct Password {
    /// Read the password from standard input: its first line.
    #[arg(long)]
    pub password_stdin: bool,
    /// Read the password from a file: its first line.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `depesche token`
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a registration token and print it.
    #[command(after_help = "Example:\n  depesche token create --uses 10 --valid-for-days 7")]
    Create {
        /// The token itself, at most 64 letters, digits and ._~-; made up if not given.
        token: Option<String>,
        /// How many people may register with it. Without this option any number may.
        #[arg(long, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..))]
        uses: Option<u32>,
        /// How long it is valid, from 1 to 36500 days. Without this option it is valid for ever, until it is deleted.
        #[arg(long, value_name = "DAYS", value_parser = value_parser!(u64).range(1..=36_500))]
        valid_for_days: Option<u64>,
        #[command(flatten)]
        output: Output,
    },
    /// List the registration tokens.
    List(Output),
    /// Delete a registration token. Who registered with it stays.
    Delete {
        /// The token.
        token: String,
    },
}

/// `depesche report`
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// List the reports that wait, oldest first.
    List {
        /// Those that are closed too.
        #[arg(long)]
        all: bool,
        /// Begin behind this number.
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        after: u64,
        /// The most to list, from 1 to 1000.
        #[arg(long, default_value_t = 100, value_name = "NUMBER", value_parser = value_parser!(u32).range(1..=1000))]
        limit: u32,
        #[command(flatten)]
        output: Output,
    },
    /// Show a report with its reason and, of an event, what was said.
    Show {
        /// Its number.
        number: u64,
        #[command(flatten)]
        output: Output,
    },
    /// Close a report.
    #[command(after_help = "Example:\n  depesche report close 7 --note warned")]
    Close {
        /// Its number.
        number: u64,
        /// What was done about it.
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
    },
}

/// `depesche media`
#[derive(Debug, Subcommand)]
pub enum MediaCommand {
    /// List the files that a user uploaded, oldest first.
    List {
        /// The user: the part of the address before the colon, or the whole address.
        user: String,
        #[command(flatten)]
        output: Output,
    },
    /// Delete a file for good. Messages that show it stay.
    #[command(after_help = "Example:\n  depesche media delete mxc://example.org/AbCdEf")]
    Delete {
        /// Its address, or what stands in it behind the server.
        file: String,
    },
}

/// `depesche db`
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Read the whole database and check that it is sound.
    Verify(Output),
    /// Print what the database says of itself.
    Stats(Output),
    /// Give space of deleted rows back to the disk. The server may go on meanwhile, more slowly.
    Compact,
    /// Copy the database into a folder that does not exist yet, while the server runs.
    Checkpoint {
        /// The folder, on the same file system if it is to be quick.
        into: PathBuf,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command, UserCommand};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_examples_of_the_help_parse() {
        let mut command = Cli::command();
        let mut pages = vec![command.render_long_help().to_string()];
        for group in command.get_subcommands_mut() {
            pages.push(group.render_long_help().to_string());
            pages.extend(group.get_subcommands_mut().map(|command| command.render_long_help().to_string()));
        }
        let mut examples = 0;
        for line in pages.iter().flat_map(|page| page.lines()) {
            let Some(at) = line.find("  depesche ").or_else(|| line.find("| depesche ")) else { continue };
            let words = line[at + 2..].trim().split("  ").next().unwrap_or_default();
            let words = words.split(" > ").next().unwrap_or_default().split(' ');
            Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}\n{error}"));
            examples += 1;
        }
        assert_eq!(examples, 12, "the help teaches by examples");
    }

    #[test]
    fn the_process_that_makes_thumbnails_is_no_command_for_people() {
        let mut command = Cli::command();
        assert!(!command.render_long_help().to_string().contains("thumbnail"));
        let cli = Cli::try_parse_from(["depesche", depesche_thumbnails::COMMAND, "1", "2"]).expect("valid");
        assert!(matches!(cli.command, Command::ThumbnailWorker { arguments } if arguments == ["1", "2"]));
    }

    #[test]
    fn passwords_are_no_arguments() {
        assert!(Cli::try_parse_from(["depesche", "user", "create", "alice", "--password", "secret"]).is_err());
        assert!(
            Cli::try_parse_from(["depesche", "user", "create", "a", "--password-stdin", "--password-file", "f"])
                .is_err()
        );
        let cli = Cli::try_parse_from(["depesche", "user", "create", "alice", "--password-stdin"]);
        let Ok(Cli { command: Command::User(UserCommand::Create { password, .. }), .. }) = cli else {
            panic!("{cli:?}")
        };
        assert!(password.password_stdin);
    }

    #[test]
    fn tokens_that_nobody_could_use_are_refused() {
        for option in ["--uses", "--valid-for-days"] {
            assert!(Cli::try_parse_from(["depesche", "token", "create", option, "0"]).is_err(), "{option}");
            assert!(Cli::try_parse_from(["depesche", "token", "create", option, "1"]).is_ok(), "{option}");
        }
    }

    #[test]
    fn numbers_that_the_server_would_not_keep_to_are_refused() {
        for words in ["token create --valid-for-days 36501", "user list --limit 1001", "report list --limit 0"] {
            assert!(Cli::try_parse_from(["depesche"].into_iter().chain(words.split(' '))).is_err(), "{words}");
        }
    }

    #[test]
    fn the_configuration_may_be_named_before_and_behind_the_command() {
        for line in [["depesche", "-c", "x", "serve"], ["depesche", "serve", "--config", "x"]] {
            assert_eq!(Cli::try_parse_from(line).expect("valid").config, std::path::PathBuf::from("x"));
        }
    }
}
