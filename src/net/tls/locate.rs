//! Finds the files of a certificate in a directory, by the names that Kubernetes and MySQL give.

use std::path::{Path, PathBuf};

use super::keys::KeyFiles;

/// Where Percona's operator mounts its two secrets: for traffic within the cluster, and for
/// clients. The first that is there counts.
const OPERATOR_DIRECTORIES: [&str; 2] = ["/etc/mysql/ssl-internal", "/etc/mysql/ssl"];

/// Names of CA, certificate and key: Kubernetes secrets, files that a MySQL server makes for
/// itself, and `mysql_ssl_rsa_setup`'s or MariaDB how-tos'.
const NAMES: [[&str; 3]; 3] = [
    ["ca.crt", "tls.crt", "tls.key"],
    ["ca.pem", "server-cert.pem", "server-key.pem"],
    ["ca-cert.pem", "server-cert.pem", "server-key.pem"],
];

/// No keys were found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// The directory lacks them.
    #[error(
        "--tls-dir {} holds neither ca.crt, tls.crt and tls.key nor ca.pem, server-cert.pem and \
         server-key.pem", .0.display()
    )]
    Nothing(PathBuf),
    /// The operator's directories lack them.
    #[error(
        "--tls-dir: neither /etc/mysql/ssl-internal nor /etc/mysql/ssl holds ca.crt, tls.crt and \
         tls.key; mount the cluster's secret there, or name its directory"
    )]
    NoOperatorSecret,
}

/// The files in `directory`; with `None` those of the operator's secrets.
pub fn in_directory(directory: Option<&Path>) -> Result<KeyFiles, LocateError> {
    match directory {
        Some(directory) => {
            files(directory).ok_or_else(|| LocateError::Nothing(directory.to_owned()))
        }
        None => OPERATOR_DIRECTORIES
            .iter()
            .find_map(|directory| files(Path::new(directory)))
            .ok_or(LocateError::NoOperatorSecret),
    }
}

fn files(directory: &Path) -> Option<KeyFiles> {
    NAMES.iter().find_map(|names| {
        let [ca, certificate, key] = names.map(|name| directory.join(name));
        let is_there = ca.exists() && certificate.exists() && key.exists();
        is_there.then(|| KeyFiles { certificate, key, ca: Some(ca), ..KeyFiles::default() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_mysqls_own_files_are_found_by_their_names() {
        for names in NAMES {
            let directory = tempfile::tempdir().expect("directory");
            for name in names {
                std::fs::write(directory.path().join(name), "").expect("write");
            }
            let found = in_directory(Some(directory.path())).expect("found");
            assert_eq!(found.key, directory.path().join(names[2]));
            assert_eq!(found.ca, Some(directory.path().join(names[0])));
        }
    }

    #[test]
    fn half_a_secret_is_none() {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("tls.crt"), "").expect("write");
        let error = in_directory(Some(directory.path())).expect_err("incomplete");
        assert_eq!(error, LocateError::Nothing(directory.path().to_owned()));
    }
}
