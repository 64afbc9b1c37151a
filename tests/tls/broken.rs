//! Set-ups that cannot work: one test for each row of docs/broken-setups.md that needs no server.

use std::net::TcpListener;

use galera_sst::net::tls::Keys;
use openssl::ssl::{SslContext, SslFiletype, SslMethod, SslVersion};

use crate::howto::Pair;
use crate::links::files;
use crate::peer::Peer;
use crate::row::{LAB, Row};

/// A member with this certificate that trusts this authority.
fn member(pair: &Pair, ca: &str) -> Peer {
    let keys = Keys::open(files(pair, LAB.howto.path(ca))).expect("usable keys");
    Peer::Tls(keys.material().listener().clone())
}

fn good_member() -> Peer {
    member(&LAB.good, "ca.pem")
}

/// Our own side is in order.
fn ours(setup: &'static str, peer: Peer) -> Row {
    Row::about(setup, peer.listen()).keys(&LAB.good, "ca.pem")
}

#[test]
fn a_name_without_an_address() {
    Row::at("a name that the DNS does not know", "no-such-host.invalid:4567")
        .ends(69, "join the group: ADDRESS: the name cannot be resolved here");
}

#[test]
fn a_closed_port() {
    let closed = TcpListener::bind("127.0.0.1:0").expect("listen").local_addr().expect("address");
    Row::about("nobody listens on the port", closed)
        .ends(69, "join the group: ADDRESS: nobody listens on this port");
}

#[test]
fn a_mesh_in_front_of_a_plain_member() {
    Row::about(
        "a service mesh or proxy takes the connection, no TLS on our side",
        Peer::Silent.listen(),
    )
    .ends(69, "join the group: ADDRESS: takes connections and then says nothing");
}

#[test]
fn a_mesh_in_front_of_a_tls_member() {
    ours("a service mesh or proxy takes the connection, TLS on our side", Peer::Silent).ends(
        69,
        "join the group: ADDRESS: takes connections but does not answer our TLS handshake",
    );
}

#[test]
fn a_mesh_that_takes_every_connection() {
    Row::about(
        "a service mesh takes every connection to the address, whatever the port",
        Peer::Silent.listen_everywhere(),
    )
    .ends(
        69,
        "join the group: ADDRESS: a proxy or service mesh takes connections to every port of this \
         address, and no member answers",
    );
}

#[test]
fn a_proxy_without_a_backend() {
    Row::about(
        "a proxy without a backend, wsrep_allowlist, or an isolated node",
        Peer::Closes.listen(),
    )
    .ends(69, "join the group: ADDRESS: takes connections and closes them without a word");
}

#[test]
fn a_peer_that_hangs_up_in_the_tls_handshake() {
    ours("the peer closes the connection in the TLS handshake", Peer::HangsUp)
        .ends(77, "join the group: ADDRESS: closed the connection during the TLS handshake");
}

#[test]
fn the_port_for_sql_clients() {
    let greeting = b"\x5b\0\0\0\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0";
    Row::about("the address has the port for SQL clients", Peer::Says(greeting).listen()).ends(
        69,
        "join the group: ADDRESS: a database server's port for SQL clients answers there, not a \
         group member",
    );
}

#[test]
fn the_port_for_sql_clients_with_tls() {
    let greeting = b"\x5b\0\0\0\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0";
    ours("the address has the port for SQL clients, TLS on our side", Peer::Says(greeting)).ends(
        69,
        "join the group: ADDRESS: a database server's port for SQL clients answers there, not a \
         group member",
    );
}

#[test]
fn a_web_server() {
    let words = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    Row::about("the address has the port of a web server or sidecar", Peer::Says(words).listen())
        .ends(
            69,
            "join the group: ADDRESS: a web server or proxy answers there, not a group member",
        );
}

#[test]
fn some_other_program() {
    Row::about(
        "the address has the port of some other program",
        Peer::Says(b"hello there\n").listen(),
    )
    .ends(
        69,
        "join the group: ADDRESS: something that is no member of a group answers there, not a \
             group member",
    );
}

#[test]
fn they_use_tls_and_we_do_not() {
    Row::about("the group uses TLS, we do not", good_member().listen())
        .ends(77, "join the group: ADDRESS: uses TLS, and we were told to use none");
}

