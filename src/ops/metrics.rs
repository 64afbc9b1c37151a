//! The member as Prometheus metrics, read from its picture at each scrape.
//!
//! Names begin with `galera_sst_`. Counters of a member begin again at zero when the process starts
//! another one, which Prometheus takes for what it is.

use std::fmt;

use galera_protocol::gmcast::Phase;
use galera_protocol::member::Status;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Monitor, quorum_margin};
use crate::member::Picture;

const PREFIX: &str = "galera_sst";

/// One number of a picture.
struct Number {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    read: fn(&Picture) -> u64,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows; `_total` is added to its name.
    Counter,
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Picture) -> u64) -> Number {
    Number { name, help, kind: Kind::Gauge, read }
}

const fn counter(name: &'static str, help: &'static str, read: fn(&Picture) -> u64) -> Number {
    Number { name, help, kind: Kind::Counter, read }
}

const NUMBERS: [Number; 29] = [
    gauge("primary", "1 while this process is in the primary component", |picture| {
        picture.status.configuration.is_some().into()
    }),
    gauge("representative", "1 while this process leads membership changes", |picture| {
        let first = picture.status.members.first();
        first.is_some_and(|member| member.node == picture.status.me).into()
    }),
    gauge("weight", "Our vote", |picture| picture.status.pc.weight.into()),
    gauge("group_members", "Members of the component", |picture| {
        picture.status.members.len() as u64
    }),
    gauge("group_members_with_state", "Members that have the group's data", |picture| {
        let members = picture.status.members.iter();
        members.filter(|member| member.status.has_state()).count() as u64
    }),
    gauge("group_votes", "All votes in the primary component", |picture| {
        picture.status.pc.cluster_weight.into()
    }),
    gauge("quorum_margin_votes", "Votes that may be lost at once", |picture| {
        quorum_margin(picture.status.pc.cluster_weight).into()
    }),
    gauge("group_seqno", "The group's position", |picture| {
        picture.status.seqno.map_or(0, |seqno| seqno.0).try_into().unwrap_or(0)
    }),
    gauge("group_configuration", "Number of the primary configuration", |picture| {
        picture.status.configuration.map_or(0, |(id, ..)| id.0).try_into().unwrap_or(0)
    }),
    gauge("group_protocol", "Negotiated protocol of the group communication", |picture| {
        picture.status.configuration.map_or(0, |(_, _, protocols)| protocols.gcs).into()
    }),
    gauge("flow_control_paused", "1 while servers hold replication back", |picture| {
        picture.status.is_flow_paused.into()
    }),
    counter("flow_control_stops", "Times that a server asked to stop", |picture| {
        picture.status.traffic.flow_stops
    }),
    counter("flow_control_continues", "Times that a server let go on", |picture| {
        picture.status.traffic.flow_continues
    }),
    counter("write_sets", "Write-sets that took a position", |picture| {
        picture.status.traffic.write_sets
    }),
    counter("write_set_bytes", "Bytes of write-sets", |picture| {
        picture.status.traffic.write_set_bytes
    }),
    counter("state_requests", "State transfer requests of all members", |picture| {
        picture.status.traffic.state_requests
    }),
    counter("configurations", "Primary configurations that we took part in", |picture| {
        picture.status.traffic.configurations
    }),
    counter("primary_losses", "Returns under the saved identity after lost quorum", |picture| {
        picture.traffic.restarts
    }),
    counter("frames_received", "Messages from all links", |p| p.traffic.frames_received),
    counter("received_bytes", "Bytes of messages from all links", |p| p.traffic.bytes_received),
    counter("frames_sent", "Messages handed to links", |p| p.traffic.frames_sent),
    counter("sent_bytes", "Bytes of messages handed to links", |p| p.traffic.bytes_sent),
    counter("frames_dropped", "Messages that a full send queue did not take", |picture| {
        picture.traffic.frames_dropped
    }),
    counter("links_accepted", "Connections that were opened to us", |p| p.traffic.links_accepted),
    counter("links_lost", "Links that ended, our own closing aside", |picture| {
        picture.status.counters.links_lost
    }),
    counter("link_violations", "Links closed because the peer broke the protocol", |picture| {
        picture.status.counters.violations
    }),
    counter("link_timeouts", "Links closed for silence", |picture| {
        picture.status.counters.timeouts
    }),
    counter("messages_relayed", "Messages passed on between members", |picture| {
        picture.status.counters.relayed
    }),
    counter("messages_withheld", "Messages of ours that would have harmed receivers", |picture| {
        picture.status.counters.forbidden
    }),
];

