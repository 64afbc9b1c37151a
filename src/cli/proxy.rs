//! `proxy`: between two members.

use std::fs::File;
use std::io::BufWriter;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::signals::Stop;
use super::{Output, talk};
use crate::decode::{Dissector, Follow, json, text};
use crate::exit::ExitCode;
use crate::proxy::record::Recorder;
use crate::proxy::rule::{Rule, Rules};
use crate::proxy::{self, Observed, ProxyConfig, ProxyError};

/// What went through and was not told yet.
const OBSERVED_QUEUED: usize = 1024;

/// Arguments of `proxy`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where one member connects to
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The member that it reaches there
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// Record what goes through as pcapng
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Break something on purpose: "delay=200ms type=JOIN", "drop type=INSTALL times=1". Faults: delay,
    /// drop, cut, corrupt, reorder; conditions: type=, layer=, towards=server|client, after=, every=,
    /// times=. May be given more than once; the first that applies decides
    #[arg(long, value_name = "RULE")]
    rule: Vec<String>,
    /// Do not describe what goes through
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("--rule")]
    Rule(#[source] proxy::rule::RuleError),
    #[error("write {path}")]
    Record {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
}

impl Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Rule(_) => ExitCode::Usage,
            Self::Record { .. } => ExitCode::SinkFailed,
            Self::Proxy(_) => ExitCode::Configuration,
            Self::Signals(_) => ExitCode::Other,
        }
    }
}

/// Runs until a signal comes.
pub(super) async fn run(args: Args, output: Output) -> ExitCode {
    match relay(args, output).await {
        Ok(code) => code,
        Err(error) => talk::fail(&error, error.exit_code()),
    }
}

async fn relay(args: Args, output: Output) -> Result<ExitCode, Error> {
    let rules: Result<Vec<Rule>, _> = args.rule.iter().map(|rule| rule.parse()).collect();
    let rules = Arc::new(Rules::new(rules.map_err(Error::Rule)?));
    let mut teller = Teller::new(&args, output)?;
    let stop = Stop::listen().map_err(Error::Signals)?;
    let (observer, mut observed) = mpsc::channel(OBSERVED_QUEUED);
    let cancel = CancellationToken::new();
    let config = ProxyConfig { listen: args.listen, to: args.to, rules };
    let proxy = tokio::spawn(proxy::run(config, observer, cancel.clone()));
    let told = async {
        while let Some(what) = observed.recv().await {
            teller.take(what)?;
        }
        Ok::<(), Error>(())
    };
    tokio::select! {
        code = stop.requested() => {
            cancel.cancel();
            Ok(code)
        }
        told = told => {
            cancel.cancel();
            // Nothing is left to hear of: the proxy could not start, or the recording failed.
            told?;
            if let Ok(ended) = proxy.await {
                ended?;
            }
            Ok(ExitCode::Other)
        }
    }
}

/// Describes and records.
struct Teller {
    output: Output,
    is_quiet: bool,
    recorder: Option<(Recorder<BufWriter<File>>, String)>,
    dissector: Dissector,
    follow: Follow,
}

impl Teller {
    fn new(args: &Args, output: Output) -> Result<Self, Error> {
        let recorder = match &args.record {
            Some(path) => {
                let shown = path.display().to_string();
                let refused = |source| Error::Record { path: shown.clone(), source };
                let file = BufWriter::new(File::create(path).map_err(refused)?);
                Some((Recorder::new(file).map_err(refused)?, shown))
            }
            None => None,
        };
        let (dissector, follow) = (Dissector::default(), Follow::default());
        Ok(Self { output, is_quiet: args.quiet, recorder, dissector, follow })
    }

    fn take(&mut self, observed: Observed) -> Result<(), Error> {
        let (time, flow, event) = match observed {
            Observed::Passed { time, flow, event } => (time, flow, event),
            Observed::Broken { time, flow, what } => {
                let (from, to) = (self.follow.place(&flow.from), self.follow.place(&flow.to));
                self.answer(
                    &format!("       {} ## {from} > {to} {what}", text::time(time)),
                    || serde_json::json!({"fault": what, "from": from, "to": to}),
                );
                return Ok(());
            }
        };
        if let Some((recorder, path)) = &mut self.recorder {
            let recorded = recorder.take(time, flow, &event);
            recorded.map_err(|source| Error::Record { path: path.clone(), source })?;
        }
        for record in self.dissector.take_event(time, flow, event) {
            let notes = self.follow.take(&record);
            let line = text::line(&record, &self.follow);
            self.answer(&line, || json::record(&record, &self.follow, false));
            for note in &notes {
                let line = format!("       {} == {}", text::time(time), self.follow.sentence(note));
                self.answer(&line, || json::note(time, note, &self.follow));
            }
        }
        Ok(())
    }

    fn answer(&self, line: &str, object: impl FnOnce() -> serde_json::Value) {
        match self.output {
            _ if self.is_quiet => {}
            Output::Text => talk::answer(line),
            Output::Json => talk::answer(&object().to_string()),
        }
    }
}
