//! What was said, from its four places: a flag goes before a variable, a variable before the file, and
//! the file before the default.
//!
//! The flags are described once, for clap, which also knows their variables and defaults. A key of the
//! file is a flag with underscores; what the file says and no flag or variable does is handed to clap as
//! if it had been a flag. So every key is checked by the one parser that it has anyway.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    ArgAction, ArgMatches, Command as Clap, CommandFactory as _, FromArgMatches as _,
    error::{ContextKind, ContextValue},
    parser::ValueSource,
};

use super::{
    StartError,
    file::{self, Entry, File},
};
use crate::cli::{Cli, Command, ServeArguments};

/// The file that is read if it is there and no other is named.
const FILE: &str = "orchestratord.toml";
/// Flags that no file may set: which file it is, and what is only asked once.
const NOT_IN_FILES: [&str; 5] = ["config", "schema", "json", "help", "version"];

/// What this process was told.
///
/// # Errors
///
/// When the file can't be used. A wrong command line ends the process as clap does.
pub fn read() -> Result<Cli, StartError> {
    let arguments: Vec<OsString> = env::args_os().collect();
    let matches = Cli::command().get_matches_from(&arguments);
    let Some(path) = file_of(&matches) else {
        return Ok(from(&matches));
    };
    let file = file::read(&path, &keys())?;
    layer(arguments, &matches, &path, file)
}

/// What a process is told whose command line is empty, by this file of this path.
///
/// # Errors
///
/// When a key of it is not what its flag takes.
pub fn of_file(path: &Path, file: File) -> Result<Cli, StartError> {
    let arguments = vec![OsString::from("orchestratord")];
    let matches = Cli::command().get_matches_from(&arguments);
    layer(arguments, &matches, path, file)
}

/// The file that is to be read, for commands that serve or check.
fn file_of(matches: &ArgMatches) -> Option<PathBuf> {
    let serving = serving(matches)?;
    let named = serving.get_one::<PathBuf>("config").cloned();
    named.or_else(|| Some(PathBuf::from(FILE)).filter(|file| file.exists()))
}

/// Where the flags of the daemon stand: at the top, or after a command that needs its settings.
fn serving(matches: &ArgMatches) -> Option<&ArgMatches> {
    match matches.subcommand() {
        None => Some(matches),
        Some(("check", check)) => Some(check),
        Some(("models", models)) => models.subcommand().map(|(_, command)| command),
        Some(_) => None,
    }
}

fn layer(
    mut arguments: Vec<OsString>,
    matches: &ArgMatches,
    path: &Path,
    File { entries, pools }: File,
) -> Result<Cli, StartError> {
    let command = daemon_flags();
    let serving = serving(matches).unwrap_or(matches);
    let said = |id: &str| {
        let source = serving.value_source(id);
        matches!(
            source,
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    };
    let unsaid = entries.iter().filter(|entry| !said(&entry.key));
    for entry in unsaid {
        arguments.extend(as_flag(&command, entry));
    }
    let again = Cli::command().try_get_matches_from(arguments);
    let again = again.map_err(|error| refuse(path, &entries, &error))?;
    let mut cli = from(&again);
    match &mut cli.command {
        None => cli.serve.pools = pools,
        Some(Command::Check(check)) => check.serve.pools = pools,
        Some(Command::Models(command)) => command.serve_mut().pools = pools,
        Some(_) => {}
    }
    Ok(cli)
}

fn from(matches: &ArgMatches) -> Cli {
    Cli::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

/// The flags of the daemon, each a key of the file.
pub(super) fn daemon_flags() -> Clap {
    <ServeArguments as clap::Args>::augment_args(Clap::new("orchestratord"))
}

/// The flags that a file may set.
pub(super) fn in_files(command: &Clap) -> impl Iterator<Item = &clap::Arg> {
    let flags = command.get_arguments();
    flags.filter(|flag| !NOT_IN_FILES.contains(&flag.get_id().as_str()))
}

/// The keys that a file may have.
pub fn keys() -> Vec<String> {
    in_files(&daemon_flags())
        .map(|flag| flag.get_id().to_string())
        .collect()
}

/// `--flag=value`; nothing for a switch that is off.
fn as_flag(command: &Clap, entry: &Entry) -> Option<OsString> {
    let mut flags = command.get_arguments();
    let flag = flags.find(|flag| *flag.get_id() == entry.key)?;
    let name = flag.get_long()?;
    match flag.get_action() {
        ArgAction::SetTrue if entry.value == "true" => Some(format!("--{name}").into()),
        ArgAction::SetTrue => None,
        _ => Some(format!("--{name}={}", entry.value).into()),
    }
}

/// A value of the file is not what its flag takes.
fn refuse(path: &Path, entries: &[Entry], error: &clap::Error) -> StartError {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => flag.trim_start_matches('-').to_owned(),
        _ => String::new(),
    };
    let name: String = flag
        .chars()
        .take_while(|c| !c.is_whitespace() && *c != '=')
        .collect();
    let key = name.replace('-', "_");
    let entry = entries.iter().find(|entry| entry.key == key);
    let place = entry.map_or_else(String::new, |entry| {
        format!(", line {}: `{key}` is {:?}", entry.line, entry.value)
    });
    let why = error.to_string();
    let why = why.lines().next().unwrap_or_default();
    StartError::new(
        format!(
            "{}{place}: {}",
            path.display(),
            why.trim_start_matches("error: ")
        ),
        "mend the file; `orchestratord --help` says what each key takes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_is_a_key_of_the_file() {
        let keys = keys();
        for key in [
            "addr",
            "slots",
            "admission_capacity",
            "transcripts",
            "runtime_dir",
        ] {
            assert!(keys.contains(&key.to_owned()), "{key}");
        }
        assert!(!keys.contains(&"config".to_owned()));
    }

    #[test]
    fn every_flag_is_called_after_its_key_and_its_variable() {
        for flag in in_files(&daemon_flags()) {
            let key = flag.get_id().as_str();
            assert_eq!(flag.get_long(), Some(key.replace('_', "-").as_str()));
            let variable = flag.get_env().map(|env| env.to_string_lossy().into_owned());
            let expected = match key {
                // Its name is older than the daemon.
                "worker_token" => "AUTH_TOKEN".to_owned(),
                // All who speak to the hub know it by this name.
                "hub_token" => "HF_TOKEN".to_owned(),
                key => format!("ORCHD_{}", key.to_uppercase()),
            };
            assert_eq!(variable, Some(expected));
        }
    }
}
