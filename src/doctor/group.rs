//! The group from inside: a moment of membership, without a vote and without a request.

use std::net::IpAddr;

use galera_protocol::gcs::donor::suitability::explain_donor;
use galera_protocol::gcs::{self, Configuration, Member};
use galera_protocol::member::{EndReason, Event};
use tokio_util::sync::CancellationToken;

use super::Config;
use super::report::{Line, Step};
use crate::backup;
use crate::causes::sentence;
use crate::member::{self, Handle, NotJoined, Troubles};

/// Joins, looks around, leaves. Gives back the address that our links left from.
pub(super) async fn examine(
    config: &Config,
    stop: &CancellationToken,
    add: &mut impl FnMut(Line),
) -> Option<IpAddr> {
    let mut handle = match member::start(config.member.clone()) {
        Ok(handle) => handle,
        Err(error) => {
            add(failed(&backup::Error::Start(error)));
            return None;
        }
    };
    let joined = tokio::select! {
        joined = join(&mut handle) => joined,
        () = stop.cancelled() => Err(backup::Error::Stopped),
    };
    let local = handle.status().local_address(None);
    let me = handle.status().me;
    handle.leave(|_| {}).await;
    match joined {
        Ok(configuration) => describe(config, &configuration, &me, add),
        Err(error) => add(failed(&error)),
    }
    local
}

/// Waits for the first primary configuration, or for the reason why there is none.
async fn join(handle: &mut Handle) -> Result<Box<Configuration>, backup::Error> {
    let mut troubles = Troubles::default();
    loop {
        match handle.next_event().await.unwrap_or(Event::Ended(EndReason::Abandoned)) {
            Event::Gcs(gcs::Event::ConfigurationChanged(configuration)) => {
                return Ok(configuration);
            }
            Event::Ended(reason) => {
                let why = NotJoined::new(reason, troubles.take()).await;
                return Err(backup::Error::Join(why));
            }
            Event::Link(event) => drop(troubles.hear(&event)),
            Event::Pc(_) | Event::Gcs(_) | Event::Restarted { .. } => {}
        }
    }
}

fn failed(error: &backup::Error) -> Line {
    let remedy = error.remedy().unwrap_or("see above");
    Line::failed(Step::Join, sentence(error), remedy, error.exit_code())
}

fn describe(
    config: &Config,
    configuration: &Configuration,
    me: &galera_protocol::NodeId,
    add: &mut impl FnMut(Line),
) {
    let group = &config.member.core.gmcast.group;
    add(Line::ok(
        Step::Join,
        format!(
            "joined {group} and left again: state {}, seqno {}, protocols {}",
            configuration.state,
            configuration.seqno,
            versions(&configuration.protocols),
        ),
    ));
    for member in configuration.members.iter().filter(|member| member.node != *me) {
        add(Line::ok(Step::Member, about(member)));
    }
    add(donor(config, &configuration.members, me));
}

fn versions(protocols: &gcs::Protocols) -> String {
    format!("gcs {} repl {} appl {}", protocols.gcs, protocols.repl, protocols.appl)
}

fn about(member: &Member) -> String {
    let data = if member.is_stateless { ", an arbitrator" } else { "" };
    format!(
        "{} ({}){data}: {}, segment {}, up to {}",
        member.name,
        member.node,
        member.status,
        member.segment.0,
        versions(&member.protocols),
    )
}

fn donor(config: &Config, members: &[Member], me: &galera_protocol::NodeId) -> Line {
    let choice = explain_donor(members, me, config.donors.as_bytes());
    let name = |node| {
        let member = members.iter().find(|member| member.node == node);
        member.map_or_else(|| node.to_string(), |member| member.name.to_string())
    };
    let others = choice.members.iter().filter(|(node, _)| node != me && Ok(*node) != choice.result);
    let others: Vec<_> = others.map(|(node, why)| format!("{} {why}", name(*node))).collect();
    let others = others.join("; ");
    match choice.result {
        Ok(node) => {
            let certain =
                if choice.is_certain { "" } else { " (other releases may choose another)" };
            let text = format!("{} would be the donor{certain}; {others}", name(node));
            Line::ok(Step::Donor, text.trim_end_matches("; "))
        }
        Err(refusal) => Line::failed(
            Step::Donor,
            format!("{refusal}: {others}"),
            "wait until a member is SYNCED and serves nobody, or allow more --donor members",
            crate::exit::ExitCode::Unavailable,
        ),
    }
}
