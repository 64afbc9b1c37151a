//! One member, brought into a state by the inputs that lead there, and what it said.

use bytes::Bytes;
use std::collections::BTreeMap;

use super::super::testing::*;
use super::super::*;
use crate::id::{Segment, ViewKind};

/// A guest of weight 0, number 5, as far as the state exchange of view 5 with `others`, who come
/// from the primary view 4 at position 10.
pub(super) fn exchanging(me: u8, weight: u8, others: &[u8]) -> (Pc, View) {
    let config = Config { weight, ..Config::default() };
    let mut pc = Pc::new(config, node(me), None);
    feed(&mut pc, Input::Connect);
    let alone = View::new(ViewId::new(ViewKind::Transitional, node(me), 0), 1, members(&[me]));
    feed(&mut pc, Input::View(alone));
    let view = regular(5, &[others, &[me]].concat());
    feed(&mut pc, Input::View(view.clone()));
    (pc, view)
}

pub(super) fn report_of(others: &[u8]) -> NodeMap {
    let first = *others.iter().min().unwrap();
    others.iter().map(|&n| (node(n), in_primary(first, 4, u32::from(n), 10))).collect()
}

pub(super) fn state(n: u8, nodes: NodeMap) -> Input {
    message(node(n), CONTROL_USER_TYPE, Message::state(1, nodes).encode())
}

pub(super) fn install(n: u8, flags: Flags, nodes: NodeMap) -> Input {
    message(node(n), CONTROL_USER_TYPE, Message::install(1, flags, nodes).encode())
}

pub(super) fn user(n: u8, seq: u32) -> Input {
    message(node(n), 1, Message::user(1, seq, Bytes::from_static(b"x")).encode())
}

pub(super) fn exchange_all(pc: &mut Pc, me: u8, weight: u8, others: &[u8]) -> Vec<Output> {
    for &n in others {
        feed(pc, state(n, report_of(others)));
    }
    feed(pc, state(me, map(&[(me, entry(weight))])))
}

/// What the representative sends at the end of that exchange.
pub(super) fn install_map(me: u8, weight: u8, others: &[u8]) -> NodeMap {
    let mut nodes = report_of(others);
    nodes.insert(node(me), entry(weight));
    nodes
}

/// The same member once the primary view 5 stands.
pub(super) fn primary(me: u8, weight: u8, others: &[u8]) -> (Pc, View) {
    let (mut pc, view) = exchanging(me, weight, others);
    exchange_all(&mut pc, me, weight, others);
    feed(&mut pc, install(others[0], Flags::default(), install_map(me, weight, others)));
    assert_eq!(pc.status().state, State::Primary);
    (pc, view)
}

/// A member with the given state, connected and alone unless a view is needed.
pub(super) fn member_in(state: State) -> Pc {
    let (mut pc, view) = exchanging(5, 0, &[1, 2]);
    match state {
        State::Closed => pc = Pc::new(Config::default(), node(5), None),
        State::StatesExchange => {}
        State::Install => drop(exchange_all(&mut pc, 5, 0, &[1, 2])),
        State::Primary => pc = primary(5, 0, &[1, 2]).0,
        State::Transitional => {
            pc = primary(5, 0, &[1, 2]).0;
            feed(&mut pc, Input::View(transitional(&view, &[1, 2, 5], &[])));
        }
        State::NonPrimary => {
            for n in [1, 2, 5] {
                feed(&mut pc, self::state(n, map(&[(n, entry(0))])));
            }
        }
    }
    assert_eq!(pc.status().state, state);
    pc
}

pub(super) fn fatal(outputs: &[Output]) -> Option<Fatal> {
    outputs
        .iter()
        .find_map(|output| if let Output::Fatal(fatal) = output { Some(*fatal) } else { None })
}

pub(super) fn components(outputs: &[Output]) -> Vec<Component> {
    let components = outputs.iter().filter_map(|output| {
        let Output::Component(component) = output else { return None };
        Some(component.clone())
    });
    components.collect()
}

pub(super) fn sent(outputs: &[Output]) -> Vec<Message> {
    let payloads = outputs.iter().filter_map(|output| {
        let Output::Send { payload, .. } = output else { return None };
        Some(Message::decode(payload).unwrap())
    });
    payloads.collect()
}

pub(super) fn component(kind: ViewKind, n: u8, seq: u32, numbers: &[u8]) -> Component {
    let members: BTreeMap<_, _> = numbers.iter().map(|&n| (node(n), Segment(0))).collect();
    Component { id: ViewId::new(kind, node(n), seq), is_bootstrap: false, members }
}

pub(super) fn advice(outputs: &[Output]) -> Vec<Advice> {
    let advice = outputs.iter().filter_map(|output| {
        let Output::Advice(advice) = output else { return None };
        Some(advice.clone())
    });
    advice.collect()
}

pub(super) fn restored(me: u8, weight: u8, numbers: &[u8]) -> (Pc, View) {
    let members: BTreeMap<_, _> = numbers.iter().map(|&n| (node(n), Segment(0))).collect();
    let saved = SavedView { me: node(me), view: primary_id(1, 7), is_bootstrap: false, members };
    let config = Config { weight, ..Config::default() };
    let mut pc = Pc::new(config, node(me), Some(saved));
    feed(&mut pc, Input::Connect);
    let alone =
        View::new(ViewId::new(ViewKind::Transitional, node(me), 8), 1, self::members(&[me]));
    feed(&mut pc, Input::View(alone));
    let view = regular(9, numbers);
    feed(&mut pc, Input::View(view.clone()));
    (pc, view)
}

pub(super) fn from_file(weight: u8) -> Entry {
    Entry { last_primary: primary_id(1, 7).with_kind(ViewKind::NonPrimary), ..entry(weight) }
}
