//! `--env`: the variables that an existing Job is given, as defaults of our flags and of the clouds.
//!
//! The process starts itself anew with its own variables in place of the Job's; one that is set already
//! wins. So a command line in a Job stays as short as the script that it replaces.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Who set the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Surroundings {
    /// Percona's operator: PXC_SERVICE, S3_BUCKET and S3_BUCKET_PATH, AZURE_…, BACKUP_DIR, SSL_DIR
    PerconaOperator,
    /// Stash: STASH_APPBINDING, a file with the AppBinding as JSON
    Stash,
}

/// Why the variables cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SurroundingsError {
    #[error("--env {0}: neither percona-operator nor stash")]
    Unknown(String),
    #[error("--env: {0} is not set")]
    Missing(&'static str),
    #[error("--env stash: read {path}")]
    Read {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("--env stash: {0} is not an AppBinding as JSON")]
    Parse(String),
    #[error("--env stash: the AppBinding names no group, so the server stands alone: use `dump`")]
    StandAlone,
    #[error("--env: start anew")]
    Start(#[source] std::io::Error),
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;
type Variables = Vec<(&'static str, String)>;

/// What `--env` or its variable names, and the arguments without it.
pub(super) fn asked(arguments: &[OsString]) -> Option<(String, Vec<OsString>)> {
    let mut rest = Vec::new();
    let mut name = std::env::var("GALERA_SST_ENV").ok();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--env") => name = words.next()?.to_str().map(str::to_owned),
            Some(text) => match text.strip_prefix("--env=") {
                Some(value) => name = Some(value.to_owned()),
                None => rest.push(word.clone()),
            },
            None => rest.push(word.clone()),
        }
    }
    Some((name?, rest))
}

/// Starts the process anew; comes back only with the reason why it could not.
pub(super) fn start_anew(name: &str, arguments: &[OsString]) -> SurroundingsError {
    let own = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let variables = match translate(name, &own) {
        Ok(variables) => variables,
        Err(error) => return error,
    };
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return SurroundingsError::Start(error),
    };
    let unset = variables.into_iter().filter(|(name, _)| own(name).is_none());
    let error = Command::new(program)
        .args(arguments.iter().skip(1))
        .envs(unset)
        .env_remove("GALERA_SST_ENV")
        .exec();
    SurroundingsError::Start(error)
}

fn translate(name: &str, own: Lookup<'_>) -> Result<Variables, SurroundingsError> {
    match <Surroundings as clap::ValueEnum>::from_str(name, false) {
        Ok(Surroundings::PerconaOperator) => percona_operator(own),
        Ok(Surroundings::Stash) => stash(own),
        Err(_) => Err(SurroundingsError::Unknown(name.to_owned())),
    }
}

fn percona_operator(own: Lookup<'_>) -> Result<Variables, SurroundingsError> {
    let service = own("PXC_SERVICE").ok_or(SurroundingsError::Missing("PXC_SERVICE"))?;
    let mut variables = vec![
        ("GALERA_SST_ADDRESS", format!("gcomm://{service}:4567")),
        ("GALERA_SST_METHOD", "xtrabackup-v2".to_owned()),
        // The first pod is the one that takes the writes.
        ("GALERA_SST_AVOID_DONOR", format!("{service}-0")),
        ("GALERA_SST_AVOID_IF_OTHERS", "true".to_owned()),
        ("GALERA_SST_GROUP", service),
    ];
    variables.extend(storage(own)?);
    variables.extend(certificates(own).map(|directory| ("GALERA_SST_TLS_DIR", directory)));
    Ok(variables)
}

