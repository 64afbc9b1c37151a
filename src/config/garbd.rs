//! garbd's settings: its configuration file, the variables of its service file, and what they mean
//! together with a command line.
//!
//! ```text
//! # a comment
//! address = "gcomm://db-1,db-2"
//! group   = pxc
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use galera_protocol::gcs::{Conditions, Request};

use super::group::{Group, GroupError};
use crate::arbitrator::{Config, Errand, Receiver, Transfer};
use crate::net::tls::Keys;

/// The request of a garbd without `--sst`: it asks for nothing.
const TRIVIAL: &str = "trivial";

/// garbd's name in the group unless it is given one.
const NODE_NAME: &str = "garb";

/// garbd asks for ever while no donor is free; its callers limit that by a signal.
const DONOR_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The donor's word may take this long after the script has ended; a limit of the script's own
/// watcher is shorter.
const VERDICT_LIMIT: Duration = Duration::from_secs(120);

/// What garbd is told, from one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `gcomm://…`, or plain hosts as the service file has them.
    pub address: Option<String>,
    /// The group's name.
    pub group: Option<String>,
    /// Our name.
    pub name: Option<String>,
    /// Galera's options.
    pub options: Option<String>,
    /// The request, `method:argument`.
    pub sst: Option<String>,
    /// Acceptable donors.
    pub donor: Option<String>,
    /// Where the log goes.
    pub log: Option<PathBuf>,
    /// Where the identity survives, and a daemon's working directory.
    pub workdir: Option<PathBuf>,
    /// Run in the background.
    pub daemon: bool,
    /// The receiver script.
    pub recv_script: Option<String>,
    /// What to run after it.
    pub post_recv_script: Option<String>,
    /// Wait for it without a limit.
    pub wait_for_recv_script_exit: bool,
    /// Tell failures apart by exit codes from 100.
    pub extended_exit_codes: bool,
}

/// Why garbd's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("read configuration file {path}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line is not `key=value`.
    #[error("configuration file {path}, line {line}: not key=value")]
    Form {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// A key that garbd does not have.
    #[error("configuration file {path}, line {line}: unrecognised option '{key}'")]
    Key {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// The key.
        key: String,
    },
    /// There is no address.
    #[error("Group address not specified")]
    NoAddress,
    /// There is no group name.
    #[error("Group name not specified")]
    NoGroup,
    /// A script without a request has nothing to receive.
    #[error("--recv-script needs --sst: there is nothing to receive")]
    NothingToReceive,
    /// The address, a name or an option is wrong.
    #[error(transparent)]
    Group(#[from] GroupError),
}

impl Settings {
    /// Reads a configuration file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for (index, line) in text.lines().enumerate() {
            let content = line.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let (path, line) = (path.to_owned(), index + 1);
            let Some((key, value)) = content.split_once('=') else {
                return Err(SettingsError::Form { path, line });
            };
            if !settings.set(key.trim(), unquoted(value.trim())) {
                return Err(SettingsError::Key { path, line, key: key.trim().to_owned() });
            }
        }
        Ok(settings)
    }

    /// False for a key that is none.
    fn set(&mut self, key: &str, value: &str) -> bool {
        let text = || Some(value.to_owned());
        match key {
            "address" => self.address = text(),
            "group" => self.group = text(),
            "name" => self.name = text(),
            "options" => self.options = text(),
            "sst" => self.sst = text(),
            "donor" => self.donor = text(),
            "log" => self.log = text().map(PathBuf::from),
            "workdir" => self.workdir = text().map(PathBuf::from),
            "daemon" => self.daemon = true,
            "recv-script" => self.recv_script = text(),
            "post-recv-script" => self.post_recv_script = text(),
            "wait-for-recv-script-exit" => self.wait_for_recv_script_exit = is_set(value),
            "extended-exit-codes" => self.extended_exit_codes = is_set(value),
            // It says where a core dump would go; there is none.
            "coredumper" => {}
            _ => return false,
        }
        true
    }

    /// The variables of `/etc/default/garb` (`/etc/sysconfig/garb`).
    pub fn from_variables(variables: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        Self {
            address: text("GALERA_NODES").map(|nodes| {
                let nodes: Vec<_> = nodes.split([' ', ',']).filter(|n| !n.is_empty()).collect();
                format!("gcomm://{}", nodes.join(","))
            }),
            group: text("GALERA_GROUP"),
            options: text("GALERA_OPTIONS"),
            log: text("LOG_FILE").map(PathBuf::from),
            workdir: text("WORK_DIR").map(PathBuf::from),
            ..Self::default()
        }
    }

    /// Takes what is missing here from `fallback`.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        let wait = self.wait_for_recv_script_exit || fallback.wait_for_recv_script_exit;
        Self {
            address: self.address.or(fallback.address),
            group: self.group.or(fallback.group),
            name: self.name.or(fallback.name),
            options: self.options.or(fallback.options),
            sst: self.sst.or(fallback.sst),
            donor: self.donor.or(fallback.donor),
            log: self.log.or(fallback.log),
            workdir: self.workdir.or(fallback.workdir),
            daemon: self.daemon || fallback.daemon,
            recv_script: self.recv_script.or(fallback.recv_script),
            post_recv_script: self.post_recv_script.or(fallback.post_recv_script),
            wait_for_recv_script_exit: wait,
            extended_exit_codes: self.extended_exit_codes || fallback.extended_exit_codes,
        }
    }

    /// Checks everything and builds an arbitrator's configuration.
    pub fn check(&self) -> Result<Config, SettingsError> {
        self.check_with(None)
    }

    /// The same with keys from elsewhere, which go before those that the options name.
    pub fn check_with(&self, keys: Option<Keys>) -> Result<Config, SettingsError> {
        let group = Group {
            address: self.address.clone().ok_or(SettingsError::NoAddress)?,
            name: self.group.clone().ok_or(SettingsError::NoGroup)?,
            options: self.options.clone().unwrap_or_default(),
            node_name: self.name.clone().unwrap_or_else(|| NODE_NAME.into()),
            weight: 1,
            connect_limit: None,
            state_directory: self.workdir.clone(),
            keys,
        };
        let mut member = group.check()?;
        member.core.gcs.donor_wait_limit = DONOR_WAIT;
        member.core.gcs.verdict_limit = VERDICT_LIMIT;
        Ok(Config { member, errand: self.errand()? })
    }

    fn errand(&self) -> Result<Errand, SettingsError> {
        let receiver = self.recv_script.as_ref().map(|command| Receiver {
            command: command.clone(),
            afterwards: self.post_recv_script.clone(),
            waits_for_exit: self.wait_for_recv_script_exit,
        });
        match self.sst.as_deref().filter(|sst| *sst != TRIVIAL) {
            None if receiver.is_some() => Err(SettingsError::NothingToReceive),
            None => Ok(Errand::Vote),
            Some(sst) => {
                let (method, address) = sst.split_once(':').unwrap_or((sst, ""));
                let request = Request {
                    donors: self.donor.clone().unwrap_or_default(),
                    method: method.to_owned(),
                    address: address.to_owned(),
                    conditions: Conditions::default(),
                };
                Ok(Errand::Transfer(Transfer { request, receiver }))
            }
        }
    }
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

