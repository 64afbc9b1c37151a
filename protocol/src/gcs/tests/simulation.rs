//! Our member in a group of data nodes and stock arbitrators: scenarios, and random lives under
//! the invariants that every group must keep.

mod world;

use world::{Node, World};

use super::bench::GROUP;
use crate::gcs::event::{Event, LeaveReason, NonPrimaryCause, UnknownCause};
use crate::gcs::name::Name;
use crate::gcs::number::{ConfigurationId, Protocols, Seqno};
use crate::gcs::quorum::NoQuorum;
use crate::gcs::state::StateKind;
use crate::gcs::status::Status;
use crate::gcs::transfer::Outcome;
use crate::gcs::{Config, Gcs};
use crate::id::NodeId;
use crate::testing::{DataNode, History};
use crate::time::Duration;

/// Our member leads every view that it is in.
const FIRST: NodeId = NodeId::from_bytes([1; 16]);
const N1: NodeId = NodeId::from_bytes([2; 16]);
const N2: NodeId = NodeId::from_bytes([3; 16]);
const N3: NodeId = NodeId::from_bytes([4; 16]);
const GARBD: NodeId = NodeId::from_bytes([5; 16]);
/// Our member never leads.
const LAST: NodeId = NodeId::from_bytes([6; 16]);

fn ours(me: NodeId) -> Node {
    let config = Config { name: Name::from("backup"), ..Config::default() };
    Node::Ours(Box::new(Gcs::new(config, me, 1)))
}

fn model(node: DataNode) -> Node {
    Node::Model(Box::new(node))
}

fn data_node(me: NodeId, name: &str, history: History) -> Node {
    model(DataNode::new(me, name, history))
}

/// N1 has begun the group at seqno 10, everybody else is outside.
fn group_of_one() -> World {
    let mut world = World::default();
    let saved = History::saved(GROUP, Seqno(10));
    world.add(N1, model(DataNode::new(N1, "n1", saved).begin_group()));
    world.add(N2, data_node(N2, "n2", History::none()));
    world.add(N3, data_node(N3, "n3", History::none()));
    world.add(GARBD, model(DataNode::stock_arbitrator(GARBD)));
    world.add(FIRST, ours(FIRST));
    world.add(LAST, ours(LAST));
    world.install(&[N1], 0);
    world.settle();
    world
}

/// N1 and N2 are SYNCED, with our member.
fn group_with(me: NodeId) -> World {
    let mut world = group_of_one();
    let mut members = [N1, N2, me];
    members.sort_unstable();
    world.install(&members, 0);
    world.settle();
    transfer_state_to(&mut world, N2);
    world
}

/// A data node gets its state from whoever is chosen.
fn transfer_state_to(world: &mut World, joiner: NodeId) {
    world.act(joiner, DataNode::request);
    world.settle();
    for node in world.view.clone() {
        world.act(node, |node| node.end_transfer(0));
    }
    world.settle();
    assert_eq!(world.status(joiner), Status::Synced);
}

#[test]
fn a_data_node_begins_a_group_and_another_joins() {
    for me in [FIRST, LAST] {
        let world = group_with(me);
        for (node, status) in [(N1, Status::Synced), (N2, Status::Synced), (me, Status::Primary)] {
            assert_eq!(world.status(node), status);
        }
    }
}

#[test]
fn our_membership_counts_write_sets_like_everybody() {
    let mut world = group_with(FIRST);
    let before = world.nodes[&FIRST].gcs().seqno().expect("primary");
    for _ in 0..5 {
        world.act(N1, DataNode::write);
        world.act(N2, DataNode::write);
    }
    world.settle();
    assert_eq!(world.nodes[&FIRST].gcs().seqno(), Some(Seqno(before.0 + 10)));
}

#[test]
fn a_backup_of_a_running_group_ends_with_the_donors_join() {
    for (me, donor) in [(FIRST, N1), (LAST, N1)] {
        let mut world = group_with(me);
        world.ask_for_transfer(me, "n1,n2");
        world.settle();
        assert_eq!((world.status(me), world.status(donor)), (Status::Joiner, Status::Donor));
        // Write-sets, a configuration change and a newcomer in the middle.
        world.act(N2, DataNode::write);
        let mut members = [N1, N2, N3, me];
        members.sort_unstable();
        world.install(&members, 1);
        world.settle();
        assert_eq!((world.status(me), world.status(donor)), (Status::Primary, Status::Donor));
        world.act(donor, |node| node.end_transfer(0));
        world.settle();
        assert_eq!(world.status(donor), Status::Synced);
        let events = world.events_of(me);
        let is_end = |event: &&&Event| matches!(event, Event::TransferEnded { code: 0, .. });
        assert_eq!(events.iter().filter(is_end).count(), 1);
    }
}

