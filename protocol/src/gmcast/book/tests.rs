use super::*;
use crate::gmcast::tests::network::{address, initial, node};
use crate::gmcast::tests::single::uuid;

const SECOND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn book(numbers: &[u8]) -> AddressBook {
    AddressBook::new(&initial(numbers), address(1))
}

fn pending(book: &AddressBook) -> Vec<SocketAddr> {
    book.pending().map(|(address, _)| address).collect()
}

#[test]
fn the_own_listen_address_is_never_in_the_book() {
    let mut book = book(&[1, 2]);
    book.seed(at(0));
    assert_eq!(pending(&book), [address(2)]);
    book.learn(address(1), node(9), at(0));
    assert!(!book.is_known(address(1)));
}

#[test]
fn an_address_of_ours_is_never_added_again() {
    let mut book = book(&[2]);
    book.seed(at(0));
    book.found_own(address(2));
    book.seed(at(0));
    book.learn(address(2), node(9), at(0));
    assert_eq!(pending(&book), []);
    assert!(!book.is_known(address(2)));
}

#[test]
fn a_known_address_does_not_become_pending_again() {
    let mut book = book(&[2]);
    book.met(at(0), address(2), node(2));
    book.seed(at(0));
    assert_eq!(pending(&book), []);
}

#[test]
fn meeting_a_node_moves_its_address_from_pending_to_known() {
    let mut book = book(&[2]);
    book.seed(at(0));
    assert_eq!(book.met(at(0), address(2), node(2)), None);
    assert_eq!((pending(&book), book.is_known(address(2))), (vec![], true));
    assert_eq!(book.address_of(node(2)), Some(address(2)));
    assert_eq!(book.met(at(0), address(2), node(9)), Some(node(2)));
    assert_eq!(book.address_of(node(2)), None);
}

#[test]
fn hearing_of_a_known_address_under_another_uuid_changes_nothing() {
    let mut book = book(&[]);
    book.met(at(0), address(2), node(2));
    book.learn(address(2), node(9), at(0));
    assert_eq!(book.address_of(node(2)), Some(address(2)));
}

#[test]
fn failures_delay_the_next_dial() {
    let mut book = book(&[2]);
    book.seed(at(0));
    book.failed(at(10), address(2), SECOND, 0);
    let (_, entry) = book.pending().next().expect("initial addresses are never given up");
    assert_eq!((entry.failures, entry.next_dial), (1, at(1010)));
    assert_eq!(book.failures(address(2)), 1);
}

#[test]
fn time_wait_ends_at_its_time_whatever_fails_meanwhile() {
    let mut book = book(&[]);
    book.met(at(0), address(2), node(2));
    assert_eq!(book.forget(at(5000), node(2)), [address(2)]);
    book.failed(at(4900), address(2), SECOND, 0);
    book.expire(at(4999));
    assert!(book.is_in_time_wait(address(2)));
    book.expire(at(5000));
    assert!(!book.is_known(address(2)));
}

#[test]
fn a_longer_wait_is_not_shortened() {
    let mut book = book(&[]);
    book.met(at(0), address(2), node(2));
    book.forget(at(5000), node(2));
    book.forget(at(2500), node(2));
    book.expire(at(2500));
    assert!(book.is_in_time_wait(address(2)));
}

#[test]
fn a_full_book_takes_no_more_addresses() {
    let mut book = book(&[2]);
    for number in 0..ADDRESSES_MAX as u32 {
        let address = SocketAddr::new(IpAddr::V4(number.into()), 4567);
        book.learn(address, uuid(u64::from(number)), at(0));
    }
    book.learn(address(3), node(3), at(0));
    book.seed(at(0));
    assert!(!book.is_known(address(3)) && !book.is_pending(address(2)));
}

#[test]
fn a_failed_look_up_keeps_what_an_earlier_one_said() {
    let target = HostPort { host: "members".to_owned(), port: 4567 };
    let mut book = AddressBook::new(core::slice::from_ref(&target), address(1));
    assert_eq!(book.due_lookups(at(0), |_| false).first(), Some(&target));
    book.asked(&target);
    assert!(book.due_lookups(at(0), |_| false).is_empty());
    assert!(book.resolved(at(0), &target, &[address(2).ip()]));
    assert!(book.resolved(at(0), &target, &[]));
    assert!(!book.resolved(at(0), &target, &[]));
    book.seed(at(0));
    assert_eq!(pending(&book), [address(2)]);
}

#[test]
fn a_name_gives_no_more_addresses_than_allowed() {
    let target = HostPort { host: "members".to_owned(), port: 4567 };
    let mut book = AddressBook::new(core::slice::from_ref(&target), address(1));
    let addresses: Vec<_> = (0..1000u32).map(|number| IpAddr::V4(number.into())).collect();
    book.resolved(at(0), &target, &addresses);
    book.seed(at(0));
    assert_eq!(pending(&book).len(), LOOKUP_ADDRESSES_MAX);
}

#[test]
fn the_number_of_addresses_found_to_be_ours_is_bounded() {
    let mut book = book(&[]);
    for number in 0..2 * ADDRESSES_MAX as u32 {
        book.found_own(SocketAddr::new(IpAddr::V4(number.into()), 4567));
    }
    assert_eq!(book.own.len(), ADDRESSES_MAX);
}
