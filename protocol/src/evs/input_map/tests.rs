use proptest::prelude::*;

use super::*;

const LIMIT: usize = 4 << 20;

fn held(order: Order, seqno: i64, seq_range: u8) -> Held {
    let payload = if order == Order::Drop { Bytes::new() } else { Bytes::from_static(b"x") };
    let (seqno, aru) = (Seqno(seqno), Seqno::NONE);
    let user = User { user_type: 1, seq_range, seqno, aru, payload };
    Held { order, version: 1, fifo_seqno: FifoSeqno(7), is_aggregate: false, user }
}

fn safe(seqno: i64) -> Held {
    held(Order::Safe, seqno, 0)
}

fn map_with(members: usize, messages: &[(usize, Held)]) -> InputMap {
    let mut map = InputMap::new(members, LIMIT);
    for (index, held) in messages {
        map.insert(*index, held.clone()).unwrap();
    }
    map
}

fn delivered(map: &mut InputMap) -> Vec<(i64, usize)> {
    core::iter::from_fn(|| map.next_deliverable()).map(|(i, h)| (h.user.seqno.0, i)).collect()
}

fn range(low: i64, high: i64) -> Range {
    Range::new(Seqno(low), Seqno(high))
}

#[test]
fn a_hole_is_seen_and_closed_in_any_order() {
    let mut map = map_with(1, &[(0, safe(0)), (0, safe(3))]);
    assert_eq!(map.range(0), range(1, 3));
    assert_eq!(map.missing(0, Seqno(0), Seqno(3)), [range(1, 2)]);
    map.insert(0, safe(2)).unwrap();
    assert_eq!(map.missing(0, Seqno(0), Seqno(5)), [range(1, 1), range(4, 5)]);
    map.insert(0, safe(1)).unwrap();
    assert_eq!(map.range(0), range(4, 3));
    assert_eq!(map.aru(), Seqno(3));
}

#[test]
fn aru_is_held_back_by_the_slowest_member() {
    let map = map_with(2, &[(0, safe(0)), (0, safe(1)), (1, safe(0))]);
    assert_eq!(map.aru(), Seqno(0));
    assert_eq!(map.highest_seen(), Seqno(1));
}

#[test]
fn one_message_can_use_up_many_numbers() {
    let mut map = map_with(1, &[(0, held(Order::Safe, 0, 3))]);
    assert_eq!(map.range(0), range(4, 3));
    map.acknowledge(0, Seqno(3));
    let orders: Vec<_> =
        core::iter::from_fn(|| map.next_deliverable()).map(|(_, h)| h.order).collect();
    assert_eq!(orders, [Order::Safe, Order::Drop, Order::Drop, Order::Drop]);
}

#[test]
fn a_filler_is_a_message_of_its_own_when_it_is_sent_again() {
    let map = map_with(1, &[(0, held(Order::Safe, 0, 3))]);
    let filler = map.held(0, Seqno(2)).unwrap();
    assert_eq!((filler.order, filler.user.seq_range), (Order::Drop, 0));
    assert_eq!(filler.fifo_seqno, FifoSeqno::NONE);
    assert!(filler.user.payload.is_empty());
    // The whole message answers for all its numbers.
    assert_eq!(map.held_between(0, Seqno(0), Seqno(9)).len(), 1);
    assert_eq!(map.held_between(0, Seqno(1), Seqno(9)).len(), 3);
}

#[test]
fn a_safe_message_waits_until_everybody_has_it() {
    let mut map = map_with(2, &[(0, safe(0)), (1, safe(0))]);
    map.acknowledge(0, Seqno(0));
    assert_eq!(delivered(&mut map), []);
    assert!(map.acknowledge(1, Seqno(0)));
    assert!(!map.acknowledge(1, Seqno(-1)));
    assert_eq!(map.safe(), Seqno(0));
    assert_eq!(delivered(&mut map), [(0, 0), (0, 1)]);
}

#[test]
fn delivery_stops_at_the_first_message_that_must_wait() {
    let mut map = map_with(2, &[(0, safe(0)), (1, held(Order::Drop, 0, 0)), (1, safe(1))]);
    assert_eq!(delivered(&mut map), []);
    map.acknowledge(0, Seqno(0));
    map.acknowledge(1, Seqno(0));
    assert_eq!(delivered(&mut map), [(0, 0), (0, 1)]);
}

