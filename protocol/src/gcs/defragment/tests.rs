use super::*;

const ME: NodeId = NodeId::from_bytes([1; 16]);
const OTHER: NodeId = NodeId::from_bytes([2; 16]);

fn fragment(action_type: ActionType, id: u64, size: u32, number: u32, data: &str) -> Fragment {
    let header = FragmentHeader {
        protocol: 5,
        action_id: id,
        action_size: size,
        fragment: number,
        action_type,
        reserved: 0,
    };
    Fragment { header, data: Bytes::copy_from_slice(data.as_bytes()) }
}

fn request(id: u64, number: u32, data: &str) -> Fragment {
    fragment(ActionType::StateRequest, id, 6, number, data)
}

fn complete(payload: &'static str) -> Option<Action> {
    Some(Action::StateRequest { action_id: 7, payload: payload.into() })
}

#[test]
fn a_request_in_pieces_is_put_together() {
    let mut actions = Defragmenter::default();
    assert_eq!(actions.handle(OTHER, false, &request(7, 0, "ab")), Ok(None));
    assert_eq!(actions.handle(OTHER, false, &request(7, 1, "cd")), Ok(None));
    assert_eq!(actions.handle(OTHER, false, &request(7, 2, "ef")), Ok(complete("abcdef")));
}

#[test]
fn actions_of_two_senders_do_not_mix() {
    let mut actions = Defragmenter::default();
    let third = NodeId::from_bytes([3; 16]);
    assert_eq!(actions.handle(OTHER, false, &request(7, 0, "ab")), Ok(None));
    assert_eq!(actions.handle(third, false, &request(7, 0, "uvwxyz")), Ok(complete("uvwxyz")));
    assert_eq!(actions.handle(OTHER, false, &request(7, 1, "cdef")), Ok(complete("abcdef")));
}

#[test]
fn a_fragment_seen_before_is_dropped() {
    let mut actions = Defragmenter::default();
    for (number, data) in [(0, "ab"), (0, "ab"), (1, "cd"), (0, "ab"), (1, "cd")] {
        assert_eq!(actions.handle(OTHER, false, &request(7, number, data)), Ok(None));
    }
    assert_eq!(actions.handle(OTHER, false, &request(7, 2, "ef")), Ok(complete("abcdef")));
}

#[test]
fn the_tail_of_an_action_cut_by_a_view_change_is_dropped() {
    let mut actions = Defragmenter::default();
    assert_eq!(actions.handle(OTHER, false, &request(6, 0, "ab")), Ok(None));
    actions.reset(&ME, |_| true);
    assert_eq!(actions.handle(OTHER, false, &request(6, 1, "cd")), Ok(None));
    assert_eq!(actions.handle(OTHER, false, &request(7, 0, "abcdef")), Ok(complete("abcdef")));
}

#[test]
fn our_own_action_survives_a_view_change_and_may_start_again() {
    let mut actions = Defragmenter::default();
    assert_eq!(actions.handle(ME, true, &request(7, 0, "ab")), Ok(None));
    actions.reset(&ME, |_| true);
    assert_eq!(actions.handle(ME, true, &request(7, 1, "cdef")), Ok(complete("abcdef")));

    assert_eq!(actions.handle(ME, true, &request(7, 0, "xx")), Ok(None));
    actions.reset(&ME, |_| true);
    assert_eq!(actions.handle(ME, true, &request(7, 0, "ab")), Ok(None));
    assert_eq!(actions.handle(ME, true, &request(7, 1, "cdef")), Ok(complete("abcdef")));
}

#[test]
fn a_fragment_out_of_place_ends_the_action_and_the_next_one_is_read() {
    let mut actions = Defragmenter::default();
    let wrong = |action_id, found| Err(OutOfPlace::Order { action_id, found });
    assert_eq!(actions.handle(OTHER, false, &request(6, 1, "cd")), wrong(6, 1));
    assert_eq!(actions.handle(OTHER, false, &request(6, 0, "ab")), Ok(None));
    assert_eq!(actions.handle(OTHER, false, &request(6, 2, "ef")), wrong(6, 2));
    assert_eq!(actions.handle(OTHER, false, &request(6, 3, "ef")), Ok(None));
    assert_eq!(actions.handle(OTHER, false, &request(7, 0, "abcdef")), Ok(complete("abcdef")));
}

#[test]
fn more_bytes_than_announced_end_the_action() {
    let mut actions = Defragmenter::default();
    let error = actions.handle(OTHER, false, &request(7, 0, "abcdefg"));
    assert_eq!(error, Err(OutOfPlace::TooLong { action_id: 7, size: 6 }));
}

#[test]
fn write_sets_and_long_requests_are_counted_and_not_kept() {
    let mut actions = Defragmenter::default();
    let write_set = fragment(ActionType::WriteSet, 1, 4, 0, "data");
    let counted = Some(Action::Counted(ActionType::WriteSet));
    assert_eq!(actions.handle(OTHER, false, &write_set), Ok(counted));

    let size = REQUEST_PAYLOAD_MAX + 1;
    let first = fragment(ActionType::StateRequest, 2, size, 0, "x");
    assert_eq!(actions.handle(OTHER, false, &first), Ok(None));
    let rest = "x".repeat(REQUEST_PAYLOAD_MAX as usize);
    let last = fragment(ActionType::StateRequest, 2, size, 1, &rest);
    let too_long = Some(Action::RequestTooLong { size });
    assert_eq!(actions.handle(OTHER, false, &last), Ok(too_long));
}

#[test]
fn members_that_left_are_forgotten() {
    let mut actions = Defragmenter::default();
    assert_eq!(actions.handle(OTHER, false, &request(7, 0, "ab")), Ok(None));
    actions.reset(&ME, |node| *node == ME);
    assert!(actions.senders.is_empty());
}
