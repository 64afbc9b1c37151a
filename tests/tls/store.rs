//! Object stores with which we do not come to speak: the rows of docs/broken-setups.md about them.

use std::net::{SocketAddr, TcpListener};

use galera_sst::net::tls::Keys;

use crate::howto::Pair;
use crate::links::files;
use crate::peer::Peer;
use crate::row::{LAB, Row};

/// A server inside TLS with this certificate.
fn server(pair: &Pair) -> SocketAddr {
    let keys = Keys::open(files(pair, LAB.howto.ca())).expect("usable keys");
    Peer::Tls(keys.material().receiver(false).clone()).listen()
}

/// A bucket at this address, which is looked at before the group is.
fn bucket(setup: &'static str, address: &str) -> Row {
    Row::at(setup, address)
        .with(&format!("--to s3://bucket/prefix --endpoint https://{address} --retry-timeout 1"))
}

#[test]
fn a_store_of_another_authority() {
    let address = server(&LAB.good).to_string();
    bucket("the object store's certificate is signed by a CA that we do not know", &address).ends(
        77,
        "open the target: create TARGET: write TARGET: Generic object store error: ADDRESS: we \
         refuse its certificate, which does not lead to a trusted CA",
    );
}

#[test]
fn a_store_with_another_name() {
    let address = server(&LAB.good).to_string();
    bucket("the object store's certificate lacks the name in --endpoint", &address)
        .with(&format!("--store-ca {}", LAB.howto.ca().display()))
        .ends(
            77,
            "open the target: create TARGET: write TARGET: Generic object store error: ADDRESS: we \
             refuse its certificate, which does not have the required name",
        );
}

#[test]
fn a_store_whose_certificate_is_over() {
    let old = LAB.howto.valid_between("localhost", "20200101000000Z", "20210101000000Z");
    let address = format!("localhost:{}", server(&old).port());
    bucket("the object store's certificate has expired", &address)
        .with(&format!("--store-ca {}", LAB.howto.ca().display()))
        .ends(
            77,
            "open the target: create TARGET: write TARGET: Generic object store error: ADDRESS: we \
             refuse its certificate, which has expired",
        );
}

#[test]
fn a_store_without_tls() {
    let words = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    let address = Peer::Says(words).listen().to_string();
    bucket("the object store has no TLS, and --endpoint begins with https", &address).ends(
        77,
        "open the target: create TARGET: write TARGET: Generic object store error: ADDRESS: runs \
         without TLS, and we were told to use it",
    );
}

#[test]
fn a_store_that_is_not_there() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("address");
    bucket("nobody listens at --endpoint", &closed.to_string()).ends(
        73,
        "open the target: create TARGET: write TARGET: Generic object store error: ADDRESS: nobody \
         listens on this port",
    );
}

#[test]
fn a_store_whose_name_is_unknown() {
    bucket("--endpoint has a name that the DNS does not know", "no-such-store.invalid:4567").ends(
        73,
        "open the target: create TARGET: write TARGET: Generic object store error: ADDRESS: the \
         name cannot be resolved here",
    );
}
