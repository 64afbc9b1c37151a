//! Members with a state of their own, over one totally ordered channel: a founder, others that come
//! to it, and a guest that asks.

use std::collections::{BTreeMap, VecDeque};

use super::bench::{GROUP, ME, N1, N2, component, request};
use crate::gcs::event::{Donation, Event};
use crate::gcs::message::MessageType;
use crate::gcs::state_request::RequestBody;
use crate::gcs::{Config, Gcs, Input, Name, Output, OwnState, Protocols, Seqno, Status};
use crate::id::{NodeId, ViewKind};
use crate::message::{Delivery, Order, SendError};
use crate::time::Instant;

const SEQNO: Seqno = Seqno(40);

fn holder(me: NodeId, name: &str, is_founder: bool, seqno: Seqno) -> Gcs {
    let own_state = Some(OwnState { state: GROUP, seqno, is_founder });
    let protocols = Protocols { gcs: 5, repl: 11, appl: 4 };
    let config = Config { name: Name::from(name), protocols, own_state, ..Config::default() };
    Gcs::new(config, me, 1)
}

/// The members of the current view and what is on its way between them.
#[derive(Default)]
struct Channel {
    nodes: BTreeMap<NodeId, Gcs>,
    view: Vec<NodeId>,
    queue: VecDeque<Delivery>,
    events: Vec<(NodeId, Event)>,
    sent: Vec<(NodeId, MessageType)>,
    /// The next message of this type is refused.
    refuses: Option<MessageType>,
}

impl Channel {
    /// A founder in a view of its own.
    fn founded() -> Self {
        let mut channel = Self::default();
        channel.nodes.insert(N1, holder(N1, "n1", true, SEQNO));
        channel.install(&[N1]);
        channel
    }

    /// With a guest that asked, and N1 as its donor.
    fn donating() -> Self {
        let mut channel = Self::founded();
        channel.nodes.insert(ME, Gcs::new(Config::default(), ME, 2));
        channel.install(&[N1, ME]);
        channel.input(ME, Input::RequestStateTransfer(request("")));
        channel.settle();
        channel
    }

