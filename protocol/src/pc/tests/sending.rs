//! Messages of the layer above on their way out.

use bytes::Bytes;

use super::super::testing::*;
use super::super::*;
use crate::message::SendError;

/// The founder of a group of one, primary.
fn founder() -> Pc {
    let config = Config { weight: 1, start_primary: true, ..Config::default() };
    let mut pc = Pc::new(config, node(1), None);
    feed(&mut pc, Input::Connect);
    let alone = View::new(ViewId::new(ViewKind::Transitional, node(1), 0), 1, members(&[1]));
    feed(&mut pc, Input::View(alone));
    let mut outputs = feed(&mut pc, Input::View(regular(1, &[1])));
    while let Some(output) = outputs.pop() {
        if let Output::Send { user_type, payload } = output {
            outputs = feed(&mut pc, message(node(1), user_type, payload));
        }
    }
    assert_eq!(pc.status().state, State::Primary);
    pc
}

fn send(pc: &mut Pc, payload: &'static [u8]) -> (Result<(), SendError>, Option<Bytes>) {
    let mut framed = None;
    let result = pc.send_user(Bytes::from_static(payload), |bytes| {
        framed = Some(bytes);
        Ok(())
    });
    (result, framed)
}

#[test]
fn messages_are_numbered_from_1_in_each_primary_view() {
    let mut pc = founder();
    for seq in 1..=3 {
        let (result, framed) = send(&mut pc, b"payload");
        assert_eq!(result, Ok(()));
        let framed = framed.unwrap();
        assert_eq!(framed, Message::user(1, seq, Bytes::from_static(b"payload")).encode());
        feed(&mut pc, message(node(1), 1, framed));
        assert_eq!(pc.status().to_seq, i64::from(seq) - 1);
    }
    assert_eq!(pc.known()[&node(1)].last_seq, 3);
}

#[test]
fn a_number_is_used_up_only_by_a_message_that_was_taken() {
    let mut pc = founder();
    for error in [SendError::TryAgain, SendError::NotConnected] {
        let refused = pc.send_user(Bytes::from_static(b"x"), |_| Err(error));
        assert_eq!(refused, Err(error));
    }
    let (_, framed) = send(&mut pc, b"x");
    assert_eq!(Message::decode(&framed.unwrap()).unwrap().seq, 1);
}

#[test]
fn empty_and_oversized_payloads_are_refused_before_they_are_framed() {
    let mut pc = founder();
    for length in [0, PAYLOAD_MAX + 1] {
        let result = pc.send_user(Bytes::from(vec![0; length]), |_| panic!("framed"));
        assert_eq!(result, Err(SendError::Size { length, limit: 32636 }));
    }
    let mut framed_length = 0;
    let result = pc.send_user(Bytes::from(vec![0; PAYLOAD_MAX]), |framed| {
        framed_length = framed.len();
        Ok(())
    });
    assert_eq!((result, framed_length), (Ok(()), MESSAGE_MAX));
}

#[test]
fn outside_a_primary_view_nothing_leaves_and_the_reason_says_whether_to_wait() {
    let mut pc = Pc::new(Config::default(), node(5), None);
    let refused = |pc: &mut Pc| pc.send_user(Bytes::from_static(b"x"), |_| panic!("framed"));
    assert_eq!(refused(&mut pc), Err(SendError::NotConnected));
    feed(&mut pc, Input::Connect);
    assert_eq!(refused(&mut pc), Err(SendError::NotConnected));
    let alone = View::new(ViewId::new(ViewKind::Transitional, node(5), 0), 1, members(&[5]));
    feed(&mut pc, Input::View(alone));
    assert_eq!(refused(&mut pc), Err(SendError::TryAgain));
    feed(&mut pc, Input::View(regular(3, &[1, 5])));
    assert_eq!(refused(&mut pc), Err(SendError::TryAgain));
    let report = |n: u8, entry| Message::state(1, map(&[(n, entry)])).encode();
    feed(&mut pc, message(node(1), 0xff, report(1, in_primary(1, 2, 0, 0))));
    feed(&mut pc, message(node(5), 0xff, report(5, entry(0))));
    assert_eq!(pc.status().state, State::Install);
    assert_eq!(refused(&mut pc), Err(SendError::TryAgain));
}

#[test]
fn a_weight_change_is_announced_in_a_primary_view_only_and_holds_from_its_delivery() {
    let mut pc = Pc::new(Config::default(), node(5), None);
    let refused = pc.change_weight(1, |_| panic!("framed"));
    assert_eq!(refused, Err(SendError::TryAgain));

    let mut pc = founder();
    let mut framed = Bytes::new();
    pc.change_weight(255, |bytes| {
        framed = bytes;
        Ok(())
    })
    .unwrap();
    assert_eq!((pc.status().weight, pc.status().cluster_weight), (1, 1));
    let outputs = feed(&mut pc, message(node(1), 0xff, framed));
    let changed = Event::WeightChanged { node: node(1), weight: Some(255) };
    assert_eq!(outputs, [Output::Event(changed)]);
    assert_eq!((pc.status().weight, pc.status().cluster_weight), (255, 255));
    // It counts for neither counter.
    assert_eq!((pc.status().to_seq, pc.known()[&node(1)].last_seq), (-1, 0));
}
