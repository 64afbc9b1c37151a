use std::net::SocketAddr;

use super::*;

fn trouble(phase: Phase, reason: Reason) -> Option<Trouble> {
    let remote = SocketAddr::from(([10, 0, 0, 1], 4567));
    let (link, node, failures) = (LinkId::Dialled(1), None, 1);
    let closed = LinkClosed { link, remote, node, phase, reason, failures };
    Trouble::of_event(&Event::LinkClosed(closed))
}

#[test]
fn each_kind_of_trouble_has_its_own_exit_code() {
    let cases = [
        (Phase::Dialling, Reason::Ended(LinkEnd::ConnectionRefused), 69),
        (Phase::Handshake, Reason::TimedOut, 69),
        (Phase::Handshake, Reason::Ended(LinkEnd::Stranger(Stranger::Sql)), 69),
        (Phase::Handshake, Reason::Ended(LinkEnd::Stranger(Stranger::Tls)), 77),
        (Phase::Dialling, Reason::Ended(LinkEnd::Tls(TlsFailure::PeerIsPlain)), 77),
        (Phase::Dialling, Reason::Ended(LinkEnd::Tls(TlsFailure::Silent)), 69),
        (Phase::Handshake, Reason::RefusedByPeer(Refusal::InvalidGroup), 78),
        (Phase::Handshake, Reason::RefusedByPeer(Refusal::Evicted), 77),
    ];
    for (phase, reason, code) in cases {
        let found = trouble(phase, reason.clone()).expect("trouble");
        assert_eq!(found.exit_code().number(), code, "{reason:?}");
        assert!(!found.remedy().is_empty());
    }
}

#[test]
fn what_happens_in_every_healthy_group_is_no_trouble() {
    for reason in [Reason::NotNeeded, Reason::DuplicateLink, Reason::OwnAddress, Reason::Closing] {
        assert_eq!(trouble(Phase::Established, reason), None);
    }
}

#[test]
fn a_sentence_names_the_address_and_the_side_at_fault() {
    let refused = TlsFailure::RefusedByPeer(Objection::Expired);
    let found = trouble(Phase::Handshake, Reason::Ended(LinkEnd::Tls(refused))).expect("trouble");
    assert_eq!(found.to_string(), "10.0.0.1:4567: refuses our certificate, which has expired");
    assert_eq!(found.remedy(), "renew our certificate (--ssl-cert)");
}

#[test]
fn a_refusal_weighs_more_than_silence_and_silence_more_than_absence() {
    let weight = |cause| Trouble { at: String::new(), cause }.weight();
    let objection = TlsFailure::UntrustedPeer(Objection::UnknownAuthority);
    assert!(weight(Cause::WrongGroup) > weight(Cause::Tls(objection)));
    assert!(weight(Cause::Tls(objection)) > weight(Cause::Silent));
    assert!(weight(Cause::Silent) > weight(Cause::NobodyListens));
}