#[test]
fn the_donors_way_back_does_not_depend_on_the_requester() {
    for is_before_delivery in [false, true] {
        let mut world = group_with(LAST);
        world.ask_for_transfer(LAST, "n1");
        if !is_before_delivery {
            world.settle();
        }
        world.install(&[N1, N2], usize::from(is_before_delivery));
        world.settle();
        assert_eq!(world.status(N1), Status::Donor);
        world.act(N1, |node| node.end_transfer(-32));
        world.settle();
        assert_eq!(world.status(N1), Status::Synced);
    }
}

#[test]
fn a_request_lost_in_a_view_change_changed_nothing_and_is_sent_again() {
    let mut world = group_with(LAST);
    world.ask_for_transfer(LAST, "n2");
    world.install(&[N1, N2, N3, LAST], 0);
    world.settle();
    assert_eq!((world.status(N1), world.status(N2)), (Status::Synced, Status::Donor));
    let sent = |event: &&&Event| matches!(event, Event::RequestSent { .. });
    assert_eq!(world.events_of(LAST).iter().filter(sent).count(), 2);
}

#[test]
fn two_requesters_of_one_donor_are_served_one_after_the_other() {
    let mut world = group_of_one();
    world.install(&[N1, N2, LAST], 0);
    world.settle();
    world.act(N2, DataNode::request);
    world.ask_for_transfer(LAST, "n1");
    world.settle();
    assert_eq!((world.status(N2), world.status(LAST)), (Status::Joiner, Status::Primary));
    world.act(N1, |node| node.end_transfer(0));
    world.settle();
    assert_eq!((world.status(N1), world.status(LAST)), (Status::Donor, Status::Joiner));
}

#[test]
fn a_donor_that_dies_is_reported_and_the_group_goes_on() {
    let mut world = group_with(FIRST);
    world.ask_for_transfer(FIRST, "n1");
    world.settle();
    world.install(&[FIRST, N2], 0);
    world.settle();
    let lost = Event::DonorLost { donor: N1 };
    assert!(world.events_of(FIRST).contains(&&lost));
    assert_eq!(world.status(N2), Status::Synced);
}

#[test]
fn a_join_that_we_missed_while_cut_off_leaves_the_outcome_unknown() {
    let mut world = group_with(LAST);
    world.ask_for_transfer(LAST, "n1");
    world.settle();
    world.install(&[N1, N2], 0);
    world.settle();
    world.act(N1, |node| node.end_transfer(0));
    world.settle();
    world.install(&[N1, N2, LAST], 0);
    world.settle();
    let cause = UnknownCause::DonorStatus(Status::Synced);
    let unknown = Event::TransferUnknown { donor: Some(N1), cause };
    assert!(world.events_of(LAST).contains(&&unknown), "{:?}", world.events_of(LAST));
}

#[test]
fn a_lone_stock_arbitrator_keeps_the_group_and_poisons_its_protocols() {
    let mut world = group_of_one();
    world.install(&[N1, GARBD], 0);
    world.settle();
    world.act(GARBD, DataNode::request);
    world.settle();
    for node in [GARBD, N1] {
        world.act(node, |node| node.end_transfer(0));
    }
    world.settle();
    assert_eq!(world.status(GARBD), Status::Synced);
    world.install(&[GARBD], 0);
    world.settle();
    let garbd = world.nodes[&GARBD].gcs();
    let protocols = garbd.state.group().map(|group| group.protocols);
    assert_eq!(protocols, Some(Protocols { gcs: 5, repl: 127, appl: 127 }));
    // The node that returns is asked for a protocol that it does not know.
    world.install(&[N1, GARBD], 0);
    world.settle();
    let is_too_high =
        |event: &&&Event| matches!(event, Event::LeaveAdvised(LeaveReason::ProtocolTooHigh { .. }));
    assert_eq!(world.events_of(N1).iter().filter(is_too_high).count(), 1);
}

#[test]
fn left_alone_our_member_reports_that_there_is_no_quorum() {
    let mut world = group_with(FIRST);
    world.install(&[FIRST], 0);
    world.settle();
    let cause = NonPrimaryCause::Quorum(NoQuorum::NobodyHasState);
    let leave = Event::LeaveAdvised(LeaveReason::OnlyStateless);
    let events = world.events_of(FIRST);
    assert_eq!(events[events.len() - 2..], [&Event::NonPrimary(cause), &leave]);
    assert_eq!(world.nodes[&FIRST].gcs().state(), StateKind::NonPrimary);
}

