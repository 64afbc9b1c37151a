//! garbd's command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser};

use super::FAILURE;
use crate::config::Settings;

/// Galera arbitrator: a member of the group that votes and stores nothing.
#[derive(Debug, Parser)]
#[command(
    name = "garbd",
    disable_version_flag = true,
    infer_long_args = true,
    args_override_self = true,
    max_term_width = 100
)]
struct Line {
    #[command(flatten)]
    options: Options,
    /// Become daemon
    #[arg(short, long)]
    daemon: bool,
    /// Log file
    #[arg(short, long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Configuration file: key=value a line, the long options below without their dashes
    #[arg(short, long, value_name = "FILE")]
    cfg: Option<PathBuf>,
    /// Print version & exit
    #[arg(short, long)]
    version: bool,
    /// Group address
    #[arg(value_name = "GCOMM")]
    position: Option<String>,
}

/// The options that `galera-sst arbitrator` has, too.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct Options {
    /// Node name
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,
    /// Group address: gcomm://host[:port][,host…][?option=value&…]
    #[arg(short, long, value_name = "GCOMM")]
    address: Option<String>,
    /// Group name
    #[arg(short, long, value_name = "NAME")]
    group: Option<String>,
    /// SST request string
    #[arg(long, value_name = "METHOD:ADDRESS")]
    sst: Option<String>,
    /// SST donor name
    #[arg(long, value_name = "NAMES")]
    donor: Option<String>,
    /// GCS/GCOMM option list
    #[arg(short, long, value_name = "KEY=VALUE;…")]
    options: Option<String>,
    /// Directory that keeps our identity in the group, and a daemon's working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Command that receives the state transfer, run once a donor was chosen
    #[arg(long, value_name = "COMMAND")]
    recv_script: Option<String>,
    /// Command to run after the receiver has succeeded
    #[arg(long, value_name = "COMMAND")]
    post_recv_script: Option<String>,
    /// Wait for the receiver without a limit after the donor has finished
    #[arg(long)]
    wait_for_recv_script_exit: bool,
    /// 100 failure, 101 donor disappeared, 102 state transfer failed, 103 receiver terminated
    #[arg(long)]
    extended_exit_codes: bool,
    /// Accepted and without effect
    #[arg(long, value_name = "PATH", hide = true)]
    coredumper: Option<PathBuf>,
}

/// The command line was a question, or wrong; it was answered, and this is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered(pub(super) u8);

/// Parses the command line and reads the file that it names.
pub(super) fn parse(arguments: &[OsString]) -> Result<Settings, Answered> {
    let line = Line::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Line::from_arg_matches(&matches))
        .map_err(|error| {
            let is_answer = !error.use_stderr();
            if !is_answer {
                super::talk::say(&format!("FATAL: {}", error.render().to_string().trim_end()));
                return Answered(FAILURE);
            }
            let _ = error.print();
            Answered(0)
        })?;
    if line.version {
        super::talk::answer(&format!("INFO: galera-sst {}", env!("CARGO_PKG_VERSION")));
        return Err(Answered(0));
    }
    let address = line.options.address.clone().or(line.position);
    let (log, daemon) = (line.log, line.daemon);
    let settings = Settings { address, log, daemon, ..Settings::from(line.options) };
    super::with_file(settings, line.cfg.as_deref())
        .map_err(|problem| Answered(super::refuse(&problem)))
}

impl From<Options> for Settings {
    fn from(options: Options) -> Self {
        Self {
            address: options.address,
            group: options.group,
            name: options.name,
            options: options.options,
            sst: options.sst,
            donor: options.donor,
            workdir: options.workdir,
            recv_script: options.recv_script,
            post_recv_script: options.post_recv_script,
            wait_for_recv_script_exit: options.wait_for_recv_script_exit,
            extended_exit_codes: options.extended_exit_codes,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Settings, Answered> {
        let all = std::iter::once("garbd").chain(words.iter().copied());
        parse(&all.map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn perconas_operator_command_line_is_understood() {
        let settings = parsed(&[
            "--address",
            "gcomm://pxc-0.pxc?gmcast.listen_addr=tcp://0.0.0.0:4567",
            "--donor",
            "pxc-1",
            "--group",
            "pxc",
            "--options",
            "socket.ssl_ca=/ca;socket.ssl_cipher=;pc.weight=0;",
            "--sst",
            "xtrabackup-v2:10.0.0.5:4444/xtrabackup_sst//1",
            "--extended-exit-codes",
            "--recv-script=/usr/bin/run_backup.sh",
        ])
        .expect("valid");
        assert_eq!(settings.recv_script.as_deref(), Some("/usr/bin/run_backup.sh"));
        assert!(settings.extended_exit_codes);
    }

    #[test]
    fn short_options_a_positional_address_and_shortened_names_work() {
        let settings = parsed(&["-gpxc", "-n", "x", "--opt", "a=1", "gcomm://a"]).expect("valid");
        assert_eq!(settings.address.as_deref(), Some("gcomm://a"));
        assert_eq!(settings.group.as_deref(), Some("pxc"));
        assert_eq!(settings.options.as_deref(), Some("a=1"));
    }

    #[test]
    fn mistakes_end_with_one_and_questions_with_zero() {
        assert_eq!(parsed(&["--nonsense"]), Err(Answered(1)));
        assert_eq!(parsed(&["--cfg", "/nonexistent/garb.cnf"]), Err(Answered(1)));
        assert_eq!(parsed(&["--help"]), Err(Answered(0)));
        assert_eq!(parsed(&["--version"]), Err(Answered(0)));
    }
}
