use crate::gmcast::tests::network::{address, node};
use crate::gmcast::tests::single::{ME, Single, closed, list, response};
use crate::gmcast::{Event, Input, LinkEnd, LinkId, Output, Reason};

#[test]
fn the_end_of_a_stream_after_a_list_is_an_ordinary_loss() {
    let (mut single, link) = Single::established();
    single.receive_from(link, node(2), list(&[]));
    let outputs = single.input(Input::Closed { link, end: LinkEnd::EndOfStream });
    assert_eq!(closed(&outputs), Some(Reason::Ended(LinkEnd::EndOfStream)));
}

#[test]
fn a_reset_after_ok_is_no_time_wait() {
    let (mut single, link) = Single::established();
    let outputs = single.input(Input::Closed { link, end: LinkEnd::Reset });
    assert_eq!(closed(&outputs), Some(Reason::Ended(LinkEnd::Reset)));
}

#[test]
fn a_caller_that_goes_away_says_nothing_about_time_wait() {
    let mut single = Single::new();
    let link = single.accept_established(2);
    let outputs = single.input(Input::Closed { link, end: LinkEnd::EndOfStream });
    assert_eq!(closed(&outputs), Some(Reason::Ended(LinkEnd::EndOfStream)));
}

#[test]
fn a_link_that_the_driver_lost_is_not_closed_again() {
    let (mut single, link) = Single::established();
    let outputs = single.input(Input::Closed { link, end: LinkEnd::Reset });
    assert!(!outputs.contains(&Output::CloseLink { link }));
}

#[test]
fn failures_in_a_row_are_counted_until_the_address_is_reached() {
    let (mut single, mut link) = Single::dialled();
    for expected in 1..4 {
        let outputs = single.input(Input::Closed { link, end: LinkEnd::Reset });
        let failures = outputs.iter().find_map(|output| match output {
            Output::Event(Event::LinkClosed(closed)) => Some(closed.failures),
            Output::Resolve { .. }
            | Output::Dial { .. }
            | Output::SendFrame { .. }
            | Output::CloseLink { .. }
            | Output::Deliver { .. }
            | Output::Event(_) => None,
        });
        assert_eq!(failures, Some(expected));
        single.wait(1000);
        link = LinkId::Dialled(expected);
    }
}

#[test]
fn the_loss_of_one_of_two_links_to_an_address_is_no_failure() {
    // The peer calls while we dial it, and closes what we dialled.
    let (mut single, link) = Single::responded();
    let (other, handshake) = single.accept(2);
    single.receive_from(other, node(2), response(handshake, 2));
    single.input(Input::Closed { link, end: LinkEnd::EndOfStream });
    let is_dial = |output: &Output| matches!(output, Output::Dial { .. });
    assert!(!single.wait(2500).iter().any(is_dial));
    assert!(single.has_link(other));
}

#[test]
fn closing_ends_every_link_and_everything_else() {
    let (mut single, link) = Single::established();
    let outputs = single.input(Input::Close);
    assert_eq!(outputs[0], Output::CloseLink { link });
    assert_eq!(closed(&outputs), Some(Reason::Closing));
    assert_eq!(outputs.len(), 2);
    assert_eq!(single.gmcast.next_deadline(), None);
    assert_eq!(single.gmcast.counters().links_lost, 0);
    assert_eq!(single.input(Input::Timeout), []);
    assert_eq!(single.input(Input::Start), []);
    assert_eq!(single.gmcast.next_deadline(), None);
}

#[test]
fn a_caller_after_the_close_is_turned_away() {
    let mut single = Single::new();
    single.input(Input::Close);
    let link = LinkId::Accepted(0);
    let outputs = single.input(Input::Accepted { link, local: address(ME), remote: address(2) });
    assert_eq!(outputs, [Output::CloseLink { link }]);
}
