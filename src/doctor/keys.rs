//! Our own certificates, read aloud before anybody else sees them.

use super::Config;
use super::report::{Line, Step};
use crate::exit::ExitCode;
use crate::net::tls::certificate::{self, Reading, Validity};
use crate::net::tls::{Keys, Material};

/// Lines about the keys of the group's links and of the donor's connections.
pub(super) fn examine(config: &Config, add: &mut impl FnMut(Line)) {
    let links = config.member.security.keys();
    let transfer = config.transfer_tls.acceptor.as_ref().map(|acceptor| acceptor.keys());
    match links {
        None => add(Line::ok(Step::Keys, "the group's links: no TLS")),
        Some(keys) => read_aloud("the group's links", keys, add),
    }
    match (transfer, links) {
        (None, _) => add(Line::ok(Step::Keys, "the donor's connections: no TLS")),
        (Some(keys), Some(links)) if keys.files() == links.files() => {
            add(Line::ok(Step::Keys, "the donor's connections: TLS with the same certificate"));
        }
        (Some(keys), _) => read_aloud("the donor's connections", keys, add),
    }
}

fn read_aloud(what: &str, keys: &Keys, add: &mut impl FnMut(Line)) {
    let material = keys.material();
    let Some(leaf) = material.chain().first() else { return };
    let reading = certificate::read(leaf);
    let text = format!("{what}: {}: {reading}", keys.files().certificate.display());
    add(validity_line(Step::Keys, &reading, text, "renew our certificate (--ssl-cert)"));
    add(chain_line(what, &material));
}

/// A certificate's line, by its time.
pub(super) fn validity_line(step: Step, reading: &Reading, text: String, renew: &str) -> Line {
    match reading.validity {
        Validity::Valid => Line::ok(step, text),
        Validity::EndsSoon => Line::warning(step, format!("{text}: ends soon"), renew),
        Validity::Expired => {
            Line::failed(step, format!("{text}: has expired"), renew, ExitCode::Refused)
        }
        Validity::NotYetValid => Line::failed(
            step,
            format!("{text}: is not valid yet"),
            "compare the clocks of both hosts",
            ExitCode::Refused,
        ),
    }
}

/// Members of one cluster mostly share a CA: if ours does not lead to the one that we trust, theirs
/// will not trust it either.
fn chain_line(what: &str, material: &Material) -> Line {
    match certificate::check_chain(material.chain(), material.trusted(), None) {
        Ok(Ok(())) => Line::ok(Step::Keys, format!("{what}: our certificate leads to our CA")),
        Ok(Err(broken)) => Line::warning(
            Step::Keys,
            format!("{what}: against our own CA: {broken}"),
            "unless the servers trust another CA, have the certificate signed by the cluster's",
        ),
        Err(error) => Line::warning(
            Step::Keys,
            format!("{what}: the chain cannot be checked: {error}"),
            "check the files",
        ),
    }
}
