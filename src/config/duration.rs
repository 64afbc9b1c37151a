//! Galera's durations: ISO 8601 (`PT3S`, `PT0.5S`, `P1DT2H`) or a plain number of seconds.

use std::time::Duration;

const DAY: f64 = 86_400.0;

/// A year counts 12 months of 30 days, as Galera counts it.
const DATE_UNITS: [(char, f64); 3] = [('Y', 360.0 * DAY), ('M', 30.0 * DAY), ('D', DAY)];
const TIME_UNITS: [(char, f64); 3] = [('H', 3600.0), ('M', 60.0), ('S', 1.0)];

/// Parses a duration; `None` if the text is not one, is negative or too long.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let seconds = match text.strip_prefix('P') {
        None => number(text)?,
        Some(period) => iso(period)?,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn iso(period: &str) -> Option<f64> {
    let (date, time) = match period.split_once('T') {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (period, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    Some(sum(date, &DATE_UNITS)? + sum(time, &TIME_UNITS)?)
}

/// Adds up `number unit` pairs; units must come in the order of `units`, each once.
fn sum(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let (mut total, mut next) = (0.0, 0);
    while !text.is_empty() {
        let at = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (digits, rest) = text.split_at(at);
        let unit = rest.chars().next()?;
        let found = units.iter().skip(next).position(|(letter, _)| *letter == unit)?;
        next += found + 1;
        total += number(digits)? * units[next - 1].1;
        text = &rest[unit.len_utf8()..];
    }
    Some(total)
}

fn number(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_and_plain_durations_are_read_as_galera_reads_them() {
        let cases = [
            ("PT3S", 3.0),
            ("PT0.5S", 0.5),
            ("PT7.5S", 7.5),
            ("PT1M30S", 90.0),
            ("P1DT2H", DAY + 7200.0),
            ("P1Y", 360.0 * DAY),
            ("P1M", 30.0 * DAY),
            ("2.5", 2.5),
            ("15", 15.0),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "P", "PT", "PTS", "PT3", "3S", "-1", "PT-3S", "PT3S3S", "PT1S1M", "inf"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
