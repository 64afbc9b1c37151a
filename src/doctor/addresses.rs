//! Each address of the group: is it there, who answers, and do our certificates fit?

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use galera_protocol::gmcast::address::HostPort;
use galera_protocol::gmcast::config::LOOKUP_ADDRESSES_MAX;
use galera_protocol::tls::{Objection, TlsFailure};
use openssl::x509::X509;
use tokio::time::timeout;

use super::Config;
use super::keys::validity_line;
use super::report::{Level, Line, Step};
use crate::net::probe::{self, Greeting, Plain, Tls};
use crate::net::stream::Security;
use crate::net::tls::{Keys, certificate};
use crate::net::trouble::{Cause, Trouble};

/// Limit of one name look-up.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// Clocks that differ by more make certificates and logs hard to compare.
const CLOCK_DIFFERENCE_MS: i64 = 5_000;

/// Walks through all addresses; true if any leads to a member. What fails at some addresses is a
/// warning if others are good.
pub(super) async fn examine(config: &Config, add: &mut impl FnMut(Line)) -> bool {
    let mut all = Vec::new();
    for target in &config.member.core.gmcast.initial {
        walk(&config.member.security, target, &mut all).await;
    }
    let reached = all.iter().any(|line| line.step == Step::Greeting && line.level == Level::Ok);
    for mut line in all {
        if reached && line.level == Level::Failed {
            line.level = Level::Warning;
            line.exit_code = None;
        }
        add(line);
    }
    reached
}

async fn walk(security: &Security, target: &HostPort, lines: &mut Vec<Line>) {
    let (host, port) = (target.host.as_str(), target.port);
    let found = timeout(RESOLVE_LIMIT, tokio::net::lookup_host((host, port))).await;
    let mut addresses: Vec<_> = found.ok().and_then(Result::ok).into_iter().flatten().collect();
    addresses.truncate(LOOKUP_ADDRESSES_MAX);
    addresses.dedup();
    if addresses.is_empty() {
        let trouble = Trouble { at: target.to_string(), cause: Cause::Unresolved };
        return lines.push(Line::trouble(Step::Resolve, &trouble));
    }
    if host.parse::<IpAddr>().is_err() {
        let list: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
        lines.push(Line::ok(Step::Resolve, format!("{host} is {}", list.join(", "))));
    }
    for address in addresses {
        visit(security, address, lines).await;
    }
}

async fn visit(security: &Security, at: SocketAddr, lines: &mut Vec<Line>) {
    match security {
        Security::Plain | Security::Dynamic(None) => visit_plain(at, lines).await,
        Security::Tls(keys) => visit_tls(keys, at, lines).await,
        Security::Dynamic(Some(keys)) => match probe::plain(at).await {
            Plain::Member(greeting) => greeted(at, "plain TCP, which is allowed", greeting, lines),
            Plain::Silent => visit_tls(keys, at, lines).await,
            Plain::Trouble(cause) => lines.push(looked_into(at, cause).await),
        },
    }
}

async fn visit_plain(at: SocketAddr, lines: &mut Vec<Line>) {
    match probe::plain(at).await {
        Plain::Member(greeting) => greeted(at, "plain TCP, as configured", greeting, lines),
        Plain::Silent => lines.push(looked_into(at, Cause::Silent).await),
        Plain::Trouble(cause) => lines.push(looked_into(at, cause).await),
    }
}

async fn visit_tls(keys: &Keys, at: SocketAddr, lines: &mut Vec<Line>) {
    let material = keys.material();
    let Tls { version, cipher, chain, greeting } =
        match probe::tls(at, Some(material.prober())).await {
            Ok(tls) => tls,
            Err(cause) => return lines.push(looked_into(at, cause).await),
        };
    lines.push(Line::ok(Step::Dial, format!("{at} takes connections")));
    lines.push(Line::ok(Step::Tls, format!("{at} speaks {version}, {cipher}")));
    let trusted = read_aloud(at, &chain, keys, lines);
    match greeting {
        Ok(greeting) if trusted => greet(at, greeting, lines),
        Ok(_) => {}
        // A TLS peer that took our certificate and says nothing is no member.
        Err(cause) => lines.push(looked_into(at, cause).await),
    }
}

/// Reads the peer's certificate and checks it as a link would; true if it holds.
fn read_aloud(at: SocketAddr, chain: &[X509], keys: &Keys, lines: &mut Vec<Line>) -> bool {
    let Some(leaf) = chain.first() else {
        let failure = TlsFailure::UntrustedPeer(Objection::Missing);
        lines.push(line_about(&trouble(at, Cause::Tls(failure))));
        return false;
    };
    let reading = certificate::read(leaf);
    let line = validity_line(
        Step::Certificate,
        &reading,
        format!("{at} shows {reading}"),
        "renew the server's certificate",
    );
    lines.push(line);
    let name = keys.files().peer_name.as_deref();
    let checked = certificate::check_chain(chain, keys.material().trusted(), name);
    let Ok(Err(broken)) = checked else {
        let text = format!("{at}: its certificate leads to our CA");
        lines.push(Line::ok(Step::Certificate, text));
        return true;
    };
    let cause = Cause::Tls(TlsFailure::UntrustedPeer(broken.objection));
    let mut line = line_about(&trouble(at, cause));
    line.text = format!("{}: {broken}", line.text);
    lines.push(line);
    false
}

fn greeted(at: SocketAddr, how: &str, greeting: Greeting, lines: &mut Vec<Line>) {
    lines.push(Line::ok(Step::Dial, format!("{at} takes connections")));
    lines.push(Line::ok(Step::Tls, format!("{at}: {how}")));
    greet(at, greeting, lines);
}

fn greet(at: SocketAddr, greeting: Greeting, lines: &mut Vec<Line>) {
    let Greeting { node, segment, clock_ahead_ms } = greeting;
    let text = format!("{at} is the member {node} in segment {}", segment.0);
    lines.push(Line::ok(Step::Greeting, text));
    let text = format!("the clock of {at} differs from ours by {clock_ahead_ms} ms");
    lines.push(if clock_ahead_ms.abs() > CLOCK_DIFFERENCE_MS {
        Line::warning(Step::Clock, text, "set both clocks by NTP")
    } else {
        Line::ok(Step::Clock, text)
    });
}

/// A line about trouble that the probe may know more about.
async fn looked_into(at: SocketAddr, cause: Cause) -> Line {
    line_about(&probe::sharpen(trouble(at, cause)).await)
}

fn trouble(at: SocketAddr, cause: Cause) -> Trouble {
    Trouble { at: at.to_string(), cause }
}

fn line_about(trouble: &Trouble) -> Line {
    let step = match trouble.cause {
        Cause::Unresolved => Step::Resolve,
        Cause::NobodyListens | Cause::NoRoute | Cause::NoAnswer => Step::Dial,
        Cause::PeerUsesTls | Cause::Tls(_) => Step::Tls,
        Cause::Silent
        | Cause::ClosedAtOnce
        | Cause::TakesEverything
        | Cause::Broken
        | Cause::Stranger(_)
        | Cause::WrongGroup
        | Cause::Evicted
        | Cause::Duplicate
        | Cause::Other(_) => Step::Greeting,
    };
    Line::trouble(step, trouble)
}
