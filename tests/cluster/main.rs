//! Tests on real clusters: MariaDB Galera servers and garbd as processes on the loopback interface.
//!
//! They need the packages that `scripts/install-deps` installs, take minutes, and so run only when
//! asked for: `cargo test --release --test cluster -- --ignored --test-threads=1`, or `./test`.

#[path = "../objects/servers.rs"]
#[allow(dead_code, reason = "the tests of object stores use all of it")]
mod object_stores;
#[path = "../support/lib.rs"]
#[expect(dead_code, reason = "shared with tests/peers, tests/faults and tests/soak")]
mod support;

mod arbitrator;
mod attacked;
mod documented;
mod donor_failures;
mod embedded;
mod every_sink;
mod examples;
mod harness;
mod main_job;
mod membership;
mod percona;
mod refusals;
mod stand_alone;
mod stopping;
mod timing;
mod tls;
mod tls_broken;
mod verdict;
mod watching;
