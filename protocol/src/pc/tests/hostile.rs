//! Whatever comes in, nothing panics, and after a fatal error nothing comes out.

use proptest::prelude::*;

use super::super::testing::*;
use super::super::*;
use super::scene::*;
use crate::id::Segment;
use crate::message::Order;

fn any_node() -> impl Strategy<Value = NodeId> {
    (0u8..7, any::<bool>()).prop_map(
        |(n, again)| {
            if again { node(n).next_incarnation() } else { node(n) }
        },
    )
}

fn any_view_id(kinds: &'static [ViewKind]) -> impl Strategy<Value = ViewId> {
    (prop::sample::select(kinds), any_node(), 3u32..8)
        .prop_map(|(kind, node, seq)| ViewId::new(kind, node, seq))
}

fn any_nodes() -> impl Strategy<Value = NodeMap> {
    let entry = (0u8..8, prop::option::of(0u8..3), 0u32..3, -1i64..12).prop_flat_map(
        |(flags, weight, last_seq, to_seq)| {
            any_view_id(&[ViewKind::NonPrimary, ViewKind::Primary]).prop_map(move |last_primary| {
                Entry {
                    is_primary: flags & 1 == 1,
                    is_unknown: flags & 2 == 2,
                    is_evicted: flags & 4 == 4,
                    weight,
                    segment: Segment(0),
                    last_seq,
                    last_primary,
                    to_seq,
                }
            })
        },
    );
    prop::collection::btree_map(any_node(), entry, 0..6)
}

fn any_message() -> impl Strategy<Value = Bytes> {
    let made = (0u8..8, any_nodes(), 0u32..3, 0u8..3).prop_map(|(flags, nodes, seq, kind)| {
        match kind {
            0 => Message::state(1, nodes),
            1 => Message::install(1, Flags(flags), nodes),
            _ => Message::user(1, seq, Bytes::from_static(b"payload")),
        }
        .encode()
    });
    let mangled = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>())
        .prop_map(|(which, at, byte)| {
            let valid = valid_messages();
            let mut bytes = which.get(&valid).to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            Bytes::from(bytes)
        });
    prop_oneof![4 => made, 1 => mangled]
}

fn any_evs_view() -> impl Strategy<Value = View> {
    let nodes = || prop::collection::btree_set(any_node(), 0..5);
    let id = any_view_id(&[ViewKind::Regular, ViewKind::Transitional, ViewKind::Primary]);
    (id, 0u8..3, nodes(), nodes(), nodes()).prop_map(|(id, version, members, left, partitioned)| {
        View { id, version, members, joined: BTreeSet::new(), left, partitioned }
    })
}

fn any_input() -> impl Strategy<Value = Input> {
    let orders = [Order::Drop, Order::Agreed, Order::Safe, Order::Safe, Order::Safe];
    let delivery = (any_node(), prop::sample::select(orders.to_vec()), any::<u8>(), any_message())
        .prop_map(|(source, order, user_type, payload)| {
            Input::Message(Delivery { source, order, user_type, payload })
        });
    prop_oneof![
        12 => delivery,
        3 => any_evs_view().prop_map(Input::View),
        1 => any_node().prop_map(Input::Evicted),
        1 => Just(Input::Connect),
        1 => Just(Input::Close),
        1 => Just(Input::SendRefused(SendError::TryAgain)),
        1 => Just(Input::SendRefused(SendError::NotConnected)),
    ]
}

fn check_outputs(pc: &Pc, outputs: &[Output]) -> Result<(), TestCaseError> {
    let at = outputs.iter().position(|output| matches!(output, Output::Fatal(_)));
    if let Some(at) = at {
        prop_assert_eq!(at, outputs.len() - 1);
        prop_assert_eq!(pc.status().state, State::Closed);
    }
    for message in sent(outputs) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }
    prop_assert!(pc.known().len() <= NODES_MAX);
    Ok(())
}

proptest! {
    #[test]
    fn nothing_that_comes_in_makes_a_member_panic(
        start in prop::sample::select(State::ALL.to_vec()),
        inputs in prop::collection::vec(any_input(), 1..30),
    ) {
        let mut pc = member_in(start);
        for input in inputs {
            let outputs = feed(&mut pc, input);
            check_outputs(&pc, &outputs)?;
            let _ = pc.send_user(Bytes::from_static(b"x"), |_| Ok(()));
            let _ = pc.change_weight(3, |_| Ok(()));
        }
    }
}
