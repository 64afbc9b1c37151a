//! What to break: rules in words.
//!
//! ```text
//!  delay=200ms type=JOIN
//!  drop type=INSTALL towards=server times=1
//!  corrupt layer=evs after=10 every=5
//! ```

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galera_protocol::describe::Description;

/// Longest delay: beyond it every member has given the other one up.
const DELAY_MAX: Duration = Duration::from_secs(600);

/// What is done to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It waits, and everything behind it.
    Delay(Duration),
    /// It never arrives.
    Drop,
    /// The connection ends before it.
    Cut,
    /// A bit of it is turned over; the checksum stays.
    Corrupt,
    /// It arrives after the next one.
    Reorder,
}

impl Fault {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delay(_) => "delayed",
            Self::Drop => "dropped",
            Self::Cut => "cut before",
            Self::Corrupt => "corrupted",
            Self::Reorder => "put behind the next one",
        }
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    fault: Fault,
    kind: Option<String>,
    layer: Option<String>,
    /// Some: only towards the server (true) or the client.
    towards_server: Option<bool>,
    after: u64,
    every: u64,
    times: u64,
    /// Messages that it fits so far.
    seen: AtomicU64,
}

/// A rule that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// It does not begin with something to do.
    #[error("{0:?} is none of delay=NUMBERms, drop, cut, corrupt, reorder")]
    Fault(String),
    /// A condition is not known.
    #[error("{0:?} is none of type=, layer=, towards=server|client, after=, every=, times=")]
    Condition(String),
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let fault = fault(words.next().unwrap_or_default())?;
        let mut rule = Self {
            fault,
            kind: None,
            layer: None,
            towards_server: None,
            after: 0,
            every: 1,
            times: u64::MAX,
            seen: AtomicU64::new(0),
        };
        words.try_for_each(|word| rule.condition(word))?;
        Ok(rule)
    }
}

fn fault(word: &str) -> Result<Fault, RuleError> {
    let refuse = || RuleError::Fault(word.to_owned());
    match word {
        "drop" => Ok(Fault::Drop),
        "cut" => Ok(Fault::Cut),
        "corrupt" => Ok(Fault::Corrupt),
        "reorder" => Ok(Fault::Reorder),
        _ => {
            let number = word.strip_prefix("delay=").and_then(|rest| rest.strip_suffix("ms"));
            let millis = number.and_then(|number| number.parse().ok()).ok_or_else(refuse)?;
            let delay = Duration::from_millis(millis);
            if delay > DELAY_MAX { Err(refuse()) } else { Ok(Fault::Delay(delay)) }
        }
    }
}

impl Rule {
    fn condition(&mut self, word: &str) -> Result<(), RuleError> {
        let refuse = || RuleError::Condition(word.to_owned());
        let (name, value) = word.split_once('=').ok_or_else(refuse)?;
        let number = || value.parse::<u64>().map_err(|_| refuse());
        match (name, value) {
            ("type", kind) => self.kind = Some(kind.to_owned()),
            ("layer", layer) => self.layer = Some(layer.to_owned()),
            ("towards", "server") => self.towards_server = Some(true),
            ("towards", "client") => self.towards_server = Some(false),
            ("after", _) => self.after = number()?,
            ("every", _) => self.every = number()?.max(1),
            ("times", _) => self.times = number()?,
            _ => return Err(refuse()),
        }
        Ok(())
    }

    fn fits(&self, description: &Description, to_server: bool) -> bool {
        let last = description.sections.last();
        let is_layer = |layer: &String| last.is_some_and(|section| section.layer.name() == *layer);
        let is_kind = |kind: &String| description.sections.iter().any(|s| s.kind == *kind);
        self.towards_server.is_none_or(|wanted| wanted == to_server)
            && self.layer.as_ref().is_none_or(is_layer)
            && self.kind.as_ref().is_none_or(is_kind)
    }

    /// Whether it is this one's turn.
    fn applies(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        let Some(late) = seen.checked_sub(self.after) else { return false };
        late % self.every == 0 && late / self.every < self.times
    }
}

/// All rules of a proxy; they count over all its connections.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// In this order; the first that applies to a message decides.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// What is done to a message.
    pub fn judge(&self, description: &Description, to_server: bool) -> Option<Fault> {
        let fitting = self.0.iter().filter(|rule| rule.fits(description, to_server));
        fitting.filter(|rule| rule.applies()).map(|rule| rule.fault).next()
    }
}

#[cfg(test)]
mod tests {
    use galera_protocol::describe::{Layer, Section};

    use super::*;

    fn message(layer: Layer, kind: &'static str) -> Description {
        Description { sections: vec![Section { layer, kind, fields: Vec::new() }], fault: None }
    }

    fn rules(text: &str) -> Rules {
        Rules::new(vec![text.parse().expect("a rule")])
    }

    #[test]
    fn a_rule_counts_what_fits_and_takes_its_turns() {
        let rules = rules("drop type=JOIN after=1 every=2 times=2");
        let join = message(Layer::Evs, "JOIN");
        let judged: Vec<bool> = (0..7).map(|_| rules.judge(&join, true).is_some()).collect();
        assert_eq!(judged, [false, true, false, true, false, false, false]);
        assert_eq!(rules.judge(&message(Layer::Evs, "GAP"), true), None);
    }

    #[test]
    fn direction_and_layer_are_conditions_too() {
        let rules = rules("delay=20ms,layer=gcs,towards=client");
        let sync = message(Layer::Gcs, "SYNC");
        assert_eq!(rules.judge(&sync, true), None);
        assert_eq!(rules.judge(&sync, false), Some(Fault::Delay(Duration::from_millis(20))));
    }

    #[test]
    fn nonsense_is_refused_and_named() {
        let fault = |text: &str| text.parse::<Rule>().expect_err("nonsense").to_string();
        assert!(fault("explode").contains("\"explode\""));
        assert!(fault("delay=20").contains("delay=20"));
        assert!(fault("drop when=now").contains("when=now"));
        assert!(fault("drop every=x").contains("every=x"));
    }
}
