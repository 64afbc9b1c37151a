//! Where a flag's value may come from besides the command line: the environment and a TOML file.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Arg, Command};

const PREFIX: &str = "GALERA_SST_";

/// Why the `--config` file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("read configuration file {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("parse configuration file {path}")]
    Parse {
        path: PathBuf,
        #[source]
        source: Box<toml::de::Error>,
    },
    #[error("configuration file {path}: no command has a flag named {key}")]
    UnknownKey { path: PathBuf, key: String },
    #[error("configuration file {path}: {key} must be a string, number, boolean or list of these")]
    Value { path: PathBuf, key: String },
}

/// Gives every long flag of every command its twin `GALERA_SST_<FLAG>`.
pub(super) fn with_environment(command: Command) -> Command {
    command
        .mut_args(|arg| match twin(&arg) {
            Some(name) => arg.env(name),
            None => arg,
        })
        .mut_subcommands(with_environment)
}

fn twin(arg: &Arg) -> Option<String> {
    let long = arg.get_long()?;
    Some(format!("{PREFIX}{}", long.replace('-', "_").to_ascii_uppercase()))
}

/// Makes the values of the `--config` file the defaults of their flags.
pub(super) fn with_file(command: Command, arguments: &[OsString]) -> Result<Command, FileError> {
    let Some(path) = file_path(arguments) else { return Ok(command) };
    let text = std::fs::read_to_string(&path)
        .map_err(|source| FileError::Read { path: path.clone(), source })?;
    let table: toml::Table = text
        .parse()
        .map_err(|source| FileError::Parse { path: path.clone(), source: Box::new(source) })?;
    table.into_iter().try_fold(command, |command, (key, value)| {
        if let toml::Value::Table(section) = value {
            in_section(command, &path, &key, section)
        } else {
            everywhere(command, &path, &key, &value)
        }
    })
}

/// The file's own name comes from the flag or its twin; clap cannot be asked yet.
fn file_path(arguments: &[OsString]) -> Option<PathBuf> {
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        if text == "--config" {
            return rest.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os(format!("{PREFIX}CONFIG")).map(PathBuf::from)
}

fn in_section(
    command: Command,
    path: &Path,
    name: &str,
    section: toml::Table,
) -> Result<Command, FileError> {
    if command.find_subcommand(name).is_none() {
        return Err(FileError::UnknownKey { path: path.to_owned(), key: name.to_owned() });
    }
    section.into_iter().try_fold(command, |command, (key, value)| {
        let known = command.find_subcommand(name).is_some_and(|sub| has_flag(sub, &key));
        if !known {
            return Err(FileError::UnknownKey { path: path.to_owned(), key });
        }
        let values = texts(path, &key, &value)?;
        Ok(command.mut_subcommand(name, |sub| default(sub, &key, values)))
    })
}

/// A key at the top is for every command that has the flag.
fn everywhere(
    command: Command,
    path: &Path,
    key: &str,
    value: &toml::Value,
) -> Result<Command, FileError> {
    if !has_flag(&command, key) && !command.get_subcommands().any(|sub| has_flag(sub, key)) {
        return Err(FileError::UnknownKey { path: path.to_owned(), key: key.to_owned() });
    }
    let values = texts(path, key, value)?;
    let command =
        if has_flag(&command, key) { default(command, key, values.clone()) } else { command };
    Ok(command.mut_subcommands(|sub| {
        if has_flag(&sub, key) { default(sub, key, values.clone()) } else { sub }
    }))
}

fn has_flag(command: &Command, long: &str) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(long))
}

fn default(command: Command, long: &str, values: Vec<String>) -> Command {
    command.mut_args(|arg| {
        if arg.get_long() == Some(long) {
            arg.required(false).default_values(values.clone())
        } else {
            arg
        }
    })
}

fn texts(path: &Path, key: &str, value: &toml::Value) -> Result<Vec<String>, FileError> {
    let refuse = || FileError::Value { path: path.to_owned(), key: key.to_owned() };
    match value {
        toml::Value::String(text) => Ok(vec![text.clone()]),
        toml::Value::Integer(number) => Ok(vec![number.to_string()]),
        toml::Value::Float(number) => Ok(vec![number.to_string()]),
        toml::Value::Boolean(is_set) => Ok(vec![is_set.to_string()]),
        toml::Value::Array(items) => {
            let lists = items.iter().map(|item| match item {
                toml::Value::Array(_) | toml::Value::Table(_) => Err(refuse()),
                toml::Value::String(_)
                | toml::Value::Integer(_)
                | toml::Value::Float(_)
                | toml::Value::Boolean(_)
                | toml::Value::Datetime(_) => texts(path, key, item),
            });
            Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => Err(refuse()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn command() -> Command {
        let flag = |name| Arg::new(name).long(name);
        Command::new("test")
            .arg(flag("log").default_value("warn"))
            .subcommand(Command::new("one").arg(flag("group").required(true)))
    }

    fn parse(toml: &str, arguments: &[&str]) -> Result<Option<String>, FileError> {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(toml.as_bytes()).expect("write");
        let config = format!("--config={}", file.path().display());
        let words = ["test", "one"].iter().chain(arguments).copied();
        let arguments: Vec<_> = words.clone().chain([config.as_str()]).map(Into::into).collect();
        let command = with_file(with_environment(command()), &arguments)?;
        let matches = command.try_get_matches_from(words).expect("valid arguments");
        let one = matches.subcommand_matches("one").expect("subcommand");
        Ok(one.get_one::<String>("group").cloned())
    }

    #[test]
    fn a_file_gives_a_required_flag_and_the_command_line_wins_over_it() {
        assert_eq!(parse("group = \"a\"", &[]).expect("valid").as_deref(), Some("a"));
        assert_eq!(parse("[one]\ngroup = \"b\"", &[]).expect("valid").as_deref(), Some("b"));
        let both = parse("group = \"a\"", &["--group", "c"]).expect("valid");
        assert_eq!(both.as_deref(), Some("c"));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        let error = parse("grup = \"a\"", &[]).expect_err("unknown key");
        assert!(error.to_string().contains("grup"), "{error}");
        assert!(parse("[two]\ngroup = \"a\"", &[]).is_err());
    }

    #[test]
    fn every_long_flag_has_its_twin() {
        let decorated = with_environment(command());
        let one = decorated.find_subcommand("one").expect("subcommand");
        let group = one.get_arguments().next().expect("flag");
        assert_eq!(group.get_env(), Some(std::ffi::OsStr::new("GALERA_SST_GROUP")));
    }
}
