use proptest::prelude::*;

use super::*;
use crate::gcs::name::Name;
use crate::gcs::state_message::Votes;

const GROUP: StateId = StateId::from_bytes([0xaa; 16]);
const OTHER_GROUP: StateId = StateId::from_bytes([0xbb; 16]);

fn arbitrator() -> StateMessage {
    let protocols = Protocols { gcs: 6, repl: 127, appl: 127 };
    StateMessage::null(ExchangeId::NIL, false, Name::from("garb"), protocols)
}

fn data_node(status: Status, received: i64, configuration: i64) -> StateMessage {
    StateMessage {
        flags: StateFlags::COUNTS_LAST_APPLIED,
        protocols: Protocols { gcs: 5, repl: 11, appl: 4 },
        previous_status: status,
        current_status: status,
        group: GROUP,
        received: Seqno(received),
        previous_configuration: ConfigurationId(configuration),
        votes: Votes { last_applied: Seqno(100), seqno: Seqno(-1), result: 0, policy: 0 },
        previous_protocols: Protocols { gcs: 5, repl: 11, appl: 4 },
        ..arbitrator()
    }
}

fn lost_primary(status: Status, received: i64, configuration: i64) -> StateMessage {
    let current_status = Status::NonPrimary;
    StateMessage { current_status, ..data_node(status, received, configuration) }
}

fn compute(messages: &[StateMessage]) -> Result<Quorum, NoQuorum> {
    Quorum::compute(&messages.iter().collect::<Vec<_>>())
}

#[test]
fn the_first_exchange_of_an_arbitrator_takes_the_data_nodes_position() {
    let quorum = compute(&[arbitrator(), data_node(Status::Synced, 1, 1)]).expect("quorum");
    let expected = Quorum {
        version: 6,
        act_id: Seqno(1),
        configuration: ConfigurationId(1),
        group: GROUP,
        last_applied: Seqno(100),
        protocols: Protocols { gcs: 5, repl: 11, appl: 4 },
        vote_policy: 0,
        reference: 1,
    };
    assert_eq!(quorum, expected);
    assert_eq!(quorum.standing(&arbitrator()).status, Status::Primary);
    assert_eq!(quorum.standing(&data_node(Status::Synced, 1, 1)).status, Status::Synced);
}

#[test]
fn the_reference_received_most_and_then_saw_the_latest_configuration() {
    let reference = |messages: &[StateMessage]| compute(messages).map(|quorum| quorum.reference);
    let [low, high] = [data_node(Status::Synced, 7, 9), data_node(Status::Donor, 8, 2)];
    assert_eq!(reference(&[low.clone(), high.clone()]), Ok(1));
    let later = data_node(Status::Joined, 8, 3);
    assert_eq!(reference(&[low, high.clone(), later]), Ok(2));
    assert_eq!(reference(&[high.clone(), high]), Ok(0));
}

#[test]
fn members_with_state_of_two_histories_have_no_quorum() {
    let other = StateMessage { group: OTHER_GROUP, ..data_node(Status::Synced, 1, 1) };
    let result = compute(&[data_node(Status::Synced, 1, 1), other]);
    assert_eq!(result, Err(NoQuorum::DifferentGroups));
}

#[test]
fn members_without_state_have_no_quorum() {
    assert_eq!(compute(&[arbitrator(), arbitrator()]), Err(NoQuorum::NobodyHasState));
    assert_eq!(compute(&[]), Err(NoQuorum::NobodyHasState));
    let joiner = data_node(Status::Joiner, 5, 5);
    assert_eq!(compute(&[arbitrator(), joiner]), Err(NoQuorum::NobodyHasState));
}