#[test]
fn weaker_orders_wait_for_less() {
    let mut agreed = map_with(2, &[(0, held(Order::Agreed, 0, 0))]);
    assert_eq!(delivered(&mut agreed), []);
    agreed.insert(1, held(Order::Drop, 0, 0)).unwrap();
    assert_eq!(delivered(&mut agreed), [(0, 0), (0, 1)]);

    let mut fifo = map_with(2, &[(0, held(Order::Fifo, 0, 0)), (1, held(Order::Fifo, 1, 0))]);
    assert_eq!(delivered(&mut fifo), [(0, 0)]);
}

#[test]
fn a_delivered_message_is_kept_until_everybody_has_it() {
    let mut map = map_with(2, &[(0, held(Order::Drop, 0, 0)), (1, held(Order::Drop, 0, 0))]);
    assert_eq!(delivered(&mut map).len(), 2);
    assert!(map.held(0, Seqno(0)).is_some());
    map.acknowledge(0, Seqno(0));
    map.acknowledge(1, Seqno(0));
    assert!(map.held(0, Seqno(0)).is_none());
    // What is gone is not missing.
    assert_eq!(map.missing(0, Seqno(0), Seqno(0)), []);
    map.insert(0, safe(0)).unwrap();
    assert_eq!(delivered(&mut map), []);
}

#[test]
fn what_is_left_is_handed_out_with_whether_it_is_contiguous() {
    let mut map = map_with(2, &[(0, safe(0)), (1, safe(0)), (1, safe(2))]);
    let left: Vec<_> =
        map.take_undelivered().into_iter().map(|(i, h, c)| (h.user.seqno.0, i, c)).collect();
    assert_eq!(left, [(0, 0, true), (0, 1, true), (2, 1, false)]);
}

#[test]
fn absurd_numbers_and_too_many_bytes_are_refused() {
    let mut map = InputMap::new(1, 10_000);
    assert_eq!(map.insert(0, safe(i64::MAX)), Err(Refusal::TooFar));
    assert_eq!(map.insert(0, held(Order::Drop, SEQNOS_BEYOND_SAFE_MAX, 255)), Err(Refusal::TooFar));
    assert_eq!(map.insert(9, safe(0)), Err(Refusal::TooFar));
    assert_eq!(map.insert(0, held(Order::Drop, 0, 255)), Err(Refusal::Memory));
    let accepted = (0..1000).take_while(|seqno| map.insert(0, safe(*seqno)).is_ok()).count();
    assert!((30..=80).contains(&accepted), "{accepted}");
    // Room comes back as soon as everybody has them.
    map.acknowledge(0, map.aru());
    assert_eq!(delivered(&mut map).len(), accepted);
    assert_eq!(map.insert(0, safe(i64::try_from(accepted).unwrap())), Ok(()));
}

proptest! {
    #[test]
    fn any_arrival_order_with_duplicates_gives_the_same_delivery(
        arrivals in proptest::collection::vec((0usize..3, 0i64..12, 0u8..4), 1..80),
    ) {
        let mut map = InputMap::new(3, LIMIT);
        for (index, seqno, seq_range) in arrivals {
            let before = (map.aru(), map.range(index).lowest_unseen);
            map.insert(index, held(Order::Safe, seqno, seq_range)).unwrap();
            prop_assert!(map.aru() >= before.0 && map.range(index).lowest_unseen >= before.1);
            prop_assert_eq!(map.check_invariants(), Ok(()));
        }
        let aru = map.aru();
        (0..3).for_each(|index| { map.acknowledge(index, aru); });
        let all = delivered(&mut map);
        let expected: Vec<_> = (0..=aru.0).flat_map(|s| (0..3).map(move |i| (s, i))).collect();
        // Beyond ARU only fillers can follow, which wait for nobody.
        prop_assert!(all.starts_with(&expected), "{:?}", all);
        prop_assert_eq!(map.check_invariants(), Ok(()));
    }
}