/// A registry with everything about the member that `monitor` follows.
pub fn registry(monitor: &Monitor) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(MemberMetrics(monitor.clone())));
    registry
}

#[derive(Debug)]
struct MemberMetrics(Monitor);

impl Collector for MemberMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        encode_build(&mut encoder)?;
        let again = self.0.memberships().saturating_sub(1);
        encode_counter(&mut encoder, "reconnects", "Memberships after the first", again)?;
        let Some(picture) = self.0.picture() else { return Ok(()) };
        for number in &NUMBERS {
            let value = (number.read)(&picture);
            match number.kind {
                Kind::Gauge => encode_gauge(&mut encoder, number.name, number.help, value)?,
                Kind::Counter => encode_counter(&mut encoder, number.name, number.help, value)?,
            }
        }
        encode_members(&mut encoder, &picture.status)?;
        encode_links(&mut encoder, &picture)
    }
}

fn encode_build(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let labels = [("version", env!("CARGO_PKG_VERSION"))];
    let mut info = encoder.encode_descriptor("build", "This program", None, MetricType::Info)?;
    info.encode_info(&labels)
}

fn encode_gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
}

fn encode_counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<[(&str, &str); 0], _, u64>(&value, None)
}

/// A gauge with one value per row of a table.
fn encode_rows<V: prometheus_client::encoding::EncodeGaugeValue>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (Vec<(&'static str, String)>, V)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in rows {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn encode_members(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let states = status.members.iter().map(|member| {
        let labels = vec![
            ("uuid", member.node.to_string()),
            ("name", member.name.to_string()),
            ("segment", member.segment.0.to_string()),
            ("state", member.status.to_string()),
        ];
        (labels, 1_i64)
    });
    encode_rows(encoder, "member_state", "Members and their states", states)?;
    let weights = status
        .weights
        .iter()
        .map(|(node, weight)| (vec![("uuid", node.to_string())], i64::from(*weight)));
    encode_rows(encoder, "member_weight", "Votes of members", weights)
}

fn encode_links(encoder: &mut DescriptorEncoder<'_>, picture: &Picture) -> fmt::Result {
    let status = &picture.status;
    let in_use = |phase| status.links.iter().filter(move |link| link.phase == phase);
    let phases = [
        (Phase::Dialling, "dialling"),
        (Phase::Handshake, "handshake"),
        (Phase::Established, "established"),
    ];
    let counts = phases.into_iter().map(|(phase, name)| {
        let count = i64::try_from(in_use(phase).count()).unwrap_or(i64::MAX);
        (vec![("phase", name.to_owned())], count)
    });
    encode_rows(encoder, "links", "Links by how far they have come", counts)?;
    let named = |link: &galera_protocol::gmcast::LinkStatus| {
        let node = link.node.map(|node| node.to_string()).unwrap_or_default();
        vec![("uuid", node), ("remote", link.remote.to_string())]
    };
    let silence = in_use(Phase::Established).map(|link| {
        let silent = status.at.saturating_since(link.last_received);
        (named(link), silent.as_secs_f64())
    });
    let help = "Time since something was last received on a link";
    encode_rows(encoder, "link_silence_seconds", help, silence)?;
    let rtts = in_use(Phase::Established).filter_map(|link| {
        let rtt = super::latency::round_trip(link.local?, link.remote)?;
        Some((named(link), rtt.as_secs_f64()))
    });
    let help = "Smoothed round trip of a link, as the kernel measures it";
    encode_rows(encoder, "link_round_trip_seconds", help, rtts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_member_there_are_still_valid_metrics() {
        let mut text = String::new();
        let registry = registry(&Monitor::default());
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        assert!(text.contains("galera_sst_build_info{version="), "{text}");
        assert!(text.contains("galera_sst_reconnects_total 0"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn every_metric_has_a_name_of_its_own_and_a_sentence() {
        let names: std::collections::BTreeSet<_> = NUMBERS.iter().map(|n| n.name).collect();
        assert_eq!(names.len(), NUMBERS.len());
        assert!(NUMBERS.iter().all(|number| !number.help.is_empty()));
    }
}
