//! Our own state transfer, from the request to the verdict.

use bytes::Bytes;

use super::bench::{Bench, GROUP, ME, N1, N2, data_node, fragment, request};
use crate::gcs::action::{ActionType, Fragment};
use crate::gcs::donor::Refusal;
use crate::gcs::donor::names::NameProblem;
use crate::gcs::event::{Acceptance, Event, RequestError, UnknownCause, WaitReason};
use crate::gcs::message::MessageType;
use crate::gcs::name::Name;
use crate::gcs::number::{ConfigurationId, Protocols, Seqno};
use crate::gcs::requester::Request;
use crate::gcs::state_message::StateMessage;
use crate::gcs::state_request::{RequestProblem, encode_request};
use crate::gcs::status::Status;
use crate::gcs::transfer::{Outcome, Transfer};
use crate::gcs::{Input, Output};
use crate::id::NodeId;
use crate::message::SendError;
use crate::time::Duration;

fn transfer(donor: NodeId, name: &str) -> Transfer {
    Transfer {
        donor,
        donor_name: Name::from(name),
        configuration: ConfigurationId(21),
        state: GROUP,
        seqno: Seqno(101),
        outcome: Outcome::Running,
    }
}

fn accepted(donor: NodeId, name: &str) -> Event {
    Event::RequestAccepted(Acceptance { transfer: transfer(donor, name), is_certain: true })
}

fn changed(node: NodeId, name: &str, from: Status, to: Status) -> Event {
    Event::MemberStatusChanged { node, name: name.into(), from, to }
}

fn ended(code: i64) -> Event {
    Event::TransferEnded { donor: N1, code, seqno: Seqno(100) }
}

fn unknown(cause: UnknownCause) -> Event {
    Event::TransferUnknown { donor: Some(N1), cause }
}

fn outcome(bench: &Bench) -> Option<Outcome> {
    bench.gcs.transfer().map(|transfer| transfer.outcome)
}

/// A transfer from N1, with a second node in the group.
fn running() -> Bench {
    let mut bench = Bench::with_donors(Status::Synced, Status::Synced);
    bench.begin_transfer();
    bench
}

#[test]
fn a_request_is_one_fragment_in_the_old_form_and_the_negotiated_protocol() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.request("n1");
    let outputs = bench.outputs();
    let [Output::Send { message_type: 1, payload }, Output::Event(event)] = outputs.as_slice()
    else {
        panic!("{outputs:?}");
    };
    let data = encode_request("n1", "mariabackup", "h:4444/xtrabackup_sst//1").expect("valid");
    let expected = fragment(5, ActionType::StateRequest, &data);
    assert_eq!(Fragment::decode(payload), Ok(expected));
    assert_eq!(*event, Event::RequestSent { action_id: 1, protocol: 5 });
}

#[test]
fn the_donor_is_computed_when_the_request_comes_back() {
    let mut bench = Bench::with_donors(Status::Synced, Status::Synced);
    bench.request("n2");
    let expected = [
        changed(ME, "backup", Status::Primary, Status::Joiner),
        changed(N2, "n2", Status::Synced, Status::Donor),
        accepted(N2, "n2"),
    ];
    assert_eq!(bench.deliver_own_action(), expected);
}

#[test]
fn requests_that_would_confuse_a_donor_are_refused() {
    let mut bench = Bench::with_donor(Status::Synced);
    let bad = Request { method: "Vx".into(), ..request("") };
    bench.input(Input::RequestStateTransfer(bad));
    let error = RequestError::Invalid(RequestProblem::MethodStart);
    assert_eq!(bench.events(), [Event::RequestRefused(error)]);
    bench.request("");
    assert_eq!(bench.outputs().len(), 2, "another one may follow");
}

#[test]
fn donor_lists_that_mean_something_else_to_the_group_are_refused() {
    let mut bench = Bench::with_donors(Status::Synced, Status::Synced);
    bench.request("n");
    let (entry, taken) = (Name::from("n"), Name::from("n1"));
    let problem = NameProblem::Prefix { entry, taken };
    assert_eq!(bench.events(), [Event::RequestRefused(RequestError::Names(problem))]);

    bench.request("n1,b");
    let (entry, own) = (Name::from("b"), Name::from("backup"));
    let problem = NameProblem::OwnName { entry, own };
    assert_eq!(bench.events(), [Event::RequestRefused(RequestError::Names(problem))]);

    bench.request("absent");
    let error = RequestError::Refused(Refusal::Unreachable);
    assert_eq!(bench.events(), [Event::RequestRefused(error)]);
}