    fn install(&mut self, view: &[NodeId]) {
        self.queue.clear();
        self.view = view.to_vec();
        for node in view {
            self.input(*node, Input::Component(component(ViewKind::Primary, view)));
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(delivery) = self.queue.pop_front() {
            for node in self.view.clone() {
                self.input(node, Input::Message(delivery.clone()));
            }
        }
    }

    fn input(&mut self, source: NodeId, input: Input) {
        self.node(source).handle_input(Instant::ZERO, input);
        while let Some(output) = self.node(source).poll_output() {
            match output {
                Output::Event(event) => self.events.push((source, event)),
                Output::Send { message_type, payload } => {
                    let kind = MessageType::from_number(message_type);
                    if self.refuses.take_if(|refused| *refused == kind).is_some() {
                        let error = SendError::TryAgain;
                        self.node(source).handle_input(
                            Instant::ZERO,
                            Input::SendRefused { message_type, error },
                        );
                        continue;
                    }
                    self.sent.push((source, kind));
                    let (order, user_type) = (Order::Safe, message_type);
                    self.queue.push_back(Delivery { source, order, user_type, payload });
                }
            }
        }
    }

    fn node(&mut self, node: NodeId) -> &mut Gcs {
        self.nodes.get_mut(&node).expect("a node")
    }

    /// A status, as everybody in the view has it.
    fn status(&self, node: NodeId) -> Status {
        let of = |observer: &NodeId| {
            let rows = self.nodes[observer].members().iter();
            rows.clone().find(|row| row.node == node).expect("a member").status
        };
        let first = of(&self.view[0]);
        assert!(self.view.iter().all(|observer| of(observer) == first), "they disagree");
        first
    }

    fn donations(&self) -> Vec<(NodeId, &Donation)> {
        let mut donations = Vec::new();
        for (at, event) in &self.events {
            if let Event::DonationBegun(donation) = event {
                donations.push((*at, &**donation));
            }
        }
        donations
    }

    fn verdicts(&self) -> Vec<i64> {
        let mut codes = Vec::new();
        for (at, event) in &self.events {
            if let (Event::TransferEnded { code, .. }, true) = (event, *at == ME) {
                codes.push(*code);
            }
        }
        codes
    }
}

#[test]
fn a_founder_begins_the_group_at_its_own_position_and_is_synced() {
    let channel = Channel::founded();
    assert_eq!(channel.status(N1), Status::Synced);
    let group = channel.nodes[&N1].configuration().expect("a configuration");
    assert_eq!((group.state, group.seqno), (GROUP, Seqno(41)));
    assert_eq!(group.protocols, Protocols { gcs: 5, repl: 11, appl: 4 });
    assert_eq!(channel.sent.last(), Some(&(N1, MessageType::Sync)));
}

#[test]
fn a_member_that_is_where_the_group_is_needs_no_transfer() {
    let mut channel = Channel::founded();
    let seqno = channel.nodes[&N1].seqno().expect("a position");
    channel.nodes.insert(N2, holder(N2, "n2", false, seqno));
    channel.install(&[N1, N2]);
    assert_eq!([N1, N2].map(|node| channel.status(node)), [Status::Synced; 2]);
}

#[test]
fn a_member_that_is_elsewhere_never_claims_the_groups_state() {
    let mut channel = Channel::founded();
    channel.nodes.insert(N2, holder(N2, "n2", false, SEQNO));
    channel.install(&[N1, N2]);
    assert_eq!(channel.status(N2), Status::Primary);
    assert_eq!(channel.status(N1), Status::Synced);
}

#[test]
fn the_donor_alone_hears_of_a_donation_and_of_the_position_before_the_request() {
    let channel = Channel::donating();
    let donations = channel.donations();
    let [(N1, donation)] = donations.as_slice() else { panic!("{donations:?}") };
    assert_eq!((donation.requester, donation.state), (ME, GROUP));
    assert_eq!(Some(donation.seqno), channel.nodes[&N1].seqno());
    let body = RequestBody::decode(&donation.request).expect("readable");
    let (method, argument) = ("mariabackup".into(), "h:4444/xtrabackup_sst//1".into());
    assert_eq!(body, RequestBody::Plain { method, argument });
    assert_eq!(channel.status(N1), Status::Donor);
}

#[test]
fn the_end_of_a_donation_is_the_groups_verdict_and_the_donor_is_synced_again() {
    for code in [0, -22] {
        let mut channel = Channel::donating();
        channel.input(N1, Input::EndDonation { code });
        channel.settle();
        assert_eq!(channel.verdicts(), [code]);
        assert_eq!(channel.status(N1), Status::Synced);
    }
}

#[test]
fn a_verdict_that_a_view_change_swallowed_is_given_again() {
    let mut channel = Channel::donating();
    channel.input(N1, Input::EndDonation { code: 0 });
    channel.install(&[N1, ME]);
    assert_eq!(channel.verdicts(), [0]);
    assert_eq!(channel.status(N1), Status::Synced);
}

#[test]
fn a_refused_verdict_is_given_again_later_and_not_at_once() {
    let mut channel = Channel::donating();
    channel.refuses = Some(MessageType::Join);
    channel.input(N1, Input::EndDonation { code: -22 });
    channel.settle();
    assert!(channel.verdicts().is_empty());
    channel.input(N1, Input::Timeout);
    channel.settle();
    assert_eq!(channel.verdicts(), [-22]);
}

#[test]
fn a_donor_stays_donor_through_a_view_change() {
    let mut channel = Channel::donating();
    channel.install(&[N1, ME]);
    assert_eq!(channel.status(N1), Status::Donor);
    assert_eq!(channel.donations().len(), 1);
}

#[test]
fn without_a_donation_nothing_is_said_about_one() {
    let mut channel = Channel::founded();
    let before = channel.sent.len();
    channel.input(N1, Input::EndDonation { code: 0 });
    channel.input(N1, Input::Timeout);
    assert_eq!(channel.sent.len(), before);
}

#[test]
fn who_has_a_state_is_no_arbitrator_and_asks_nobody_to_lower_protocols() {
    let channel = Channel::donating();
    let rows = channel.nodes[&ME].members();
    assert_eq!(rows.iter().map(|row| row.is_stateless).collect::<Vec<_>>(), [false, true]);
    let group = channel.nodes[&ME].configuration().expect("a configuration");
    assert_eq!(group.protocols.gcs, 5);
}
