//! Two ends of a link, each with what it has: does the link come up, and who blames whom?

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use galera_protocol::tls::{Objection, Stranger, TlsFailure};
use galera_sst::net::stream::{self, ConnectError, Security, Stream};
use galera_sst::net::tls::{self, KeyFiles, Keys};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::howto::{HowTo, Pair};

/// Longest that either end of a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);

pub(crate) fn files(pair: &Pair, ca: PathBuf) -> KeyFiles {
    let Pair { certificate, key } = pair.clone();
    KeyFiles { certificate, key, ca: Some(ca), ..KeyFiles::default() }
}

pub(crate) fn keys(pair: &Pair, ca: PathBuf) -> Keys {
    Keys::open(files(pair, ca)).expect("usable keys")
}

/// What became of both ends.
pub(crate) struct Met {
    pub(crate) dialled: Result<Stream, ConnectError>,
    pub(crate) accepted: Result<Stream, TlsFailure>,
}

/// Lets two ends meet on the loopback interface.
pub(crate) async fn meet(dialler: &Security, acceptor: &Security) -> Met {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listen");
    let address = listener.local_addr().expect("address");
    let accepting = async {
        let (tcp, _) = listener.accept().await.expect("accept");
        stream::accept(acceptor, tcp, LIMIT).await
    };
    let (dialled, accepted) = tokio::join!(stream::dial(dialler, address, None, LIMIT), accepting);
    Met { dialled, accepted }
}

impl Met {
    /// Fails unless bytes go both ways.
    pub(crate) async fn assert_linked(self, what: &str) {
        let mut dialled = self.dialled.unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut accepted = self.accepted.unwrap_or_else(|error| panic!("{what}: {error}"));
        accepted.write_all(b"greeting").await.expect("write");
        let mut bytes = [0; 8];
        dialled.read_exact(&mut bytes).await.expect("read");
        dialled.write_all(b"response").await.expect("write");
        accepted.read_exact(&mut bytes).await.expect("read");
        assert_eq!(&bytes, b"response", "{what}");
    }

    /// What the dialling side learns, which with TLS 1.3 may be after its own handshake.
    pub(crate) async fn dialler_learns(self) -> TlsFailure {
        match self.dialled {
            Err(ConnectError::Tls(failure)) => failure,
            Err(error) => panic!("{error}"),
            Ok(mut stream) => {
                let error = stream.read_u8().await.expect_err("the peer has refused us");
                tls::of_io(&error).unwrap_or_else(|| panic!("{error}"))
            }
        }
    }
}

#[tokio::test]
async fn each_side_learns_what_the_other_has_against_its_certificate() {
    let howto = HowTo::new();
    let good = Security::Tls(keys(&howto.version_1("good"), howto.ca()));
    let stranger = howto.authority("other");
    howto.request("foreign", 2048);
    howto.sign("foreign", "", "other");
    let foreign = Security::Tls(keys(&howto.pair("foreign"), howto.ca()));
    let old = howto.valid_between("old", "20200101000000Z", "20210101000000Z");
    let old = Security::Tls(keys(&old, howto.ca()));
    let early = howto.valid_between("early", "20900101000000Z", "20910101000000Z");
    let early = Security::Tls(keys(&early, howto.ca()));
    let only_server = howto.with_extensions("server", "extendedKeyUsage=serverAuth");
    let only_server = Security::Tls(keys(&only_server, howto.ca()));
    let distrustful = Security::Tls(keys(&howto.pair("good"), stranger));

    use Objection::{Expired, NotYetValid, Purpose, UnknownAuthority, Unspecified};
    let refused = TlsFailure::RefusedByPeer;
    let untrusted = TlsFailure::UntrustedPeer;
    for (what, dialler, acceptor, expected) in [
        ("ours is of another CA", &foreign, &good, refused(UnknownAuthority)),
        ("theirs is of another CA", &good, &foreign, untrusted(UnknownAuthority)),
        ("we trust another CA", &distrustful, &good, untrusted(UnknownAuthority)),
        ("they trust another CA", &good, &distrustful, refused(UnknownAuthority)),
        ("ours is over", &old, &good, refused(Expired)),
        ("theirs is over", &good, &old, untrusted(Expired)),
        ("theirs has not begun", &good, &early, untrusted(NotYetValid)),
        ("ours has not begun", &early, &good, refused(Unspecified)),
        ("ours is for servers only", &only_server, &good, refused(Purpose)),
    ] {
        let learnt = meet(dialler, acceptor).await.dialler_learns().await;
        assert_eq!(learnt, expected, "{what}");
    }
    meet(&good, &only_server).await.assert_linked("servers may be servers").await;
}

