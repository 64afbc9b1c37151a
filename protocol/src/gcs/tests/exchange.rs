//! Views, state exchanges, configurations, and what is sent and heard in them.

use bytes::Bytes;

use super::bench::{Bench, GROUP, ME, N1, N2, component, data_node, fragment};
use crate::gcs::action::ActionType;
use crate::gcs::code::CodeMessage;
use crate::gcs::event::{Event, LeaveReason, NonPrimaryCause};
use crate::gcs::flow::Flow;
use crate::gcs::message::MessageType;
use crate::gcs::name::Name;
use crate::gcs::number::{ConfigurationId, Protocols, Seqno};
use crate::gcs::quorum::NoQuorum;
use crate::gcs::state::StateKind;
use crate::gcs::state_message::{ExchangeId, StateFlags, StateMessage};
use crate::gcs::status::Status;
use crate::gcs::{Input, Output};
use crate::id::{NodeId, StateId, ViewKind};

const EXCHANGE: ExchangeId = ExchangeId::from_bytes([7; 16]);

fn null(is_first: bool) -> StateMessage {
    let protocols = Protocols { gcs: 6, repl: 127, appl: 127 };
    StateMessage::null(EXCHANGE, is_first, Name::from("backup"), protocols)
}

fn send(message_type: MessageType, payload: Bytes) -> Output {
    Output::Send { message_type: message_type.number(), payload }
}

#[test]
fn index_0_names_the_exchange_and_others_wait_for_it() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME]);
    assert_eq!(bench.outputs(), []);
    bench.view(&[ME, N2]);
    let outputs = bench.outputs();
    let [Output::Send { message_type: 4, payload }] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    assert_ne!(ExchangeId::decode(payload), Ok(ExchangeId::NIL));
    assert_eq!(bench.gcs.state(), StateKind::WaitStateUuid);
}

#[test]
fn every_view_that_we_lead_gets_another_exchange_id() {
    let mut bench = Bench::new();
    bench.view(&[ME, N2]);
    let first = bench.outputs();
    bench.view(&[ME, N2]);
    assert_ne!(bench.outputs(), first);
}

#[test]
fn state_uuid_of_index_0_is_answered_with_the_null_state_at_once() {
    for (members, is_first) in [([N1, ME], false), ([ME, N2], true)] {
        let mut bench = Bench::new();
        bench.view(&members);
        bench.outputs();
        bench.deliver(members[0], MessageType::StateUuid, EXCHANGE.encode());
        let answer = send(MessageType::StateMessage, null(is_first).encode());
        assert_eq!(bench.outputs(), [answer]);
        assert_eq!(bench.gcs.state(), StateKind::WaitStateMessages);
    }
}

#[test]
fn a_configuration_does_not_change_what_we_say_in_the_next_exchange() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.view(&[N1, ME]);
    bench.deliver(N1, MessageType::StateUuid, EXCHANGE.encode());
    let answer = send(MessageType::StateMessage, null(false).encode());
    assert_eq!(bench.outputs(), [answer]);
}

#[test]
fn state_uuid_counts_once_per_view_and_only_from_index_0() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME, N2]);
    bench.deliver(N2, MessageType::StateUuid, EXCHANGE.encode());
    assert_eq!(bench.gcs.state(), StateKind::WaitStateUuid);
    bench.deliver(N1, MessageType::StateUuid, EXCHANGE.encode());
    assert_eq!(bench.outputs().len(), 1);
    bench.deliver(N1, MessageType::StateUuid, ExchangeId::from_bytes([8; 16]).encode());
    assert_eq!(bench.outputs(), []);
}

#[test]
fn the_end_of_the_exchange_is_the_configuration_that_everybody_computes() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME]);
    assert!(!bench.gcs.is_exchange_complete());
    bench.exchange(&[(N1, data_node("n1", Status::Synced))]);
    let events = bench.events();
    let [Event::ConfigurationChanged(configuration)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(configuration.id, ConfigurationId(21));
    assert_eq!((configuration.state, configuration.seqno), (GROUP, Seqno(101)));
    assert_eq!(configuration.protocols, Protocols { gcs: 5, repl: 11, appl: 4 });
    assert_eq!(configuration.my_index, 1);
    let rows = configuration.members.iter();
    let rows: Vec<_> =
        rows.map(|row| (row.name.to_string(), row.status, row.is_stateless)).collect();
    let expected = [("n1".into(), Status::Synced, false), ("backup".into(), Status::Primary, true)];
    assert_eq!(rows, expected);
    assert!(bench.gcs.is_exchange_complete());
}

