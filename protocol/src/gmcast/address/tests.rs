use proptest::prelude::*;

use super::*;

fn cluster(text: &str) -> ClusterAddress {
    text.parse().expect("valid cluster address")
}

fn host(host: &str, port: Option<u16>) -> ClusterHost {
    ClusterHost { host: host.to_owned(), port }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("valid socket address")
}

#[test]
fn garbds_usual_address_is_understood() {
    let address = cluster("gcomm://pxc-0?gmcast.listen_addr=tcp://0.0.0.0:4567&pc.weight=0");
    assert_eq!(address.hosts, [host("pxc-0", None)]);
    assert_eq!(address.option("gmcast.listen_addr"), Some("tcp://0.0.0.0:4567"));
    assert_eq!(address.option("pc.weight"), Some("0"));
    assert_eq!(address.option("gmcast.segment"), None);
}

#[test]
fn every_form_of_host_is_understood() {
    let address =
        cluster("gcomm://a:1, 10.0.0.1,[fe80::1]:2,::1,[::2],tcp://b:3,ssl://[::3]:4,c:5/");
    assert_eq!(
        address.hosts,
        [
            host("a", Some(1)),
            host("10.0.0.1", None),
            host("fe80::1", Some(2)),
            host("::1", None),
            host("::2", None),
            host("b", Some(3)),
            host("::3", Some(4)),
            host("c", Some(5)),
        ]
    );
}

#[test]
fn empty_and_wildcard_hosts_are_left_out() {
    assert_eq!(cluster("gcomm://").hosts, []);
    assert_eq!(cluster("gcomm://,0.0.0.0:4567,[::]:4567,a,").hosts, [host("a", None)]);
}

#[test]
fn a_missing_port_is_the_base_port() {
    let hosts = cluster("gcomm://a,b:7").with_ports(DEFAULT_PORT);
    assert_eq!(hosts[0].to_string(), "a:4567");
    assert_eq!(hosts[1].to_string(), "b:7");
}

#[test]
fn the_last_of_repeated_options_wins() {
    assert_eq!(cluster("gcomm://a?k=1&k=2").option("k"), Some("2"));
}

#[test]
fn malformed_cluster_addresses_are_refused_with_the_reason() {
    let error = |text: &str| text.parse::<ClusterAddress>().expect_err("malformed");
    assert_eq!(error("pxc-0:4567"), AddressError::NotGcomm);
    assert_eq!(error("gcomm://a:b"), AddressError::Port("a:b".to_owned()));
    assert_eq!(error("gcomm://a:65536"), AddressError::Port("a:65536".to_owned()));
    assert_eq!(error("gcomm://a:+5"), AddressError::Port("a:+5".to_owned()));
    assert_eq!(error("gcomm://a:1:2"), AddressError::Host("a:1:2".to_owned()));
    assert_eq!(error("gcomm://[::1"), AddressError::Host("[::1".to_owned()));
    assert_eq!(error("gcomm://[::1]x"), AddressError::Host("[::1]x".to_owned()));
    assert_eq!(error("gcomm://udp://a"), AddressError::Scheme("udp://a".to_owned()));
    assert_eq!(error("gcomm://a?x"), AddressError::Option("x".to_owned()));
    assert_eq!(error("gcomm://a?k=v&"), AddressError::Option(String::new()));
}

#[test]
fn a_listen_address_takes_a_default_port_but_no_colon_without_a_scheme() {
    assert_eq!(parse_listen("tcp://0.0.0.0", 4567), Ok(socket("0.0.0.0:4567")));
    assert_eq!(parse_listen("ssl://[::]:4444", 4567), Ok(socket("[::]:4444")));
    assert_eq!(parse_listen("127.0.0.1", 1), Ok(socket("127.0.0.1:1")));
    assert_eq!(parse_listen("::1", 1), Ok(socket("[::1]:1")));
    let scheme = AddressError::Scheme("127.0.0.1:4567".to_owned());
    assert_eq!(parse_listen("127.0.0.1:4567", 1), Err(scheme));
    let name = AddressError::NotNumeric("tcp://db:4567".to_owned());
    assert_eq!(parse_listen("tcp://db:4567", 1), Err(name));
}

#[test]
fn peer_addresses_round_trip_and_mapped_ipv4_becomes_plain() {
    for text in ["tcp://127.0.0.1:21002", "tcp://[fe80::1%3]:4567"] {
        let address = parse_peer_uri(text.as_bytes()).expect("valid");
        assert_eq!(peer_uri(address, false), text);
    }
    assert_eq!(peer_uri(socket("[::1]:4567"), true), "ssl://[::1]:4567");
    assert_eq!(parse_peer_uri(b"tcp://[::ffff:10.0.0.1]:4567"), Some(socket("10.0.0.1:4567")));
}

#[test]
fn peer_addresses_that_cannot_be_dialled_are_refused() {
    for text in ["", "hello", "tcp://10.0.0.1", "udp://10.0.0.1:1", "tcp://db:1", "tcp://[::]:1"] {
        assert_eq!(parse_peer_uri(text.as_bytes()), None, "{text}");
    }
    assert_eq!(parse_peer_uri(b"tcp://10.0.0.1:0"), None);
    assert_eq!(parse_peer_uri(b"tcp://\xff:1"), None);
}

#[test]
fn only_the_port_of_an_advertised_address_is_needed() {
    let port = |text: &str| parse_advertised(text.as_bytes()).map(|advertised| advertised.port);
    assert_eq!(port("tcp://0.0.0.0:4567"), Some(4567));
    assert_eq!(port("tcp://[::]:4567"), Some(4567));
    assert_eq!(port("any://some.name:0"), Some(0));
    assert_eq!(port("tcp://127.0.0.1"), None);
    assert_eq!(port("127.0.0.1:4567"), None);
    assert_eq!(port(""), None);
    let known = parse_advertised(b"ssl://10.0.0.1:5").expect("valid").address;
    assert_eq!(known, Some(socket("10.0.0.1:5")));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(
        text in ".{0,80}",
        bytes in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let _ = text.parse::<ClusterAddress>();
        let _ = format!("gcomm://{text}").parse::<ClusterAddress>();
        let _ = parse_listen(&text, 1);
        let _ = (parse_peer_uri(&bytes), parse_advertised(&bytes));
    }
}