#[test]
fn we_use_tls_and_they_do_not() {
    ours("we use TLS, the group does not", Peer::Member(""))
        .ends(77, "join the group: ADDRESS: runs without TLS, and we were told to use it");
}

#[test]
fn we_trust_another_authority() {
    ours("the member's certificate is signed by another CA", member(&LAB.foreign, "ca.pem")).ends(
        77,
        "join the group: ADDRESS: we refuse its certificate, which does not lead to a trusted CA",
    );
}

#[test]
fn they_trust_another_authority() {
    let peer = good_member().listen();
    Row::about("our certificate is signed by another CA", peer).keys(&LAB.foreign, "ca.pem").ends(
        77,
        "join the group: ADDRESS: refuses our certificate, which does not lead to a trusted CA",
    );
}

#[test]
fn their_certificate_is_over() {
    let old = LAB.howto.valid_between("old", "20200101000000Z", "20210101000000Z");
    ours("the member's certificate has expired", member(&old, "ca.pem"))
        .ends(77, "join the group: ADDRESS: we refuse its certificate, which has expired");
}

#[test]
fn our_certificate_is_over() {
    let old = LAB.howto.valid_between("ours-old", "20200101000000Z", "20210101000000Z");
    Row::about("our certificate has expired", good_member().listen())
        .keys(&old, "ca.pem")
        .ends(77, "join the group: ADDRESS: refuses our certificate, which has expired");
}

#[test]
fn their_certificate_has_not_begun() {
    let early = LAB.howto.valid_between("early", "20900101000000Z", "20910101000000Z");
    ours(
        "the member's certificate is not valid yet, or our clock is wrong",
        member(&early, "ca.pem"),
    )
    .ends(77, "join the group: ADDRESS: we refuse its certificate, which is not valid yet");
}

#[test]
fn our_certificate_is_for_servers_only() {
    let pair = LAB.howto.with_extensions("only-server", "extendedKeyUsage=serverAuth");
    Row::about("our certificate's extended key usage is serverAuth alone", good_member().listen())
        .keys(&pair, "ca.pem")
        .ends(
            77,
            "join the group: ADDRESS: refuses our certificate, which is not made for this role",
        );
}

#[test]
fn nothing_in_common() {
    let mut context = SslContext::builder(SslMethod::tls_server()).expect("a context");
    context.set_max_proto_version(Some(SslVersion::TLS1_2)).expect("a version");
    context.set_cipher_list("ECDHE-RSA-AES128-GCM-SHA256").expect("a cipher");
    context.set_certificate_chain_file(&LAB.good.certificate).expect("a certificate");
    context.set_private_key_file(&LAB.good.key, SslFiletype::PEM).expect("a key");
    ours("no TLS version or cipher in common", Peer::Tls(context.build()))
        .with("--ssl-cipher ECDHE-RSA-AES256-GCM-SHA384")
        .ends(77, "join the group: ADDRESS: has no TLS version or cipher in common with us");
}

#[test]
fn a_name_that_is_not_in_the_certificate() {
    ours("--tls-peer-name is not in the member's certificate", good_member())
        .with("--tls-peer-name pxc.example.org")
        .ends(
            77,
            "join the group: ADDRESS: we refuse its certificate, which does not have the required \
             name",
        );
}

#[test]
fn another_group() {
    Row::about("--group is not the group's name", Peer::Member("invalid group").listen())
        .seen_by_joining()
        .ends(78, "join the group: ADDRESS: belongs to a group with another name");
}

#[test]
fn an_evicted_identity() {
    Row::about("the group has evicted us", Peer::Member("evicted").listen())
        .seen_by_joining()
        .ends(77, "join the group: ADDRESS: the group has evicted us");
}

/// The address does not matter: the keys are read first.
fn keys_only(setup: &'static str) -> Row {
    Row::at(setup, "127.0.0.1:9")
}

#[test]
fn a_file_that_is_not_there() {
    let pair = Pair { certificate: LAB.howto.path("none.pem"), key: LAB.good.key.clone() };
    keys_only("a file of the keys is not there")
        .keys(&pair, "ca.pem")
        .ends(77, "use FILE for TLS: it cannot be read: No such file or directory (os error 2)");
}

#[test]
fn a_file_that_is_no_certificate() {
    std::fs::write(LAB.howto.path("der.pem"), [0x30, 0x82, 3, 1]).expect("write");
    let pair = Pair { certificate: LAB.howto.path("der.pem"), key: LAB.good.key.clone() };
    keys_only("the certificate is not in PEM form")
        .keys(&pair, "ca.pem")
        .ends(77, "use FILE for TLS: it holds no certificate in PEM form");
}