#[test]
fn at_gcs_protocol_0_a_configuration_takes_no_seqno() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME]);
    let protocols = Protocols { gcs: 0, repl: 9, appl: 3 };
    let old = StateMessage {
        protocols,
        previous_protocols: protocols,
        ..data_node("n1", Status::Synced)
    };
    bench.exchange(&[(N1, old)]);
    assert_eq!(bench.gcs.seqno(), Some(Seqno(100)));
    bench.deliver(N1, MessageType::Join, CodeMessage::Short(-87).encode());
    assert_eq!(bench.status(N1), Status::Synced);
}

#[test]
fn a_view_change_in_the_middle_of_an_exchange_starts_it_again() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME, N2]);
    let all = [(N1, data_node("n1", Status::Synced)), (N2, data_node("n2", Status::Synced))];
    bench.exchange(&all[..1]);
    bench.view(&[N1, ME]);
    // A late message of the exchange that was cut off.
    bench.deliver(N1, MessageType::StateMessage, all[0].1.encode());
    assert_eq!(bench.gcs.state(), StateKind::WaitStateUuid);
    bench.exchange(&all[..1]);
    assert_eq!(bench.gcs.state(), StateKind::Primary);
}

#[test]
fn alone_we_never_begin_a_group() {
    let mut bench = Bench::new();
    bench.view(&[ME]);
    bench.exchange(&[]);
    let cause = NonPrimaryCause::Quorum(NoQuorum::NobodyHasState);
    let leave = Event::LeaveAdvised(LeaveReason::OnlyStateless);
    assert_eq!(bench.events(), [Event::NonPrimary(cause), leave]);
    assert_eq!(bench.gcs.state(), StateKind::NonPrimary);
    assert!(bench.gcs.is_exchange_complete());
}

#[test]
fn a_data_node_without_state_is_no_quorum_and_no_reason_to_leave() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME]);
    bench.exchange(&[(N1, data_node("n1", Status::Primary))]);
    let cause = NonPrimaryCause::Quorum(NoQuorum::NobodyHasState);
    assert_eq!(bench.events(), [Event::NonPrimary(cause)]);
}

#[test]
fn losing_the_primary_component_is_reported_and_silent() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.lose_primary(&[ME]);
    assert_eq!(bench.events(), [Event::NonPrimary(NonPrimaryCause::Component)]);
    assert_eq!(bench.status(ME), Status::NonPrimary);
    assert!(bench.gcs.is_exchange_complete());
    bench.deliver(ME, MessageType::StateUuid, EXCHANGE.encode());
    assert_eq!(bench.outputs(), []);
}

#[test]
fn the_last_view_of_a_leave_closes() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.input(Input::Component(component(ViewKind::NonPrimary, &[])));
    assert_eq!(bench.events(), [Event::Left]);
    assert_eq!(bench.gcs.state(), StateKind::Closed);
    bench.sync(N1);
    assert_eq!(bench.outputs(), []);
}

#[test]
fn protocols_above_ours_advise_to_leave() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME]);
    let negotiated = Protocols { gcs: 7, repl: 12, appl: 5 };
    let future = StateMessage {
        protocols: negotiated,
        previous_protocols: negotiated,
        ..data_node("n1", Status::Synced)
    };
    bench.exchange(&[(N1, future)]);
    let ours = Protocols { gcs: 6, repl: 127, appl: 127 };
    let reason = LeaveReason::ProtocolTooHigh { ours, negotiated };
    assert_eq!(bench.events().pop(), Some(Event::LeaveAdvised(reason)));
    // The duties of a member go on until we are out.
    bench.view(&[ME, N2]);
    assert_eq!(bench.outputs().len(), 1);
}

#[test]
fn a_group_of_arbitrators_advises_to_leave() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME]);
    let flags = StateFlags::STATELESS;
    let stock = StateMessage { flags, ..data_node("garb", Status::Synced) };
    bench.exchange(&[(N1, stock)]);
    let reason = Event::LeaveAdvised(LeaveReason::OnlyStateless);
    assert_eq!(bench.events().pop(), Some(reason));
}