#[test]
fn a_busy_donor_is_waited_for_until_its_sync() {
    let mut bench = Bench::with_donor(Status::Donor);
    bench.request("n1");
    assert_eq!(bench.events(), [Event::RequestWaiting(WaitReason::DonorBusy)]);
    bench.join(N1, 0);
    assert_eq!(bench.events().len(), 1, "only the change of status");
    bench.sync(N1);
    let outputs = bench.outputs();
    assert!(matches!(outputs[1], Output::Send { message_type: 1, .. }), "{outputs:?}");
}

#[test]
fn without_a_configuration_the_request_waits_for_one() {
    let mut bench = Bench::new();
    bench.request("");
    assert_eq!(bench.events(), [Event::RequestWaiting(WaitReason::NoConfiguration)]);
    bench.view(&[N1, ME]);
    bench.exchange(&[(N1, data_node("n1", Status::Synced))]);
    assert!(matches!(bench.deliver_own_action().pop(), Some(Event::RequestAccepted(_))));
}

#[test]
fn a_request_that_finds_no_donor_in_time_is_given_up() {
    let mut bench = Bench::with_donor(Status::Joined);
    bench.request("");
    bench.outputs();
    bench.pass(Duration::from_secs(299));
    assert_eq!(bench.outputs(), []);
    bench.pass(Duration::from_secs(1));
    let error = RequestError::NoDonorInTime(WaitReason::DonorBusy);
    assert_eq!(bench.events(), [Event::RequestRefused(error)]);
    assert_eq!(bench.gcs.next_deadline(), None);
}

#[test]
fn eagain_is_tried_again_after_the_sync_or_one_second() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.request("");
    let own = bench.outputs();
    // Another request was ordered before ours.
    bench.action(N1, ActionType::StateRequest, b"self-desync\0\0");
    let [Output::Send { payload, .. }, _] = own.as_slice() else { panic!("{own:?}") };
    bench.deliver(ME, MessageType::Action, payload.clone());
    let expected = [
        changed(N1, "n1", Status::Synced, Status::Donor),
        Event::RequestWaiting(WaitReason::DonorBusy),
    ];
    assert_eq!(bench.events(), expected);
    assert_eq!(bench.gcs.next_deadline(), Some(bench.now + Duration::from_secs(1)));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.outputs(), []);
    bench.join(N1, 0);
    bench.sync(N1);
    let events = bench.deliver_own_action();
    assert_eq!(events.last(), Some(&accepted(N1, "n1")));
}

#[test]
fn a_refused_send_is_repeated_in_the_next_configuration_or_after_a_second() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.request("");
    bench.outputs();
    let error = SendError::TryAgain;
    bench.input(Input::SendRefused { message_type: 1, error });
    assert_eq!(bench.events(), [Event::RequestWaiting(WaitReason::Sending(error))]);
    bench.pass(Duration::from_secs(1));
    assert!(matches!(bench.deliver_own_action().pop(), Some(Event::RequestAccepted(_))));
}

#[test]
fn a_refused_exchange_message_is_forgotten() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.request("");
    bench.outputs();
    let error = SendError::TryAgain;
    bench.input(Input::SendRefused { message_type: 5, error });
    assert_eq!(bench.outputs(), []);
}

#[test]
fn a_request_that_did_not_come_back_is_sent_again_with_the_new_protocol() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.request("");
    bench.outputs();
    bench.view(&[N1, ME]);
    let upgraded = Protocols { gcs: 6, repl: 11, appl: 4 };
    let state = StateMessage { protocols: upgraded, ..data_node("n1", Status::Synced) };
    bench.exchange(&[(N1, state)]);
    let outputs = bench.outputs();
    let sent = Output::Event(Event::RequestSent { action_id: 2, protocol: 6 });
    assert_eq!(outputs.last(), Some(&sent));
}

#[test]
fn a_request_with_the_protocol_of_another_configuration_was_executed_by_nobody() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.request("");
    bench.outputs();
    let stale = fragment(4, ActionType::StateRequest, b"\0m\0a\0");
    bench.deliver(ME, MessageType::Action, stale.encode());
    let reason = WaitReason::Sending(SendError::TryAgain);
    assert_eq!(bench.events(), [Event::RequestWaiting(reason)]);
    assert_eq!(bench.status(N1), Status::Synced);
}

#[test]
fn a_request_in_flight_at_the_loss_of_primary_has_an_unknown_fate() {
    let mut bench = Bench::with_donor(Status::Synced);
    bench.request("");
    bench.outputs();
    bench.lose_primary(&[ME]);
    let cause = UnknownCause::RequestInFlight;
    assert_eq!(bench.events()[0], Event::TransferUnknown { donor: None, cause });
    bench.request("");
    assert_eq!(bench.events(), [Event::RequestRefused(RequestError::AlreadyRequested)]);
}

