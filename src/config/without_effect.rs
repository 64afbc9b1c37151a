//! Options of Galera that have no effect on a member without data, or none here. Their values are
//! checked all the same: a mistyped one would surprise somebody on the servers that it was meant for.

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    Switch,
    /// A duration of at least so many milliseconds.
    Duration(u64),
    /// A whole number, perhaps with a unit (K, M, G, T).
    Number(u64, u64),
    /// A number that need not be whole, from 0 to this.
    Fraction(f64),
    /// Bits, in any usual notation.
    Mask,
    /// A number of bytes, or `auto`.
    Buffer,
}

use Kind::{Buffer, Duration, Fraction, Mask, Number, Switch, Text, Word};

const KNOWN: [(&str, Kind); 51] = [
    ("allocator.disk_pages_encryption", Switch),
    ("allocator.encryption_cache_page_size", Number(0, u64::MAX)),
    ("allocator.encryption_cache_size", Number(0, u64::MAX)),
    ("base_dir", Text),
    ("base_host", Text),
    ("cert.log_conflicts", Switch),
    ("cert.max_length", Number(0, u64::MAX)),
    ("cert.length_check", Number(0, u64::MAX)),
    ("cert.optimistic_pa", Switch),
    ("debug", Switch),
    ("evs.causal_keepalive_period", Duration(0)),
    ("evs.debug_log_mask", Mask),
    ("evs.info_log_mask", Mask),
    ("evs.stats_report_period", Duration(1000)),
    ("gcache.dir", Text),
    ("gcache.encryption", Switch),
    ("gcache.encryption_cache_page_size", Number(0, u64::MAX)),
    ("gcache.encryption_cache_size", Number(0, u64::MAX)),
    ("gcache.freeze_purge_at_seqno", Text),
    ("gcache.keep_pages_count", Number(0, u64::MAX)),
    ("gcache.keep_pages_size", Number(0, u64::MAX)),
    ("gcache.keep_plaintext_size", Number(0, u64::MAX)),
    ("gcache.mem_size", Number(0, u64::MAX)),
    ("gcache.name", Text),
    ("gcache.page_size", Number(0, u64::MAX)),
    ("gcache.recover", Switch),
    ("gcache.size", Number(0, u64::MAX)),
    ("gcs.check_appl_proto", Switch),
    ("gcs.fc_debug", Number(0, u64::MAX)),
    ("gcs.fc_factor", Fraction(1.0)),
    ("gcs.fc_limit", Number(0, u64::MAX)),
    ("gcs.fc_master_slave", Switch),
    ("gcs.fc_single_primary", Switch),
    ("gcs.fc_auto_evict_threshold", Fraction(1.0)),
    ("gcs.fc_auto_evict_window", Number(0, u64::MAX)),
    ("gcs.max_packet_size", Number(1, u64::MAX)),
    ("gcs.max_throttle", Fraction(1.0)),
    ("gcs.recv_q_hard_limit", Number(0, u64::MAX)),
    ("gcs.recv_q_soft_limit", Fraction(1.0)),
    ("gcs.stateless", Switch),
    ("gcs.sync_donor", Switch),
    ("gcs.vote_policy", Number(0, 255)),
    ("ist.recv_addr", Text),
    ("ist.recv_bind", Text),
    ("pc.checksum", Switch),
    ("pc.wait_restored_prim_timeout", Duration(0)),
    ("protonet.backend", Word(&["asio"])),
    ("protonet.version", Number(0, 0)),
    ("signal", Text),
    ("socket.recv_buf_size", Buffer),
    ("socket.send_buf_size", Buffer),
];

/// Those of the replication layer, which only servers have.
const REPLICATION: [(&str, Kind); 5] = [
    ("repl.causal_read_timeout", Duration(0)),
    ("repl.commit_order", Number(0, 3)),
    ("repl.key_format", Word(&["flat8", "flat8a", "flat16", "flat16a"])),
    ("repl.max_ws_size", Number(1024, 0x7fff_ffff)),
    ("repl.proto_max", Number(0, 255)),
];