fn is_set(value: &str) -> bool {
    !matches!(value, "0" | "no" | "off" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, SettingsError> {
        Settings::parse(Path::new("garb.cnf"), text)
    }

    #[test]
    fn a_configuration_file_is_read_as_garbd_reads_it() {
        let text = "# arbitrator\naddress = \"gcomm://a,b\" # two\ngroup=pxc\n\nlog=/tmp/x\n";
        let settings = parse(text).expect("valid");
        assert_eq!(settings.address.as_deref(), Some("gcomm://a,b"));
        assert_eq!(settings.group.as_deref(), Some("pxc"));
        assert_eq!(settings.log, Some(PathBuf::from("/tmp/x")));
    }

    #[test]
    fn an_unknown_key_and_a_line_without_a_value_are_errors_with_their_line() {
        let unknown = parse("group=a\nnope=1").expect_err("unknown").to_string();
        assert!(unknown.contains("line 2") && unknown.contains("nope"), "{unknown}");
        assert!(matches!(parse("group"), Err(SettingsError::Form { line: 1, .. })));
    }

    #[test]
    fn the_service_files_variables_are_understood() {
        let variables = [("GALERA_NODES", "a:4567 b"), ("GALERA_GROUP", "g"), ("WORK_DIR", "")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings = Settings::from_variables(&variables.into());
        assert_eq!(settings.address.as_deref(), Some("gcomm://a:4567,b"));
        assert_eq!(settings.workdir, None);
        assert!(settings.check().is_ok());
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let line = Settings { group: Some("line".into()), ..Settings::default() };
        let merged = line.or(parse("group=file\naddress=gcomm://a\ndaemon=1").expect("valid"));
        assert_eq!(merged.group.as_deref(), Some("line"));
        assert_eq!(merged.address.as_deref(), Some("gcomm://a"));
        assert!(merged.daemon);
    }

    #[test]
    fn a_request_is_what_garbd_would_send_and_its_absence_means_none() {
        let base = parse("address=gcomm://a\ngroup=g").expect("valid");
        assert_eq!(base.errand().expect("valid"), Errand::Vote);
        assert_eq!(base.check().expect("valid").member.core.pc.weight, 1);
        let sst = Settings {
            sst: Some("xtrabackup-v2:10.0.0.5:4444/xtrabackup_sst//1".into()),
            ..base.clone()
        };
        let Errand::Transfer(transfer) = sst.errand().expect("valid") else {
            panic!("no transfer")
        };
        assert_eq!(transfer.request.method, "xtrabackup-v2");
        assert_eq!(transfer.request.address, "10.0.0.5:4444/xtrabackup_sst//1");
        let script = Settings { recv_script: Some("true".into()), ..base };
        assert!(matches!(script.errand(), Err(SettingsError::NothingToReceive)));
    }

    #[test]
    fn what_garbd_misses_is_said_in_its_words() {
        let nothing = Settings::default().check().expect_err("nothing").to_string();
        assert_eq!(nothing, "Group address not specified");
    }
}