#[tokio::test]
async fn names_do_not_matter_unless_they_are_asked_for() {
    let howto = HowTo::new();
    let pair = howto.with_extensions("odd", "subjectAltName=DNS:*.pxc.svc,IP:10.0.0.1");
    let peer = Security::Tls(keys(&pair, howto.ca()));
    meet(&peer, &peer).await.assert_linked("any name").await;
    let strict = |name: &str| {
        let files = KeyFiles { peer_name: Some(name.into()), ..files(&pair, howto.ca()) };
        Security::Tls(Keys::open(files).expect("usable keys"))
    };
    meet(&strict("pxc-0.pxc.svc"), &peer).await.assert_linked("the name is there").await;
    let learnt = meet(&strict("pxc-0.other.svc"), &peer).await.dialler_learns().await;
    assert_eq!(learnt, TlsFailure::UntrustedPeer(Objection::Name));
}

#[tokio::test]
async fn only_what_tls_1_2_and_1_3_have_in_common_is_used() {
    let howto = HowTo::new();
    let pair = howto.version_1("node");
    let with = |ciphers: &str| {
        let files = KeyFiles { ciphers: Some(ciphers.into()), ..files(&pair, howto.ca()) };
        Keys::open(files)
    };
    let strong = Security::Tls(with("ECDHE-RSA-AES256-GCM-SHA384").expect("a cipher"));
    meet(&strong, &strong).await.assert_linked("a cipher list").await;
    let error = with("NO-SUCH-CIPHER").expect_err("none known");
    assert!(error.to_string().contains("NO-SUCH-CIPHER"), "{error}");
}

/// Somebody who takes one connection, says `words`, and waits for the end.
async fn somebody_who_says(words: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listen");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.expect("accept");
        tcp.write_all(words).await.expect("write");
        let mut rest = Vec::new();
        let _ = tcp.read_to_end(&mut rest).await;
    });
    address
}

#[tokio::test]
async fn whoever_is_no_tls_member_is_told_apart() {
    let howto = HowTo::new();
    let ours = Security::Tls(keys(&howto.version_1("node"), howto.ca()));
    for (words, expected) in [
        (&[0x24, 0, 0, 2, 0xd5, 0x50, 0xa0, 0xfc][..], TlsFailure::PeerIsPlain),
        (b"\x5b\0\0\0\x0a5.5.5-10.11.19", TlsFailure::Stranger(Stranger::Sql)),
        (b"HTTP/1.1 400 Bad Request\r\n", TlsFailure::Stranger(Stranger::Http)),
        (b"", TlsFailure::Silent),
    ] {
        let address = somebody_who_says(words).await;
        let limit = Duration::from_millis(700);
        let dialled = stream::dial(&ours, address, None, limit).await;
        let Err(ConnectError::Tls(failure)) = dialled else { panic!("{dialled:?}") };
        assert_eq!(failure, expected);
    }
}

#[tokio::test]
async fn a_reload_takes_new_keys_and_keeps_old_trust() {
    let howto = HowTo::new();
    let first = howto.version_1("first");
    let (certificate, key) = (howto.path("live.pem"), howto.path("live-key.pem"));
    let ca = howto.path("live-ca.pem");
    let install = |pair: &Pair, authority: PathBuf| {
        std::fs::copy(&pair.certificate, &certificate).expect("copy");
        std::fs::copy(&pair.key, &key).expect("copy");
        std::fs::copy(authority, &ca).expect("copy");
    };
    install(&first, howto.ca());
    let live = keys(&Pair { certificate: certificate.clone(), key: key.clone() }, ca.clone());
    let other = howto.authority("other");
    howto.request("second", 2048);
    howto.sign("second", "", "other");
    let both = howto.concatenate(&[&howto.ca(), &other], "both.pem");
    let old_member = Security::Tls(keys(&first, both.clone()));
    let new_member = Security::Tls(keys(&howto.pair("second"), both));

    let ours = Security::Tls(live.clone());
    meet(&ours, &old_member).await.assert_linked("before").await;
    let learnt = meet(&ours, &new_member).await.dialler_learns().await;
    assert_eq!(learnt, TlsFailure::UntrustedPeer(Objection::UnknownAuthority));

    install(&howto.pair("second"), other);
    live.reload().expect("reload");
    meet(&ours, &old_member).await.assert_linked("the old CA is still trusted").await;
    meet(&ours, &new_member).await.assert_linked("and so is the new one").await;

    std::fs::write(&certificate, "nonsense").expect("write");
    assert!(live.reload().is_err());
    meet(&ours, &new_member).await.assert_linked("a failed reload changes nothing").await;
}