#[test]
fn a_running_group_is_not_taken_below_what_it_spoke() {
    let old = StateMessage { protocols: Protocols { gcs: 3, repl: 10, appl: 4 }, ..arbitrator() };
    let quorum = compute(&[old, data_node(Status::Synced, 1, 1)]).expect("quorum");
    assert_eq!(quorum.protocols, Protocols { gcs: 5, repl: 11, appl: 4 });
    let young = StateMessage { version: 5, ..arbitrator() };
    let old = StateMessage { protocols: Protocols { gcs: 3, repl: 10, appl: 4 }, ..young };
    let quorum = compute(&[old, data_node(Status::Synced, 1, 1)]).expect("quorum");
    assert_eq!(quorum.protocols, Protocols { gcs: 3, repl: 10, appl: 4 });
}

#[test]
fn a_lone_stock_arbitrator_would_drag_the_group_to_127() {
    let alone = StateMessage {
        protocols: Protocols { gcs: 5, repl: 127, appl: 127 },
        ..data_node(Status::Synced, 184, 23)
    };
    let quorum = compute(&[alone]).expect("its own quorum");
    assert_eq!(quorum.protocols, Protocols { gcs: 5, repl: 127, appl: 127 });
    assert_eq!(compute(&[arbitrator()]), Err(NoQuorum::NobodyHasState));
}

#[test]
fn a_lost_primary_component_merges_at_its_latest_position() {
    let quorum = compute(&[
        lost_primary(Status::Synced, 10, 4),
        arbitrator(),
        lost_primary(Status::Synced, 12, 4),
        lost_primary(Status::Joined, 9, 5),
    ]);
    assert_eq!(quorum.map(|quorum| quorum.reference), Ok(3));
    let other = StateMessage { group: OTHER_GROUP, ..lost_primary(Status::Synced, 10, 4) };
    let result = compute(&[lost_primary(Status::Synced, 10, 4), other]);
    assert_eq!(result, Err(NoQuorum::NobodyHasState));
}

#[test]
fn a_member_that_became_joiner_is_no_candidate_for_a_merge() {
    let joiner =
        StateMessage { current_status: Status::Joiner, ..lost_primary(Status::Synced, 99, 99) };
    let quorum = compute(&[joiner, lost_primary(Status::Synced, 10, 4)]);
    assert_eq!(quorum.map(|quorum| quorum.reference), Ok(1));
}

#[test]
fn a_bootstrapping_member_is_the_last_resort() {
    let restarted = lost_primary(Status::NonPrimary, 12, -1);
    let flags = StateFlags::BOOTSTRAP;
    let first = StateMessage { flags, ..lost_primary(Status::NonPrimary, 10, -1) };
    let quorum = compute(&[restarted, first.clone()]);
    assert_eq!(quorum.map(|quorum| quorum.reference), Ok(1));
    let quorum = compute(&[first, lost_primary(Status::Synced, 5, 1)]);
    assert_eq!(quorum.map(|quorum| quorum.reference), Ok(1));
}

#[test]
fn in_version_0_a_common_last_exchange_is_one_origin() {
    let came_from = |exchange, received, configuration| StateMessage {
        version: 0,
        previous_exchange: ExchangeId::from_bytes([exchange; 16]),
        ..lost_primary(Status::Synced, received, configuration)
    };
    // The first of exchange 1 stands for it, the best of exchange 1 is the reference.
    let quorum = compute(&[came_from(1, 3, 5), came_from(2, 4, 4), came_from(1, 9, 5)]);
    assert_eq!(quorum.map(|quorum| quorum.reference), Ok(2));
}

#[test]
fn whoever_missed_something_needs_a_state_transfer() {
    let reference = data_node(Status::Synced, 22, 4);
    let quorum = compute(&[reference]).expect("quorum");
    let status = |message: StateMessage| quorum.standing(&message).status;
    assert_eq!(status(data_node(Status::Synced, 17, 4)), Status::Primary);
    let other = StateMessage { group: OTHER_GROUP, ..data_node(Status::Synced, 22, 4) };
    assert_eq!(status(other), Status::Primary);
    assert_eq!(status(data_node(Status::NonPrimary, 22, -1)), Status::Joined);
    assert_eq!(status(data_node(Status::Joiner, 22, 4)), Status::Joiner);
}

