//! What people and checks look at.

use std::collections::BTreeSet;
use std::fmt::Write;

use galera_protocol::evs;
use galera_protocol::gcs::{self, Status, state::StateKind};
use galera_protocol::gmcast;
use galera_protocol::member::Event;

use super::World;
use crate::coverage::Coverage;
use crate::process::{Machine, Process};
use crate::tcp::Host;

impl World {
    // What people look at.

    pub(crate) fn running(&self) -> impl Iterator<Item = &Process> {
        self.machines.iter().filter_map(Machine::running)
    }

    /// What happened so far, to those that still run too.
    pub(crate) fn all_coverage(&self) -> Coverage {
        let mut all = self.coverage;
        all.add_all(&self.oracle.coverage);
        self.running().for_each(|process| all.add_counters(process));
        all
    }

    pub(crate) fn is_running(&self, host: Host) -> bool {
        self.machines[host].running().is_some()
    }

    pub(crate) fn is_primary(&self, host: Host) -> bool {
        self.machines[host].running().is_some_and(Process::is_primary)
    }

    /// Everybody who runs is in one primary view of exactly them, and every server has the data.
    pub(crate) fn is_whole(&self) -> bool {
        // Asked after every step: what is cheap to see comes first.
        let is_primary =
            |process: &Process| process.is_primary() && process.gcs().state() == StateKind::Primary;
        let is_synced = |m: &gcs::Member| m.is_stateless || m.status == Status::Synced;
        let is_everybody = |members: &[gcs::Member]| {
            members.len() == self.running().count()
                && self.running().all(|process| members.iter().any(|m| m.node == process.me))
        };
        self.running().all(is_primary)
            && self.running().all(|process| {
                let members = process.gcs().members();
                members.iter().all(is_synced) && is_everybody(members)
            })
    }

    /// Everybody who runs is in one view of the order layer.
    pub(crate) fn is_connected(&self) -> bool {
        let everybody: BTreeSet<_> = self.running().map(|process| process.me).collect();
        self.running().all(|process| {
            let evs = process.evs().status();
            evs.state == evs::StateKind::Operational && evs.members == everybody
        })
    }

    /// Whatever happened is over: within the limit there is one primary view of everybody.
    pub(crate) fn expect_whole(&mut self, seconds: u64) {
        self.expect(seconds, "one primary component of everybody", Self::is_whole);
    }

    pub(crate) fn note(&mut self, host: Host, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            let name = self.machines.get(host).map_or("", |machine| &machine.settings.name);
            let _infallible = writeln!(log, "{} {name}: {}", self.now, text());
        }
    }

    /// Ends the test with everything that is needed to see why.
    pub(crate) fn fail(&mut self, problem: &str) -> ! {
        let (seed, now) = (self.seed, self.now);
        let log = self.log.take().unwrap_or_default();
        let state = self.describe();
        panic!("{log}\nseed {seed} at {now}: {problem}\n{state}");
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            let name = &machine.settings.name;
            let _infallible = match machine.running() {
                Some(process) => {
                    let (evs, pc) = (process.evs().status(), process.pc().status());
                    let rows = process.gcs().members();
                    let rows: Vec<_> =
                        rows.iter().map(|m| (m.name.to_string(), m.status)).collect();
                    writeln!(
                        text,
                        "{name} {} frozen {}: evs {:?} {} of {}; pc {} {} weight {}; gcs {:?} {rows:?}",
                        process.me,
                        process.is_frozen,
                        evs.state,
                        evs.view,
                        evs.members.len(),
                        pc.state,
                        pc.view,
                        pc.cluster_weight,
                        process.gcs().state(),
                    )
                }
                None => writeln!(text, "{name} is down, saved {:?}", machine.saved),
            };
        }
        text
    }

    /// The trace so far, if one is written.
    pub(crate) fn log(&self) -> &str {
        self.log.as_deref().unwrap_or_default()
    }
}

pub(super) fn describe(event: &Event) -> String {
    match event {
        Event::Link(event) => format!("link: {event}"),
        Event::Pc(event) => format!("pc: {event:?}"),
        Event::Gcs(event) => format!("gcs: {event:?}"),
        Event::Restarted { me } => format!("begins its next life as {me}"),
        Event::Ended(reason) => format!("ended: {reason:?}"),
    }
}

pub(super) fn describe_frame(body: &bytes::Bytes) -> String {
    let Ok(message) = gmcast::message::Message::decode(body) else { return "?".into() };
    let gmcast::message::Body::User { relay, payload } = &message.body else {
        return format!("{:?}", message.body);
    };
    match evs::message::Message::decode(payload) {
        Ok(evs) => format!("{} {relay:?} {:?} {:?}", message.source, evs.header, evs.body),
        Err(error) => error.to_string(),
    }
}
