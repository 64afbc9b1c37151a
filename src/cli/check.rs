//! Why a command line cannot become a configuration.

use super::tls::TlsArgsError;
use crate::config::GroupError;
use crate::exit::ExitCode;
use crate::net::interface::InterfaceError;

/// Raw arguments that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Tls(#[from] TlsArgsError),
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

impl CheckError {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Group(error) => error.exit_code(),
            Self::Tls(error) => error.exit_code(),
            Self::Interface(_) => ExitCode::Configuration,
        }
    }
}
