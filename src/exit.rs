//! Exit codes: one table for the process, `--help` and the docs.

use std::fmt;

/// How the process ends. Zero is reached only for a verified result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ExitCode {
    /// A verified result.
    Success = 0,
    /// The command line is wrong.
    Usage = 64,
    /// The stream or the stored backup is damaged or incomplete.
    BadData = 65,
    /// No primary component, or no donor.
    Unavailable = 69,
    /// The sink's target cannot be created.
    CannotCreate = 73,
    /// The sink failed.
    SinkFailed = 74,
    /// Worth a retry: contact was lost half-way, or a time limit passed.
    Retry = 75,
    /// TLS or identity refused.
    Refused = 77,
    /// Configuration: an option, a file, a port.
    Configuration = 78,
    /// Any other failure.
    Other = 100,
    /// The donor disappeared or failed.
    Donor = 101,
    /// The SST request was refused.
    RequestRefused = 102,
    /// Stopped by SIGINT.
    Interrupted = 130,
    /// Stopped by SIGTERM.
    Terminated = 143,
}

impl ExitCode {
    /// All codes, ascending.
    pub const ALL: [Self; 14] = [
        Self::Success,
        Self::Usage,
        Self::BadData,
        Self::Unavailable,
        Self::CannotCreate,
        Self::SinkFailed,
        Self::Retry,
        Self::Refused,
        Self::Configuration,
        Self::Other,
        Self::Donor,
        Self::RequestRefused,
        Self::Interrupted,
        Self::Terminated,
    ];

    /// The number that the process returns.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code with this number; 100 for one that is not in the table.
    pub fn from_number(number: u8) -> Self {
        Self::ALL.into_iter().find(|code| code.number() == number).unwrap_or(Self::Other)
    }

    /// What it means, for people.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Success => "success: the result was verified",
            Self::Usage => "wrong command line",
            Self::BadData => "bad or incomplete data in the stream or backup",
            Self::Unavailable => "no primary component, or no donor",
            Self::CannotCreate => "the target cannot be created",
            Self::SinkFailed => "the target failed while it was written",
            Self::Retry => "contact lost or time limit passed; worth a retry",
            Self::Refused => "TLS or identity refused",
            Self::Configuration => "configuration",
            Self::Other => "any other failure",
            Self::Donor => "the donor disappeared or failed",
            Self::RequestRefused => "the group refused the state transfer request",
            Self::Interrupted => "stopped by SIGINT",
            Self::Terminated => "stopped by SIGTERM",
        }
    }

    /// The table that `--help` shows.
    pub fn table() -> String {
        let rows = Self::ALL.map(|code| format!("  {:>3}  {}", code.number(), code.meaning()));
        format!("Exit codes:\n{}", rows.join("\n"))
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.meaning())
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_code_once_in_ascending_order() {
        assert!(ExitCode::ALL.is_sorted_by(|a, b| a.number() < b.number()));
        let table = ExitCode::table();
        for code in ExitCode::ALL {
            assert!(table.contains(code.meaning()), "{code} is missing");
        }
    }
}