#[test]
fn a_key_of_another_certificate() {
    let Pair { certificate, .. } = LAB.good.clone();
    let pair = Pair { certificate, key: LAB.foreign.key.clone() };
    keys_only("the key belongs to another certificate")
        .keys(&pair, "ca.pem")
        .ends(77, "use FILE for TLS: the key does not belong to the certificate FILE");
}

#[test]
fn a_key_behind_a_passphrase() {
    std::fs::write(LAB.howto.path("sesame"), "sesame\n").expect("write");
    LAB.howto.openssl("rsa -aes256 -in good-key.pem -passout file:sesame -out locked.pem");
    let Pair { certificate, .. } = LAB.good.clone();
    let pair = Pair { certificate, key: LAB.howto.path("locked.pem") };
    keys_only("the key is encrypted and no passphrase is given").keys(&pair, "ca.pem").ends(
        77,
        "use FILE for TLS: the key is encrypted: name the file of its passphrase \
         (--ssl-password-file)",
    );
    std::fs::write(LAB.howto.path("wrong"), "open\n").expect("write");
    keys_only("the passphrase is wrong")
        .keys(&pair, "ca.pem")
        .with(&format!("--ssl-password-file {}", LAB.howto.path("wrong").display()))
        .ends(77, "use FILE for TLS: the passphrase does not open the key");
}

#[test]
fn a_key_of_1024_bits() {
    LAB.howto.request("short", 1024);
    LAB.howto.sign("short", "", "ca");
    keys_only("our key has 1024 bits").keys(&LAB.howto.pair("short"), "ca.pem").ends(
        77,
        "use FILE for TLS: its 1024-bit key is too weak for OpenSSL's security level: make a new \
         one of 2048 bits, or lower the level with --ssl-cipher 'DEFAULT@SECLEVEL=0'",
    );
}

#[test]
fn half_a_pair() {
    keys_only("a certificate without its key")
        .with(&format!("--ssl-cert {}", LAB.good.certificate.display()))
        .ends(78, "--ssl-cert is given without --ssl-key: TLS needs both");
}

#[test]
fn tls_without_a_certificate() {
    keys_only("socket.ssl=yes without a certificate").option("socket.ssl=yes").ends(
        78,
        "socket.ssl=yes asks for TLS, but there is no certificate: give --tls-dir, or --ssl-cert \
         and --ssl-key",
    );
    Row::at("an ssl:// address without a certificate", "gcomm://ssl://127.0.0.1:9").ends(
        78,
        "an ssl:// address asks for TLS, but there is no certificate: give --tls-dir, or \
         --ssl-cert and --ssl-key",
    );
}

#[test]
fn a_directory_without_keys() {
    std::fs::create_dir_all(LAB.howto.path("empty")).expect("make a directory");
    keys_only("--tls-dir without certificates in it")
        .with(&format!("--tls-dir {}", LAB.howto.path("empty").display()))
        .ends(
            77,
            "--tls-dir FILE holds neither ca.crt, tls.crt and tls.key nor ca.pem, server-cert.pem \
             and server-key.pem",
        );
}

#[test]
fn ciphers_that_nobody_knows() {
    keys_only("--ssl-cipher names no cipher")
        .keys(&LAB.good, "ca.pem")
        .with("--ssl-cipher TLS9")
        .ends(77, "TLS ciphers \"TLS9\" (socket.ssl_cipher) name none that OpenSSL knows");
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("listen");
    let taken_address = taken.local_addr().expect("address").to_string();
    let sentence = "listen for the donor on ADDRESS: the port is taken (by a \
                    receiver that still runs, or by the group's own listener?), choose another one \
                    with --listen: Address already in use (os error 98)";
    Row::at("the port of --listen is in use", &taken_address)
        .with(&format!("--listen {taken_address}"))
        .ends(78, sentence);
}

#[test]
fn an_address_of_another_host() {
    Row::at("--listen is no address of this host", "192.0.2.1:4444")
        .with("--listen 192.0.2.1:4444")
        .ends(
            78,
            "listen for the donor on ADDRESS: this host does not have the \
         address, choose one that it has with --listen: Cannot assign requested address (os error \
         99)",
        );
}