/// What is known of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nobody has it.
    Unknown,
    /// It may be ignored.
    WithoutEffect,
    /// Its value is none.
    Expected(String),
}

/// Judges an option that no layer of ours has taken.
pub(super) fn judge(key: &str, value: &str) -> Verdict {
    let mut known = KNOWN.iter().chain(&REPLICATION);
    match known.find(|(name, _)| *name == key) {
        None => Verdict::Unknown,
        Some((_, kind)) if kind.admits(value) => Verdict::WithoutEffect,
        Some((_, kind)) => Verdict::Expected(kind.expectation()),
    }
}

impl Kind {
    fn admits(self, value: &str) -> bool {
        match self {
            Text => true,
            Word(words) => words.contains(&value.to_ascii_lowercase().as_str()),
            Switch => super::options::switch(value).is_some(),
            Duration(least) => super::duration::parse(value)
                .is_some_and(|time| time.as_millis() >= u128::from(least)),
            Number(least, most) => {
                number(value).is_some_and(|number| (least..=most).contains(&number))
            }
            Fraction(most) => {
                value.parse::<f64>().is_ok_and(|number| (0.0..=most).contains(&number))
            }
            Mask => mask(value).is_some(),
            Buffer => value.eq_ignore_ascii_case("auto") || number(value).is_some(),
        }
    }

    fn expectation(self) -> String {
        match self {
            Text => "a text".into(),
            Word(words) => format!("one of {}", words.join(", ")),
            Switch => "yes or no".into(),
            Duration(0) => "a duration such as PT3S or 3".into(),
            Duration(least) => format!("a duration of at least {least} ms, such as PT3S or 3"),
            Number(least, u64::MAX) => format!("a whole number from {least}"),
            Number(least, most) => format!("a whole number from {least} to {most}"),
            Fraction(most) => format!("a number from 0 to {most}"),
            Mask => "bits, such as 0x1".into(),
            Buffer => "auto, or a number of bytes".into(),
        }
    }
}

fn number(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|last: char| last.is_ascii_alphabetic());
    let factor = match value.get(digits.len()..)?.to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        "T" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn mask(value: &str) -> Option<u64> {
    match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_within_their_range_are_ignored() {
        for (key, value) in [
            ("gcache.size", "1G"),
            ("gcs.fc_factor", "0.5"),
            ("gcs.fc_limit", "16"),
            ("evs.debug_log_mask", "0x1"),
            ("repl.key_format", "FLAT8"),
            ("repl.commit_order", "3"),
            ("repl.causal_read_timeout", "PT30S"),
            ("socket.recv_buf_size", "auto"),
            ("protonet.backend", "asio"),
        ] {
            assert_eq!(judge(key, value), Verdict::WithoutEffect, "{key}={value}");
        }
    }

    #[test]
    fn values_out_of_their_range_are_told_what_was_expected() {
        for (key, value, expected) in [
            ("gcache.size", "big", "a whole number from 0"),
            ("gcache.size", "99999999999999T", "a whole number from 0"),
            ("gcs.fc_factor", "1.5", "a number from 0 to 1"),
            ("gcs.vote_policy", "256", "a whole number from 0 to 255"),
            ("repl.commit_order", "4", "a whole number from 0 to 3"),
            ("repl.key_format", "FLAT9", "one of flat8, flat8a, flat16, flat16a"),
            (
                "evs.stats_report_period",
                "PT0.5S",
                "a duration of at least 1000 ms, such as PT3S or 3",
            ),
            ("evs.info_log_mask", "0xzz", "bits, such as 0x1"),
            ("gcs.sync_donor", "perhaps", "yes or no"),
        ] {
            assert_eq!(judge(key, value), Verdict::Expected(expected.into()), "{key}={value}");
        }
    }

    #[test]
    fn what_nobody_has_is_unknown() {
        for key in ["repl.nonsense", "gcache.siz", "gcs", "", "evs.suspect_timout"] {
            assert_eq!(judge(key, "1"), Verdict::Unknown, "{key}");
        }
    }
}
