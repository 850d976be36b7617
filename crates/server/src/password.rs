//! `funnel password`: makes the lines that let an encoder push.

use std::io::{self, BufRead as _, IsTerminal as _};

use console::Term;
use funnel_control::config::is_user_name;
use funnel_ingest::Password;

use crate::cli;
use crate::console::say;
use crate::failure::Failure;

/// Reads a password and prints what to paste into the configuration.
///
/// # Errors
/// No password, two different ones, or none that can be read.
pub fn run(arguments: &cli::Password) -> Result<(), Failure> {
    let user = &arguments.user;
    if !is_user_name(user) {
        let sentence = "a user's name has 1 to 64 characters, and none of : \" and \\";
        return Err(Failure::Usage(sentence.to_owned()));
    }
    let password = read()?;
    let hash = if arguments.digest {
        Password::digest(user, &password)
    } else {
        Password::argon2(&password).map_err(Failure::fault)?
    };
    say(&format!("user = \"{user}\"\npassword_hash = \"{hash}\"\n"));
    Ok(())
}

/// Asks twice at a terminal, without showing it; else takes the first line of standard input.
fn read() -> Result<String, Failure> {
    let unreadable =
        |error: io::Error| Failure::fault(format!("the password cannot be read: {error}"));
    let password = if io::stdin().is_terminal() {
        let terminal = Term::stderr();
        let ask = |question: &str| {
            terminal.write_str(question)?;
            terminal.read_secure_line()
        };
        let password = ask("password: ").map_err(unreadable)?;
        if ask("again: ").map_err(unreadable)? != password {
            return Err(Failure::Usage("the two are not the same".to_owned()));
        }
        password
    } else {
        let mut line = String::new();
        io::stdin()
            .lock()
            .read_line(&mut line)
            .map_err(unreadable)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if password.is_empty() {
        return Err(Failure::Usage("the password is empty".to_owned()));
    }
    Ok(password)
}