#[test]
fn a_cancelled_request_is_not_sent_again_but_its_acceptance_is_reported() {
    let mut bench = Bench::with_donor(Status::Donor);
    bench.request("");
    bench.input(Input::CancelRequest);
    bench.join(N1, 0);
    bench.sync(N1);
    let outputs = bench.outputs();
    assert!(outputs.iter().all(|output| matches!(output, Output::Event(_))), "{outputs:?}");

    bench.request("");
    bench.input(Input::CancelRequest);
    assert!(matches!(bench.deliver_own_action().pop(), Some(Event::RequestAccepted(_))));
}

#[test]
fn only_one_transfer_per_run() {
    let mut bench = running();
    bench.request("n2");
    assert_eq!(bench.events(), [Event::RequestRefused(RequestError::AlreadyRequested)]);
}

#[test]
fn the_donors_join_is_the_verdict_whatever_its_code() {
    for code in [0, -22, -255] {
        let mut bench = running();
        bench.join(N1, code);
        let joined = changed(N1, "n1", Status::Donor, Status::Joined);
        assert_eq!(bench.events(), [joined, ended(code)]);
        assert_eq!(outcome(&bench), Some(Outcome::Ended(code)));
        bench.sync(N1);
        assert_eq!(bench.events().len(), 1, "SYNC says nothing about the transfer");
    }
}

#[test]
fn joins_of_others_are_not_ours() {
    let mut bench = running();
    bench.join(N2, -22);
    assert_eq!(bench.events(), []);
    assert_eq!(outcome(&bench), Some(Outcome::Running));
}

#[test]
fn a_desync_of_the_donor_adds_a_join_that_is_not_the_verdict() {
    let mut bench = running();
    bench.action(N1, ActionType::StateRequest, b"self-desync\0\0");
    bench.join(N1, 0);
    assert_eq!(bench.events(), []);
    bench.join(N1, 0);
    assert_eq!(bench.events()[1], ended(0));
}

#[test]
fn a_negative_code_is_final_even_while_the_donor_stays_desynced() {
    let mut bench = running();
    bench.action(N1, ActionType::StateRequest, b"self-desync\0\0");
    bench.join(N1, -22);
    assert_eq!(bench.events(), [ended(-22)]);
    bench.join(N1, 0);
    assert_eq!(bench.events(), [changed(N1, "n1", Status::Donor, Status::Joined)]);
    assert_eq!(outcome(&bench), Some(Outcome::Ended(-22)));
}

#[test]
fn a_second_join_is_no_error_but_a_late_failure_is_believed() {
    let mut bench = running();
    bench.join(N1, 0);
    bench.outputs();
    bench.join(N1, 0);
    assert_eq!(bench.events(), []);
    bench.join(N1, -22);
    assert_eq!(bench.events(), [ended(-22)]);
}

#[test]
fn the_failure_of_the_donors_next_transfer_is_not_ours() {
    let mut bench = running();
    bench.join(N1, 0);
    bench.sync(N1);
    bench.view(&[N1, ME, N2]);
    let states = [(N1, data_node("n1", Status::Synced)), (N2, data_node("n2", Status::Primary))];
    bench.exchange(&states);
    bench.action(N2, ActionType::StateRequest, b"n1\0mariabackup\0x\0");
    assert_eq!(bench.status(N1), Status::Donor);
    bench.outputs();
    bench.join(N1, -22);
    assert_eq!(bench.events(), [changed(N1, "n1", Status::Donor, Status::Joined)]);
    assert_eq!(outcome(&bench), Some(Outcome::Ended(0)));
}

#[test]
fn a_configuration_change_in_the_middle_leaves_the_transfer_running() {
    let mut bench = running();
    bench.view(&[N1, ME]);
    bench.exchange(&[(N1, data_node("n1", Status::Donor))]);
    let events = bench.events();
    assert!(matches!(events.as_slice(), [Event::ConfigurationChanged(_)]), "{events:?}");
    assert_eq!(bench.status(ME), Status::Primary);
    bench.join(N1, 0);
    assert_eq!(bench.events()[1], ended(0));
}

#[test]
fn a_donor_that_left_a_primary_view_is_lost() {
    let mut bench = running();
    bench.view(&[ME, N2]);
    let outputs = bench.outputs();
    assert_eq!(outputs.last(), Some(&Output::Event(Event::DonorLost { donor: N1 })));
    assert_eq!(outcome(&bench), Some(Outcome::DonorLost));
}