#[test]
fn after_a_lost_quorum_the_surviving_data_node_is_the_reference() {
    let mut world = group_with(FIRST);
    world.act(N1, DataNode::write);
    world.settle();
    let configuration =
        |world: &World| world.nodes[&FIRST].gcs().state.group().map(|group| group.configuration);
    let before = configuration(&world).expect("primary");
    world.lose_primary();
    world.install(&[FIRST, N1], 0);
    world.settle();
    assert_eq!(configuration(&world), Some(ConfigurationId(before.0 + 1)));
    assert_eq!(world.status(N1), Status::Synced);
    world.install(&[FIRST, N1, N2], 0);
    world.settle();
    assert_eq!(world.status(N2), Status::Primary, "it missed a configuration");
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ mixed >> 31) % sides as u64).expect("less than sides")
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.roll(from.len())]
    }
}

/// A new primary view: some of the old one who can carry it on, and some from outside.
fn next_view(world: &World, dice: &mut Dice) -> Vec<NodeId> {
    let all = [FIRST, N1, N2, N3, GARBD, LAST];
    let carriers: Vec<_> = [N1, N2, N3]
        .into_iter()
        .filter(|node| world.view.contains(node) && world.status(*node).has_state())
        .collect();
    let Some(carrier) = (!carriers.is_empty()).then(|| dice.pick(&carriers)) else {
        return world.view.clone();
    };
    let mut members: Vec<_> = all.into_iter().filter(|_| dice.roll(4) > 0).collect();
    if !members.contains(&carrier) {
        members.push(carrier);
    }
    members.sort_unstable();
    members
}

fn live(seed: u64) -> Vec<Option<Outcome>> {
    let mut dice = Dice(seed);
    let mut world = group_of_one();
    for _ in 0..150 {
        let node = dice.pick(&world.view);
        match dice.roll(10) {
            0 | 1 => world.act(node, DataNode::write),
            2 | 3 => {
                world.view.clone().into_iter().for_each(|node| world.act(node, DataNode::request))
            }
            4 => world.view.clone().into_iter().for_each(|node| {
                if dice.roll(2) == 0 {
                    world.act(node, |node| node.end_transfer(0))
                }
            }),
            5 => world.act(node, |node| node.end_transfer(-22)),
            6 => world.act(node, DataNode::desync),
            7 => {
                let is_ours = matches!(world.nodes[&node], Node::Ours(_));
                if is_ours {
                    let donors = dice.pick(&["", "n1", "n2,n3", "n3,"]);
                    world.ask_for_transfer(node, donors);
                }
                world.pass(Duration::from_secs(1));
            }
            8 => world.settle(),
            _ => {
                world.settle();
                let members = next_view(&world, &mut dice);
                world.act(node, DataNode::write);
                world.act(node, DataNode::request);
                let delivered = dice.roll(3);
                world.install(&members, delivered);
            }
        }
    }
    world.settle();
    check_our_transfers(&world)
}

/// Whatever happened, a transfer that was accepted is either running or has an outcome that was
/// reported.
fn check_our_transfers(world: &World) -> Vec<Option<Outcome>> {
    let check = |me| {
        let count = |is_kind: fn(&Event) -> bool| {
            world.events_of(me).into_iter().filter(|event| is_kind(event)).count()
        };
        let accepted = count(|event| matches!(event, Event::RequestAccepted(_)));
        assert!(accepted <= 1, "{accepted} transfers in one run");
        let outcome = world.nodes[&me].gcs().transfer().map(|transfer| transfer.outcome);
        let ended = count(|event| matches!(event, Event::TransferEnded { .. }));
        let lost = count(|event| matches!(event, Event::DonorLost { .. }));
        match outcome {
            None => assert_eq!((accepted, ended, lost), (0, 0, 0)),
            Some(Outcome::Running) => assert_eq!((accepted, ended, lost), (1, 0, 0)),
            Some(Outcome::Ended(_)) => assert!(ended >= 1),
            Some(Outcome::DonorLost) => assert_eq!((ended, lost), (0, 1)),
            Some(Outcome::Unknown) => assert_eq!((ended, lost), (0, 0)),
        }
        outcome
    };
    [FIRST, LAST].map(check).to_vec()
}

#[test]
fn random_lives_keep_the_invariants() {
    if let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|seed| seed.parse().ok()) {
        live(seed);
        return;
    }
    let mut outcomes = Vec::new();
    for seed in 0..600 {
        let result = std::panic::catch_unwind(|| live(seed));
        outcomes.extend(result.unwrap_or_else(|_| panic!("failed with SIM_SEED={seed}")));
    }
    // The lives are varied enough to reach every outcome.
    for expected in [
        None,
        Some(Outcome::Running),
        Some(Outcome::Ended(0)),
        Some(Outcome::Ended(-22)),
        Some(Outcome::DonorLost),
        Some(Outcome::Unknown),
    ] {
        assert!(outcomes.contains(&expected), "no life ended with {expected:?}");
    }
}
