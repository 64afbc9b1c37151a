//! `socket.dynamic` against every kind of peer, in both roles.

use galera_sst::net::stream::{Security, Stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::howto::HowTo;
use crate::links::{LIMIT, keys, meet};

#[tokio::test]
async fn a_dynamic_member_meets_members_with_and_without_tls() {
    let howto = HowTo::new();
    let keys = keys(&howto.version_1("node"), howto.ca());
    let tls = Security::Tls(keys.clone());
    let dynamic = Security::Dynamic(Some(keys));
    let met = meet(&tls, &dynamic).await;
    assert!(matches!(met.accepted, Ok(Stream::Tls(_))), "the caller begins TLS");
    met.assert_linked("TLS calls dynamic").await;
    meet(&dynamic, &tls).await.assert_linked("dynamic calls TLS").await;
    let met = meet(&dynamic, &dynamic).await;
    assert!(matches!(met.dialled, Ok(Stream::Tls(_))), "two dynamic ones agree on TLS");
    met.assert_linked("dynamic calls dynamic").await;
    let met = meet(&Security::Plain, &dynamic).await;
    assert!(matches!(met.accepted, Ok(Stream::Plain(_))), "a silent caller is plain");
    met.assert_linked("plain calls dynamic").await;
}

#[tokio::test]
async fn a_dynamic_caller_hears_a_plain_greeting() {
    let howto = HowTo::new();
    let dynamic = Security::Dynamic(Some(keys(&howto.version_1("node"), howto.ca())));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let greeting = async {
        let (mut tcp, _) = listener.accept().await.expect("accept");
        tcp.write_all(&[0x24, 0, 0, 2]).await.expect("write");
        tcp
    };
    let (dialled, _peer) =
        tokio::join!(galera_sst::net::stream::dial(&dynamic, address, None, LIMIT), greeting);
    assert!(matches!(dialled, Ok(Stream::Plain(_))));
}