#[test]
fn an_unreadable_state_message_advises_to_leave() {
    let mut bench = Bench::new();
    bench.view(&[N1, ME]);
    bench.exchange(&[]);
    bench.deliver(N1, MessageType::StateMessage, Bytes::from_static(&[6; 40]));
    let events = bench.events();
    let [Event::Dropped { source: N1, error }, Event::LeaveAdvised(reason)] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    let expected = LeaveReason::StateMessageUnreadable { node: N1, error: *error };
    assert_eq!(*reason, expected);
}

#[test]
fn write_sets_of_nodes_with_state_take_a_seqno() {
    for (status, expected) in [(Status::Synced, 102), (Status::Joined, 102), (Status::Joiner, 101)]
    {
        let mut bench = Bench::with_donors(Status::Synced, status);
        bench.action(N2, ActionType::WriteSet, b"transaction");
        assert_eq!(bench.gcs.seqno(), Some(Seqno(expected)), "{status}");
    }
}

#[test]
fn write_sets_of_another_protocol_or_outside_a_configuration_take_none() {
    let mut bench = Bench::with_donor(Status::Synced);
    let other_protocol = fragment(4, ActionType::WriteSet, b"transaction");
    bench.deliver(N1, MessageType::Action, other_protocol.encode());
    assert_eq!(bench.gcs.seqno(), Some(Seqno(101)));
    bench.view(&[N1, ME]);
    bench.action(N1, ActionType::WriteSet, b"transaction");
    assert_eq!(bench.gcs.seqno(), None);
}

#[test]
fn nothing_else_takes_a_seqno() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.action(N1, ActionType::Other(1), b"commit cut");
    bench.action(N1, ActionType::StateRequest, b"self-desync\0\0");
    for message_type in [MessageType::Last, MessageType::Join, MessageType::Sync, MessageType::Vote]
    {
        bench.code(N1, message_type, 0);
    }
    assert_eq!(bench.gcs.seqno(), Some(Seqno(101)));
}

#[test]
fn a_donor_goes_through_joined_to_synced() {
    let mut bench = Bench::with_donor(Status::Donor);
    bench.join(N1, 0);
    bench.sync(N1);
    let change = |from, to| Event::MemberStatusChanged { node: N1, name: "n1".into(), from, to };
    let expected = [change(Status::Donor, Status::Joined), change(Status::Joined, Status::Synced)];
    assert_eq!(bench.events(), expected);
}

#[test]
fn messages_about_another_group_are_dropped() {
    let mut bench = Bench::with_donor(Status::Donor);
    for state in [StateId::NIL, StateId::from_bytes([1; 16])] {
        let (seqno, text) = (Seqno(1), Bytes::new());
        let message = CodeMessage::Long { state, seqno, code: 0, text };
        bench.deliver(N1, MessageType::Join, message.encode());
    }
    assert_eq!((bench.outputs().len(), bench.status(N1)), (0, Status::Donor));
}

#[test]
fn messages_of_strangers_and_unknown_types_are_skipped() {
    let mut bench = Bench::with_donor(Status::Donor);
    bench.join(NodeId::from_bytes([9; 16]), 0);
    bench.deliver(N1, MessageType::Other(42), Bytes::from_static(b"?"));
    bench.deliver(N1, MessageType::Vote, CodeMessage::Short(1).encode());
    assert_eq!(bench.outputs(), []);
}

#[test]
fn a_malformed_message_is_reported_and_changes_nothing() {
    let mut bench = Bench::with_donor(Status::Donor);
    bench.deliver(N1, MessageType::Join, Bytes::from_static(b"too short"));
    let events = bench.events();
    assert!(matches!(events.as_slice(), [Event::Dropped { source: N1, .. }]), "{events:?}");
    assert_eq!(bench.status(N1), Status::Donor);
}

#[test]
fn flow_control_is_shown_and_forgotten_with_the_configuration() {
    let mut bench = Bench::with_donor(Status::Synced);
    let stop = Flow { configuration: 21, stop: 1 }.encode();
    bench.deliver(N1, MessageType::Flow, stop);
    assert!(bench.gcs.is_flow_control_paused());
    assert_eq!(bench.outputs(), []);
    bench.view(&[N1, ME]);
    bench.exchange(&[(N1, data_node("n1", Status::Synced))]);
    assert!(!bench.gcs.is_flow_control_paused());
}
