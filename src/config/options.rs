//! Galera's provider options: `key=value;key=value`, and the query part of a group address.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use super::without_effect::{self, Verdict};

/// Why an option is refused; always names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A piece is not `key=value`.
    #[error("option {text:?} is not key=value")]
    Form {
        /// The piece.
        text: String,
    },
    /// Nobody knows it.
    #[error("unknown option {key}")]
    Unknown {
        /// Its key.
        key: String,
    },
    /// The value cannot be read.
    #[error("option {key}={value}: expected {expected}")]
    Value {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
        /// What would be a value.
        expected: String,
    },
    /// It would let a member without data harm the group.
    #[error("option {key} is refused: {why}")]
    Refused {
        /// Its key.
        key: String,
        /// What it would do.
        why: &'static str,
    },
}

/// Options by key. Each is taken out by whoever understands it; what is left is unknown.
#[derive(Clone, Debug, Default)]
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Parses `key=value;…`; a later value of a key wins.
    pub fn parse(text: &str) -> Result<Self, OptionError> {
        let mut options = Self::default();
        for piece in text.split(';').map(str::trim).filter(|piece| !piece.is_empty()) {
            let (key, value) =
                piece.split_once('=').ok_or_else(|| OptionError::Form { text: piece.into() })?;
            options.set(key.trim(), value.trim());
        }
        Ok(options)
    }

    /// Sets one option; it wins over an earlier value.
    pub fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.into(), value.into());
    }

    /// Takes an option as text.
    pub fn text(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Takes a duration.
    pub fn duration(&mut self, key: &str) -> Result<Option<Duration>, OptionError> {
        self.taken(key, "a duration such as PT3S or 3", super::duration::parse)
    }

    /// Takes a switch: yes, no, true, false, on, off, 1, 0.
    pub fn switch(&mut self, key: &str) -> Result<Option<bool>, OptionError> {
        self.taken(key, "yes or no", switch)
    }

    /// Takes a whole number within a range.
    pub fn number<T>(
        &mut self,
        key: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, OptionError>
    where
        T: FromStr + PartialOrd + Display,
    {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.taken(key, &expected, |value| {
            value.parse().ok().filter(|number| range.contains(number))
        })
    }

    /// Refuses an option unless its value is `harmless`.
    pub fn refuse(
        &mut self,
        key: &str,
        harmless: bool,
        why: &'static str,
    ) -> Result<(), OptionError> {
        match self.switch(key)? {
            Some(value) if value != harmless => Err(OptionError::Refused { key: key.into(), why }),
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses an option with any other value than this one.
    pub fn refuse_unless(
        &mut self,
        key: &str,
        harmless: &str,
        why: &'static str,
    ) -> Result<(), OptionError> {
        match self.text(key) {
            Some(value) if value != harmless => Err(OptionError::Refused { key: key.into(), why }),
            Some(_) | None => Ok(()),
        }
    }

    /// Ends: what nobody took is an error, unless it has no effect here and a possible value. So a
    /// server's own option string can be used as it is.
    pub fn finish(self) -> Result<(), OptionError> {
        for (key, value) in self.0 {
            match without_effect::judge(&key, &value) {
                Verdict::WithoutEffect => {
                    tracing::debug!(%key, "this option has no effect on a member without data");
                }
                Verdict::Unknown => return Err(OptionError::Unknown { key }),
                Verdict::Expected(expected) => {
                    return Err(OptionError::Value { key, value, expected });
                }
            }
        }
        Ok(())
    }

    fn taken<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.0.remove(key) else { return Ok(None) };
        match parse(&value) {
            Some(parsed) => Ok(Some(parsed)),
            None => Err(OptionError::Value { key: key.into(), value, expected: expected.into() }),
        }
    }
}

/// Reads a switch.
pub(super) fn switch(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" | "y" => Some(true),
        "no" | "false" | "off" | "0" | "n" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_typed_and_the_last_value_wins() {
        let mut options =
            Options::parse("evs.suspect_timeout=PT5S; pc.weight=1;pc.weight=0;").expect("valid");
        let timeout = options.duration("evs.suspect_timeout").expect("duration");
        assert_eq!(timeout, Some(Duration::from_secs(5)));
        assert_eq!(options.number("pc.weight", 0..=255), Ok(Some(0)));
        assert_eq!(options.finish(), Ok(()));
    }

    #[test]
    fn an_unknown_or_malformed_option_is_named() {
        let unknown = Options::parse("evs.suspect_timout=PT5S").expect("form").finish();
        assert_eq!(unknown, Err(OptionError::Unknown { key: "evs.suspect_timout".into() }));
        let error = Options::parse("pc.weight").expect_err("form");
        assert_eq!(error, OptionError::Form { text: "pc.weight".into() });
        let error = Options::parse("pc.weight=256").expect("form").number("pc.weight", 0..=255);
        let text = error.expect_err("range").to_string();
        assert_eq!(text, "option pc.weight=256: expected a whole number from 0 to 255");
    }

    #[test]
    fn a_servers_own_options_are_skipped() {
        let options = Options::parse("gcache.size=1G;repl.proto_max=11;gcs.fc_limit=16");
        assert_eq!(options.expect("form").finish(), Ok(()));
    }

    #[test]
    fn an_option_that_could_harm_the_group_is_refused() {
        let mut options = Options::parse("pc.ignore_sb=true").expect("form");
        let refused = options.refuse("pc.ignore_sb", false, "why");
        assert!(matches!(refused, Err(OptionError::Refused { .. })));
    }
}
