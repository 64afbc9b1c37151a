//! The lines of a look, and how they are counted.

use std::fmt;

use serde::Serialize;

use crate::exit::ExitCode;
use crate::net::trouble::Trouble;

/// Whether a step holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It holds.
    Ok,
    /// It holds, and somebody should look at it.
    Warning,
    /// It does not hold: a backup would fail.
    Failed,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Our key and certificate.
    Keys,
    /// The ports that we listen on.
    Ports,
    /// The place for the backup.
    Sink,
    /// A name's addresses.
    Resolve,
    /// TCP.
    Dial,
    /// TLS, or its absence.
    Tls,
    /// A peer's certificate.
    Certificate,
    /// The first words of a member.
    Greeting,
    /// The clock against a member's.
    Clock,
    /// Becoming a member.
    Join,
    /// One member of the group.
    Member,
    /// Who would be the donor.
    Donor,
    /// What the donor would be told to dial.
    Advertise,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at.
    pub step: Step,
    /// Whether it holds.
    pub level: Level,
    /// What was found.
    pub text: String,
    /// What to try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// How a backup would end for this.
    #[serde(serialize_with = "number", skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<ExitCode>,
}

fn number<S: serde::Serializer>(code: &Option<ExitCode>, to: S) -> Result<S::Ok, S::Error> {
    match code {
        Some(code) => to.serialize_u8(code.number()),
        None => to.serialize_none(),
    }
}

impl Line {
    /// A step that holds.
    pub fn ok(step: Step, text: impl Into<String>) -> Self {
        Self { step, level: Level::Ok, text: text.into(), remedy: None, exit_code: None }
    }

    /// A step that holds for now.
    pub fn warning(step: Step, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { step, level: Level::Warning, text: text.into(), remedy, exit_code: None }
    }

    /// A step that does not hold.
    pub fn failed(
        step: Step,
        text: impl Into<String>,
        remedy: impl Into<String>,
        exit_code: ExitCode,
    ) -> Self {
        let (remedy, exit_code) = (Some(remedy.into()), Some(exit_code));
        Self { step, level: Level::Failed, text: text.into(), remedy, exit_code }
    }

    /// Trouble at an address.
    pub fn trouble(step: Step, trouble: &Trouble) -> Self {
        Self::failed(step, trouble.to_string(), trouble.remedy(), trouble.exit_code())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok     ",
            Level::Warning => "warning",
            Level::Failed => "failed ",
        };
        write!(f, "{level} {:<11} {}", self.step.name(), self.text)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n        {:<11} try: {remedy}", ""),
            None => Ok(()),
        }
    }
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Ports => "ports",
            Self::Sink => "sink",
            Self::Resolve => "resolve",
            Self::Dial => "dial",
            Self::Tls => "tls",
            Self::Certificate => "certificate",
            Self::Greeting => "greeting",
            Self::Clock => "clock",
            Self::Join => "join",
            Self::Member => "member",
            Self::Donor => "donor",
            Self::Advertise => "advertise",
        }
    }
}

/// All findings in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The lines.
    pub lines: Vec<Line>,
}

impl Report {
    /// The worst level.
    pub fn level(&self) -> Level {
        self.lines.iter().map(|line| line.level).max().unwrap_or(Level::Ok)
    }
}
