//! `doctor`: walks from a name to a donor and says of each step whether it holds, before the first
//! backup and without taking anything.
//!
//! ```text
//! keys ─► ports ─► sink ─► for each address: resolve ─► dial ─► TLS or not ─► certificate ─► greeting
//!                                                                                         │
//!               advertised address ◄── donor ◄── membership ◄── join and leave (optional) ◄┘
//! ```
//!
//! Without the join the members see nothing but callers who hang up. With it the group has one
//! membership change each way, as with any backup, and nothing is requested.

mod addresses;
mod group;
mod host;
mod keys;
mod report;

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::backup::{Advertise, TransferTls};
use crate::config::Target;
use crate::exit::ExitCode;
use crate::member;
use crate::repository::StoreOptions;
use crate::sst;

pub use report::{Level, Line, Report, Step};

/// How long the group may take to let us in before that counts as a failure.
pub const JOIN_LIMIT: Duration = Duration::from_secs(20);

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to join the group.
    pub member: member::Config,
    /// Where donors would connect.
    pub listener: sst::Config,
    /// How they would.
    pub transfer_tls: TransferTls,
    /// Full names of acceptable donors.
    pub donors: String,
    /// What a donor would be told to dial.
    pub advertise: Advertise,
    /// Where the backup would go.
    pub targets: Vec<Target>,
    /// How to reach it, if it is in an object store.
    pub store: StoreOptions,
    /// Whether to become a member for a moment.
    pub joins: bool,
}

/// Looks at everything in order; `show` hears each line as it is found.
pub async fn examine(
    config: &Config,
    stop: &CancellationToken,
    mut show: impl FnMut(&Line),
) -> Report {
    let mut report = Report::default();
    let mut add = |line: Line| {
        show(&line);
        report.lines.push(line);
    };
    keys::examine(config, &mut add);
    let listener = host::ports(config, &mut add);
    for target in &config.targets {
        add(host::sink(target, &config.store).await);
    }
    let reached = addresses::examine(config, &mut add).await;
    if !config.joins {
        add(Line::ok(
            Step::Join,
            "not joined, as asked: group name, members and donor are unknown",
        ));
    } else if reached {
        let local = group::examine(config, stop, &mut add).await;
        add(host::advertised(config, local, listener.as_ref()).await);
    } else {
        let text = "not tried: no address leads to a member";
        add(Line::warning(Step::Join, text, "mend what failed above"));
    }
    report
}

impl Report {
    /// The exit code of the whole look: that of the first failure.
    pub fn exit_code(&self) -> ExitCode {
        let failed = self.lines.iter().find_map(|line| line.exit_code);
        failed.unwrap_or(ExitCode::Success)
    }
}
