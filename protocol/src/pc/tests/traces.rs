//! Complete histories of single members, captured from running groups: every view and message they
//! received, and what they answered to each.
//!
//! Where ours must not do what the captured member did, the trace says so or the expectation is
//! adapted here:
//!
//! * `joiner_weight0_install_in_trans` expects what ours does; existing members stop there.
//! * `bootstrap_first_member` founds a group and changes weights at run time: ours does both only
//!   for a group of its own or on request, with the same bytes.
//! * USER messages of the traces are cut to their header, so those with a checksum cannot match it
//!   any more; existing members do not look at it unless told to, ours always does. The flag is
//!   taken off.

use bytes::Bytes;
use serde::Deserialize;
use std::collections::BTreeSet;

use super::super::testing::{JsonViewId, feed, message, nodes, unhex};
use super::super::{Config, Event, HEADER_LENGTH, Input, Output, Pc, SavedView, State};
use crate::id::{NodeId, Segment, ViewKind};
use crate::message::{Delivery, Order};
use crate::view::View;

#[derive(Deserialize)]
struct Trace {
    name: String,
    node: Node,
    events: Vec<Step>,
}

#[derive(Deserialize)]
struct Node {
    uuid: String,
    weight: u8,
    segment: u8,
    restored: Option<Restored>,
}

#[derive(Deserialize)]
struct Restored {
    view_id: JsonViewId,
    members: Vec<String>,
}

#[derive(Deserialize)]
struct Step {
    #[serde(flatten)]
    cause: Cause,
    expect: Expectation,
}

#[derive(Deserialize)]
#[serde(tag = "in", rename_all = "lowercase")]
enum Cause {
    Connect { start_prim: bool },
    Trans { id: JsonViewId, members: Vec<String>, left: Vec<String>, partitioned: Vec<String> },
    Reg { id: JsonViewId, version: u8, members: Vec<String> },
    Msg { source: String, order: String, user_type: u8, hex: String },
    Admin { set: String, value: u8 },
    Close,
}

#[derive(Deserialize)]
struct Expectation {
    state: String,
    prim: bool,
    to_seq: i64,
    sent: Vec<String>,
    views: Vec<Published>,
}

#[derive(Deserialize)]
struct Published {
    #[serde(flatten)]
    id: JsonViewId,
    members: Vec<String>,
    partitioned: Vec<String>,
    bootstrap: bool,
}

fn traces() -> Vec<Trace> {
    serde_json::from_str(include_str!("../../../tests/vectors/pc-traces.json")).unwrap()
}

fn saved(node: &Node, restored: &Restored) -> SavedView {
    let members = nodes(&restored.members);
    SavedView {
        me: node.uuid.parse().unwrap(),
        view: restored.view_id.with_kind(ViewKind::Primary),
        is_bootstrap: false,
        members: members.into_iter().map(|node| (node, Segment(0))).collect(),
    }
}

fn start(trace: &Trace) -> Pc {
    let founds = |step: &Step| matches!(step.cause, Cause::Connect { start_prim: true });
    let config = Config {
        weight: trace.node.weight,
        segment: Segment(trace.node.segment),
        start_primary: trace.events.iter().any(founds),
        ..Config::default()
    };
    let restored = trace.node.restored.as_ref();
    Pc::new(config, trace.node.uuid.parse().unwrap(), restored.map(|view| saved(&trace.node, view)))
}

/// Feeds a step; what an administrator does returns the message itself, as sending does.
fn play(pc: &mut Pc, cause: &Cause) -> (Vec<Output>, Vec<Bytes>) {
    let input = match cause {
        Cause::Connect { .. } => Input::Connect,
        Cause::Close => Input::Close,
        Cause::Trans { id, members, left, partitioned } => {
            let id = id.with_kind(ViewKind::Transitional);
            let mut view = View::new(id, trans_version(pc), nodes(members));
            view.left = nodes(left);
            view.partitioned = nodes(partitioned);
            Input::View(view)
        }
        Cause::Reg { id, version, members } => {
            Input::View(View::new(id.with_kind(ViewKind::Regular), *version, nodes(members)))
        }
        Cause::Msg { source, order, user_type, hex } => {
            assert_eq!(order, "SAFE");
            message(source.parse().unwrap(), *user_type, without_checksum(unhex(hex)))
        }
        Cause::Admin { set, value } => {
            assert_eq!(set, "pc.weight");
            let mut sent = Vec::new();
            pc.change_weight(*value, |framed| {
                sent.push(framed);
                Ok(())
            })
            .unwrap();
            return (Vec::new(), sent);
        }
    };
    (feed(pc, input), Vec::new())
}