/// S3, else Azure, else the volume: the same for `--to` and `--from`.
fn storage(own: Lookup<'_>) -> Result<Variables, SurroundingsError> {
    let place = if let Some(bucket) = own("S3_BUCKET") {
        let path = own("S3_BUCKET_PATH").ok_or(SurroundingsError::Missing("S3_BUCKET_PATH"))?;
        format!("s3://{bucket}/{path}")
    } else if let Some(container) = own("AZURE_CONTAINER_NAME") {
        let path = own("BACKUP_PATH").ok_or(SurroundingsError::Missing("BACKUP_PATH"))?;
        format!("az://{container}/{path}")
    } else if let Some(url) = own("S3_BUCKET_URL") {
        format!("s3://{}", url.trim_start_matches("s3://"))
    } else {
        format!("file://{}", own("BACKUP_DIR").unwrap_or_else(|| "/backup".to_owned()))
    };
    let mut variables = vec![("GALERA_SST_TO", place.clone()), ("GALERA_SST_FROM", place)];
    let names = [
        ("ENDPOINT", "GALERA_SST_ENDPOINT"),
        ("DEFAULT_REGION", "GALERA_SST_REGION"),
        ("ACCESS_KEY_ID", "AWS_ACCESS_KEY_ID"),
        ("SECRET_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY"),
        ("S3_SESSION_TOKEN", "AWS_SESSION_TOKEN"),
        ("AZURE_ENDPOINT", "GALERA_SST_ENDPOINT"),
        ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
        ("AZURE_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),
    ];
    variables.extend(names.into_iter().filter_map(|(theirs, ours)| Some((ours, own(theirs)?))));
    if own("S3_FORCE_PATH").is_some_and(|value| value == "true") {
        variables.push(("GALERA_SST_ADDRESSING", "path".to_owned()));
    }
    Ok(variables)
}

/// The first of the operator's directories with any of the files: half of them is an error of `--tls-dir`,
/// and never plain text.
fn certificates(own: Lookup<'_>) -> Option<String> {
    let directories =
        [("SSL_INTERNAL_DIR", "/etc/mysql/ssl-internal"), ("SSL_DIR", "/etc/mysql/ssl")];
    directories.into_iter().map(|(name, usual)| own(name).unwrap_or_else(|| usual.to_owned())).find(
        |directory| {
            ["ca.crt", "tls.crt", "tls.key"]
                .iter()
                .any(|name| Path::new(directory).join(name).exists())
        },
    )
}

fn stash(own: Lookup<'_>) -> Result<Variables, SurroundingsError> {
    let path = own("STASH_APPBINDING").ok_or(SurroundingsError::Missing("STASH_APPBINDING"))?;
    let text = std::fs::read(&path)
        .map_err(|source| SurroundingsError::Read { path: path.clone(), source })?;
    let binding: Value =
        serde_json::from_slice(&text).map_err(|_| SurroundingsError::Parse(path.clone()))?;
    app_binding(&binding).ok_or(SurroundingsError::Parse(path))?
}

fn app_binding(binding: &Value) -> Option<Result<Variables, SurroundingsError>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let parameters = &binding["spec"]["parameters"];
    let name = text(&binding["metadata"]["name"])?;
    let namespace = text(&binding["metadata"]["namespace"])?;
    let group = text(&parameters["group"]).unwrap_or_default();
    if group.is_empty() {
        return Some(Err(SurroundingsError::StandAlone));
    }
    let method = text(&parameters["sstMethod"]).unwrap_or_else(|| "xtrabackup-v2".to_owned());
    Some(Ok(vec![
        ("GALERA_SST_ADDRESS", text(&parameters["address"])?),
        ("GALERA_SST_GROUP", group),
        ("GALERA_SST_METHOD", method),
        ("GALERA_SST_STASH_REF", format!("{namespace}/{name}")),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(own: &[(&str, &str)]) -> Result<Variables, SurroundingsError> {
        let find = |name: &str| {
            let found = own.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        percona_operator(&find)
    }

    fn value<'a>(variables: &'a Variables, name: &str) -> Option<&'a str> {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn the_operators_variables_say_whom_to_ask_and_where_to_store() {
        let s3 = operator(&[
            ("PXC_SERVICE", "cluster1-pxc"),
            ("S3_BUCKET", "b"),
            ("S3_BUCKET_PATH", "p/cluster1-full"),
            ("ACCESS_KEY_ID", "id"),
            ("DEFAULT_REGION", "eu-1"),
        ]);
        let s3 = s3.expect("valid");
        assert_eq!(value(&s3, "GALERA_SST_ADDRESS"), Some("gcomm://cluster1-pxc:4567"));
        assert_eq!(value(&s3, "GALERA_SST_GROUP"), Some("cluster1-pxc"));
        assert_eq!(value(&s3, "GALERA_SST_TO"), Some("s3://b/p/cluster1-full"));
        assert_eq!(value(&s3, "AWS_ACCESS_KEY_ID"), Some("id"));
        assert_eq!(value(&s3, "GALERA_SST_REGION"), Some("eu-1"));
        assert_eq!(value(&s3, "GALERA_SST_AVOID_DONOR"), Some("cluster1-pxc-0"));
        let volume = operator(&[("PXC_SERVICE", "c")]).expect("valid");
        assert_eq!(value(&volume, "GALERA_SST_TO"), Some("file:///backup"));
        let azure = [("PXC_SERVICE", "c"), ("AZURE_CONTAINER_NAME", "box"), ("BACKUP_PATH", "p")];
        let azure = operator(&azure).expect("valid");
        assert_eq!(value(&azure, "GALERA_SST_TO"), Some("az://box/p"));
        assert!(matches!(operator(&[]), Err(SurroundingsError::Missing("PXC_SERVICE"))));
        let half = operator(&[("PXC_SERVICE", "c"), ("S3_BUCKET", "b")]);
        assert!(matches!(half, Err(SurroundingsError::Missing("S3_BUCKET_PATH"))));
    }

    #[test]
    fn one_file_of_three_is_enough_to_want_tls() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().display().to_string();
        let own = [("PXC_SERVICE", "c"), ("SSL_DIR", path.as_str())];
        assert_eq!(value(&operator(&own).expect("valid"), "GALERA_SST_TLS_DIR"), None);
        std::fs::write(directory.path().join("tls.crt"), "").expect("writes");
        let found = operator(&own).expect("valid");
        assert_eq!(value(&found, "GALERA_SST_TLS_DIR"), Some(path.as_str()));
    }

    #[test]
    fn an_app_binding_names_the_group_or_a_server_alone() {
        let binding = |group: &str| {
            serde_json::json!({
                "metadata": { "name": "px", "namespace": "demo" },
                "spec": { "parameters": {
                    "address": "gcomm://px-0,px-1", "group": group, "sstMethod": "xtrabackup-v2",
                } },
            })
        };
        let variables = app_binding(&binding("px")).expect("valid").expect("a group");
        assert_eq!(value(&variables, "GALERA_SST_ADDRESS"), Some("gcomm://px-0,px-1"));
        assert_eq!(value(&variables, "GALERA_SST_STASH_REF"), Some("demo/px"));
        let alone = app_binding(&binding("")).expect("valid");
        assert!(matches!(alone, Err(SurroundingsError::StandAlone)));
        assert!(app_binding(&serde_json::json!({})).is_none());
    }

    #[test]
    fn the_flag_is_taken_out_of_the_arguments() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let expected = ("stash".to_owned(), words(&["galera-sst", "backup", "--to", "null:"]));
        for arguments in [
            &["galera-sst", "backup", "--env", "stash", "--to", "null:"][..],
            &["galera-sst", "backup", "--env=stash", "--to", "null:"][..],
        ] {
            assert_eq!(asked(&words(arguments)), Some(expected.clone()));
        }
        assert_eq!(asked(&words(&["galera-sst", "backup"])), None);
    }
}