#[test]
fn a_donor_brings_its_reasons_along() {
    let quorum = compute(&[data_node(Status::Donor, 22, 4)]).expect("quorum");
    let donor = StateMessage { desync_count: 2, ..data_node(Status::Donor, 22, 4) };
    let expected = Standing { status: Status::Donor, desync_count: 2, counts_last_applied: true };
    assert_eq!(quorum.standing(&donor), expected);
    let negative = StateMessage { desync_count: -2, ..donor.clone() };
    assert_eq!(quorum.standing(&negative).desync_count, 0);
    let synced = StateMessage { desync_count: 2, ..data_node(Status::Synced, 22, 4) };
    assert_eq!(quorum.standing(&synced).desync_count, 0);
    let old = StateMessage { version: 3, ..donor };
    let quorum = compute(core::slice::from_ref(&old)).expect("quorum");
    assert_eq!(quorum.standing(&old).desync_count, 1);
}

#[test]
fn protocol_6_drops_a_commit_cut_beyond_the_position() {
    let protocols = Protocols { gcs: 6, repl: 11, appl: 4 };
    let node = StateMessage { protocols, ..data_node(Status::Synced, 22, 4) };
    assert_eq!(compute(&[node]).map(|quorum| quorum.last_applied), Ok(Seqno(0)));
    let node = data_node(Status::Synced, 22, 4);
    assert_eq!(compute(&[node]).map(|quorum| quorum.last_applied), Ok(Seqno(100)));
}

fn any_status() -> impl Strategy<Value = Status> {
    (0..7_u8).prop_map(Status::from_number)
}

prop_compose! {
    fn any_data_node()(
        version in 0..=6_u8,
        flags in prop::sample::select(vec![0, 2, 2, 2, 4, 6]),
        (gcs, repl, appl) in (0..=6_u8, 7..=12_u8, 3..=5_u8),
        (previous_status, current_status) in (any_status(), any_status()),
        group in prop::sample::select(vec![GROUP, GROUP, GROUP, OTHER_GROUP, StateId::NIL]),
        (received, configuration, exchange) in (-1..4_i64, -1..4_i64, 0..3_u8),
        desync_count in 0..3_i32,
        (cut, policy) in (-1..6_i64, 0..3_u8),
        (old_gcs, old_repl, old_appl) in (0..=6_u8, 0..=12_u8, 0..=5_u8),
    ) -> StateMessage {
        StateMessage {
            version,
            flags: StateFlags(flags),
            protocols: Protocols { gcs, repl, appl },
            previous_status,
            current_status,
            group,
            previous_exchange: ExchangeId::from_bytes([exchange; 16]),
            received: Seqno(received),
            previous_configuration: ConfigurationId(configuration),
            desync_count,
            votes: Votes { last_applied: Seqno(cut), seqno: Seqno(-1), result: 0, policy },
            previous_protocols: Protocols { gcs: old_gcs, repl: old_repl, appl: old_appl },
            ..arbitrator()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn members_that_know_nothing_change_no_output_of_the_exchange(
        nodes in prop::collection::vec(any_data_node(), 1..5),
        places in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut messages = nodes.iter().map(|node| (node.clone(), true)).collect::<Vec<_>>();
        for place in places {
            messages.insert(place.index(messages.len() + 1), (arbitrator(), false));
        }
        let all = messages.iter().map(|(message, _)| message.clone()).collect::<Vec<_>>();
        let with = compute(&all);
        let without = compute(&nodes);

        // The reference is the same member at another index.
        let comparable = with.clone().map(|quorum| {
            let before = messages[..quorum.reference].iter().filter(|(_, is_node)| *is_node);
            Quorum { reference: before.count(), ..quorum }
        });
        prop_assert_eq!(comparable, without.clone());
        if let (Ok(with), Ok(without)) = (with, without) {
            for node in &nodes {
                prop_assert_eq!(with.standing(node), without.standing(node));
            }
            if !with.group.is_nil() {
                prop_assert_eq!(with.standing(&arbitrator()).status, Status::Primary);
            }
        }
    }
}