fn without_checksum(message: Bytes) -> Bytes {
    let mut bytes = message.to_vec();
    if bytes.len() == HEADER_LENGTH {
        bytes[0] &= 0xef;
    }
    bytes.into()
}

fn trans_version(pc: &Pc) -> u8 {
    if pc.has_evs_view() { pc.evs_view.version } else { 1 }
}

fn departed(outputs: &[Output]) -> Vec<BTreeSet<NodeId>> {
    let published = outputs.iter().filter_map(|output| {
        let Output::Event(Event::Published { departed, .. }) = output else { return None };
        Some(departed.clone())
    });
    published.collect()
}

fn check(place: &str, expect: &Expectation, pc: &Pc, outputs: &[Output], mut sent: Vec<Bytes>) {
    assert!(
        !outputs.iter().any(|output| matches!(output, Output::Fatal(_))),
        "{place}: {outputs:?}"
    );
    let status = pc.status();
    assert_eq!(status.state.to_string(), expect.state, "{place}");
    assert_eq!(status.is_primary, expect.prim, "{place}");
    assert_eq!(status.to_seq, expect.to_seq, "{place}");
    let mut components = Vec::new();
    for output in outputs {
        if let Output::Send { user_type, payload } = output {
            assert_eq!(*user_type, 0xff, "{place}");
            sent.push(payload.clone());
        }
        if let Output::Component(component) = output {
            components.push(component.clone());
        }
    }
    let expected: Vec<_> = expect.sent.iter().map(|hex| unhex(hex)).collect();
    assert_eq!(sent, expected, "{place}");
    let departed = departed(outputs);
    assert_eq!(components.len(), expect.views.len(), "{place}");
    for ((component, departed), view) in components.iter().zip(departed).zip(&expect.views) {
        assert_eq!(component.id, view.id.id(), "{place}");
        assert_eq!(component.is_bootstrap, view.bootstrap, "{place}");
        let members: BTreeSet<_> = component.members.keys().copied().collect();
        assert_eq!(members, nodes(&view.members), "{place}");
        assert_eq!(departed, nodes(&view.partitioned), "{place}");
    }
}

#[test]
fn captured_histories_replay_with_every_state_and_message_equal() {
    let traces = traces();
    assert_eq!(traces.len(), 9);
    for trace in &traces {
        let mut pc = start(trace);
        for (at, step) in trace.events.iter().enumerate() {
            let (outputs, sent) = play(&mut pc, &step.cause);
            check(&format!("{} event {at}", trace.name), &step.expect, &pc, &outputs, sent);
        }
    }
}

#[test]
fn user_messages_of_the_histories_are_delivered_without_their_header() {
    for trace in &traces() {
        let mut pc = start(trace);
        for step in &trace.events {
            let (outputs, _) = play(&mut pc, &step.cause);
            let Cause::Msg { source, user_type, hex, .. } = &step.cause else { continue };
            if &hex[2..4] != "03" {
                continue;
            }
            let expected = Delivery {
                source: source.parse().unwrap(),
                order: Order::Safe,
                user_type: *user_type,
                payload: Bytes::new(),
            };
            assert_eq!(outputs, [Output::Deliver(expected)], "{}", trace.name);
        }
    }
}

#[test]
fn a_saved_view_of_a_history_leads_to_the_incarnation_of_the_next_one() {
    let traces = traces();
    let find = |name: &str| traces.iter().find(|trace| trace.name == name).unwrap();
    let before = find("restored_weight0_returns");
    let restored = before.node.restored.as_ref().unwrap();
    let old = restored.members.iter().find(|member| {
        let me: NodeId = before.node.uuid.parse().unwrap();
        member.parse::<NodeId>().unwrap().is_same_node(&me)
    });
    let mut read = saved(&before.node, restored);
    read.me = old.unwrap().parse().unwrap();
    assert_eq!(read.restarted().me.to_string(), before.node.uuid);
    assert_eq!(read.first_view_seq(), restored.view_id.with_kind(ViewKind::Primary).seq + 1);
}

#[test]
fn a_closed_member_ignores_whatever_comes_late() {
    let traces = traces();
    let trace = &traces[0];
    let mut pc = start(trace);
    for step in &trace.events {
        play(&mut pc, &step.cause);
    }
    assert_eq!(pc.status().state, State::Closed);
    for step in trace.events.iter().filter(|step| matches!(step.cause, Cause::Msg { .. })) {
        let (outputs, _) = play(&mut pc, &step.cause);
        assert_eq!(outputs, []);
    }
}
