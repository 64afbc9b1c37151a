//! What this host must have: free ports, a place for the backup, an address that leads back to it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use galera_protocol::sst::request::Host;
use tokio::time::timeout;

use super::Config;
use super::report::{Line, Step};
use crate::backup;
use crate::causes::sentence;
use crate::config::Target;
use crate::exit::ExitCode;
use crate::net::probe;
use crate::net::socket::{self, Options};
use crate::pipeline::manifest::BackupId;
use crate::repository::{PackConfig, PackSink, StoreOptions};
use crate::sink::datadir::{Datadir, DatadirOptions};
use crate::sink::raw::{Raw, RawTarget};
use crate::sink::tar::{Tar, TarOptions};
use crate::sink::{Sink, SinkError};
use crate::sst::SstListener;

/// Limit for our own call to the advertised address.
const CALL_LIMIT: Duration = Duration::from_secs(3);

/// Limit for opening the place for the backup.
const SINK_LIMIT: Duration = Duration::from_secs(20);

/// How long each request to an object store is repeated; several of them fit into [`SINK_LIMIT`], so
/// that its own words are heard.
const STORE_RETRY_LIMIT: Duration = Duration::from_secs(1);

/// Binds what a backup would bind; gives back the donor's listener for a call to it.
pub(super) fn ports(config: &Config, add: &mut impl FnMut(Line)) -> Option<SstListener> {
    let address = config.member.core.gmcast.listen;
    match socket::listen(address, Options::LINK) {
        Ok(_) => add(Line::ok(Step::Ports, format!("{address} is free for group traffic"))),
        Err(error) => add(Line::failed(
            Step::Ports,
            format!("{address} cannot be bound for group traffic: {error}"),
            "choose another gmcast.listen_addr in --options",
            ExitCode::Configuration,
        )),
    }
    match SstListener::bind(config.listener.clone()) {
        Ok(listener) => {
            let bound = listener.local_addresses();
            let bound: Vec<_> = bound.iter().map(ToString::to_string).collect();
            add(Line::ok(Step::Ports, format!("{} is free for the donor", bound.join(" and "))));
            Some(listener)
        }
        Err(error) => {
            add(Line::failed(
                Step::Ports,
                format!("{error}: {}", error.source),
                "choose another --listen address or port",
                ExitCode::Configuration,
            ));
            None
        }
    }
}

/// Opens the target as a backup would, and gives it up again.
pub(super) async fn sink(target: &Target, store: &StoreOptions) -> Line {
    if matches!(target, Target::Command(_)) {
        let text = "not tried: a command may store what it is given";
        return Line::warning(Step::Sink, text, "run the command by hand");
    }
    let opened = timeout(SINK_LIMIT, open_and_abort(target, store)).await;
    match opened {
        Ok(Ok(())) => Line::ok(Step::Sink, format!("{target} can be opened for writing")),
        Ok(Err(error)) => {
            let error = backup::Error::OpenSink(error);
            let remedy = error
                .remedy()
                .unwrap_or("check --to, its permissions, and that nothing is there yet");
            Line::failed(Step::Sink, sentence(&error), remedy, error.exit_code())
        }
        Err(_) => Line::failed(
            Step::Sink,
            format!("{target} did not open within {} s", SINK_LIMIT.as_secs()),
            "check --to and the way to it",
            ExitCode::CannotCreate,
        ),
    }
}

async fn open_and_abort(target: &Target, store: &StoreOptions) -> Result<(), SinkError> {
    match target {
        Target::Repository(url) => {
            let retry_limit = store.retry_limit.min(STORE_RETRY_LIMIT);
            let store = StoreOptions { retry_limit, ..store.clone() };
            let config = PackConfig { store, ..PackConfig::default() };
            let sink = PackSink::create(url, BackupId::generate(), config).await?;
            sink.abort().await;
        }
        Target::Datadir(target) => {
            let options = DatadirOptions { target: target.clone(), sync: false };
            Datadir::create(options).await?.abort().await;
        }
        Target::Stream(RawTarget::Stdout)
        | Target::Tar(RawTarget::Stdout)
        | Target::Command(_)
        | Target::Null => {}
        Target::Tar(target) => {
            let (target, spool, sync) = (target.clone(), None, false);
            let options = TarOptions { target, spool, spool_bytes_max: 0, sync };
            Tar::create(options).await?.abort().await;
        }
        Target::Stream(target) => Raw::create(target.clone(), false).await?.abort().await,
    }
    Ok(())
}

/// Calls the address that a donor would be told. Only from here: whether the donor's network lets
/// it through shows in a transfer.
pub(super) async fn advertised(
    config: &Config,
    local: Option<IpAddr>,
    listener: Option<&SstListener>,
) -> Line {
    let Some(listener) = listener else {
        return Line::warning(Step::Advertise, "not tried: there is no listener", "free its port");
    };
    let bound = listener.local_addresses().first().map_or(0, SocketAddr::port);
    let port = config.advertise.port.unwrap_or(bound);
    let host = match (&config.advertise.host, local) {
        (Some(Host::Name(name)), _) => name.to_string(),
        (Some(Host::V4(address)), _) => address.to_string(),
        (Some(Host::V6(address)), _) => address.to_string(),
        (None, Some(local)) => local.to_string(),
        (None, None) => {
            return Line::failed(
                Step::Advertise,
                "no address of ours is known that a donor could dial",
                "name one with --advertise",
                ExitCode::Configuration,
            );
        }
    };
    call(&host, port, listener).await
}

async fn call(host: &str, port: u16, listener: &SstListener) -> Line {
    let target = format!("a donor would be told {host}, port {port}");
    let remedy = "behind address translation this may be right: the donor's side decides; \
                  otherwise name another address with --advertise";
    let Ok(Ok(addresses)) = timeout(CALL_LIMIT, tokio::net::lookup_host((host, port))).await else {
        let text = format!("{target}: the name cannot be resolved here");
        return Line::warning(Step::Advertise, text, remedy);
    };
    let mut last = None;
    for address in addresses {
        let (called, arrived) = tokio::join!(
            timeout(CALL_LIMIT, socket::connect(address, None, Options::TRANSFER)),
            timeout(CALL_LIMIT, listener.called()),
        );
        match (called, arrived) {
            (Ok(Ok(_)), Ok(())) => {
                let text = format!("{target}: from here it leads to our listener");
                return Line::ok(Step::Advertise, text);
            }
            (Ok(Ok(_)), Err(_)) => last = Some("somebody else answers there".to_owned()),
            (Ok(Err(error)), _) => last = Some(probe::of_connect(&error).to_string()),
            (Err(_), _) => last = Some("no answer".to_owned()),
        }
    }
    let why = last.unwrap_or_else(|| "it has no address".to_owned());
    Line::warning(Step::Advertise, format!("{target}: from here: {why}"), remedy)
}