#[test]
fn a_donor_is_only_out_of_sight_in_a_non_primary_view() {
    let mut bench = running();
    bench.lose_primary(&[ME]);
    assert_eq!(bench.events().len(), 1);
    assert_eq!(outcome(&bench), Some(Outcome::Running));
    bench.view(&[N1, ME]);
    bench.exchange(&[(N1, data_node("n1", Status::Donor))]);
    bench.outputs();
    bench.join(N1, 0);
    assert_eq!(bench.events()[1], ended(0));
}

#[test]
fn a_donor_that_is_none_any_more_without_its_join_leaves_the_outcome_unknown() {
    for status in [Status::Joined, Status::Synced, Status::Primary] {
        let mut bench = running();
        bench.lose_primary(&[ME]);
        bench.view(&[N1, ME, N2]);
        let states = [(N1, data_node("n1", status)), (N2, data_node("n2", Status::Synced))];
        bench.exchange(&states);
        let event = unknown(UnknownCause::DonorStatus(status));
        assert_eq!(bench.events().last(), Some(&event), "{status}");
        bench.join(N1, 0);
        assert_eq!(outcome(&bench), Some(Outcome::Unknown));
        bench.join(N1, -22);
        assert_eq!(outcome(&bench), Some(Outcome::Ended(-22)));
    }
}

#[test]
fn no_verdict_within_the_limit_after_the_data_is_unknown() {
    let mut bench = running();
    assert_eq!(bench.gcs.next_deadline(), None);
    bench.input(Input::DataEnded);
    bench.pass(Duration::from_secs(119));
    assert_eq!(bench.outputs(), []);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.events(), [unknown(UnknownCause::NoVerdict)]);
    assert_eq!(bench.gcs.next_deadline(), None);
}

#[test]
fn a_verdict_in_time_stops_the_clock() {
    let mut bench = running();
    bench.input(Input::DataEnded);
    bench.join(N1, 0);
    assert_eq!(bench.gcs.next_deadline(), None);
    bench.outputs();
    bench.pass(Duration::from_secs(500));
    assert_eq!(bench.outputs(), []);
}

#[test]
fn a_restarted_member_follows_the_donor_that_it_had() {
    let mut bench = Bench::new();
    bench.input(Input::FollowTransfer(transfer(N1, "n1")));
    bench.view(&[N1, ME]);
    bench.exchange(&[(N1, data_node("n1", Status::Donor))]);
    bench.outputs();
    bench.join(N1, -32);
    assert_eq!(bench.events()[1], ended(-32));

    let mut bench = Bench::new();
    bench.input(Input::FollowTransfer(transfer(N1, "n1")));
    bench.view(&[ME, N2]);
    let lost = Output::Event(Event::DonorLost { donor: N1 });
    assert_eq!(bench.outputs().last(), Some(&lost));
}

#[test]
fn requests_of_others_change_statuses_and_nothing_else() {
    let mut bench = Bench::with_donors(Status::Synced, Status::Primary);
    bench.action(N2, ActionType::StateRequest, b"n1\0rsync\0x\0");
    let expected = [
        changed(N2, "n2", Status::Primary, Status::Joiner),
        changed(N1, "n1", Status::Synced, Status::Donor),
    ];
    assert_eq!(bench.events(), expected);
    // A second request of a joiner is ignored everywhere.
    bench.action(N2, ActionType::StateRequest, b"n1\0rsync\0x\0");
    assert_eq!(bench.events(), []);
}

#[test]
fn a_malformed_request_of_another_is_ignored() {
    let mut bench = Bench::with_donors(Status::Synced, Status::Primary);
    bench.action(N2, ActionType::StateRequest, b"n1\0V\x03short");
    let events = bench.events();
    assert!(matches!(events.as_slice(), [Event::Dropped { source: N2, .. }]), "{events:?}");
    assert_eq!(bench.status(N2), Status::Primary);
}

#[test]
fn a_desync_is_granted_to_nodes_with_state() {
    for (status, expected) in
        [(Status::Synced, 1), (Status::Donor, 2), (Status::Joined, 1), (Status::Primary, 0)]
    {
        let mut bench = Bench::with_donors(Status::Synced, status);
        let payload = b"self-desync\0V\x02ssssssssssssssss\xff\xff\xff\xff\xff\xff\xff\xff\0";
        bench.action(N2, ActionType::StateRequest, payload);
        assert_eq!(bench.gcs.members()[2].desync_count, expected, "{status}");
    }
}

#[test]
fn stale_timeouts_change_nothing() {
    let mut bench = running();
    bench.pass(Duration::from_secs(10_000));
    assert_eq!(bench.outputs(), []);
    let empty = Bytes::new();
    bench.deliver(N1, MessageType::Action, empty);
    assert_eq!(outcome(&bench), Some(Outcome::Running));
}
