//! The keep rules: pure decisions about times.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// How many backups stay, by rule. Times are UTC; weeks are ISO weeks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// The newest ones.
    pub last: u32,
    /// The newest of each of so many hours that have one.
    pub hourly: u32,
    /// Of so many days.
    pub daily: u32,
    /// Of so many weeks.
    pub weekly: u32,
    /// Of so many months.
    pub monthly: u32,
    /// Of so many years.
    pub yearly: u32,
}

/// One rule while backups are gone through from the newest to the oldest.
struct Rule {
    left: u32,
    period: fn(&DateTime) -> (i16, i16),
    last: Option<(i16, i16)>,
    is_each: bool,
}

impl Rule {
    fn keeps(&mut self, time: &DateTime) -> bool {
        let period = (self.period)(time);
        let is_new = self.is_each || self.last != Some(period);
        if self.left == 0 || !is_new {
            return false;
        }
        self.left -= 1;
        self.last = Some(period);
        true
    }
}

impl KeepRules {
    /// True if there is no rule at all: then everything stays.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn rules(&self) -> [Rule; 6] {
        let rule = |left, period| Rule { left, period, last: None, is_each: false };
        [
            Rule { is_each: true, ..rule(self.last, |_| (0, 0)) },
            rule(self.hourly, |time| {
                (time.year(), time.day_of_year() * 24 + i16::from(time.hour()))
            }),
            rule(self.daily, |time| (time.year(), time.day_of_year())),
            rule(self.weekly, |time| {
                let week = time.date().iso_week_date();
                (week.year(), i16::from(week.week()))
            }),
            rule(self.monthly, |time| (time.year(), i16::from(time.month()))),
            rule(self.yearly, |time| (time.year(), 0)),
        ]
    }

    /// Which of the backups of one group stay, by their times; given oldest first. With `keep_one`, the
    /// newest stays in any case.
    pub(super) fn choose(&self, times: &[Timestamp], keep_one: bool) -> Vec<bool> {
        if self.is_empty() {
            return vec![true; times.len()];
        }
        let mut rules = self.rules();
        let mut keep: Vec<bool> = times
            .iter()
            .rev()
            .map(|time| {
                let time = civil(*time);
                // Every rule has to see every backup.
                rules.iter_mut().filter_map(|rule| rule.keeps(&time).then_some(())).count() > 0
            })
            .collect();
        keep.reverse();
        if let Some(newest) = keep.last_mut() {
            *newest |= keep_one;
        }
        keep
    }
}

fn civil(time: Timestamp) -> DateTime {
    time.to_zoned(TimeZone::UTC).datetime()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(times: &[&str]) -> Vec<Timestamp> {
        times.iter().map(|time| format!("{time}Z").parse().expect("valid time")).collect()
    }

    fn kept<'a>(rules: KeepRules, times: &[&'a str]) -> Vec<&'a str> {
        let keep = rules.choose(&parsed(times), true);
        times.iter().zip(keep).filter(|(_, keep)| *keep).map(|(time, _)| *time).collect()
    }

    const TIMES: [&str; 7] = [
        "20241231T230000",
        "20250101T010000",
        "20260101T000000",
        "20260130T120000",
        "20260131T080000",
        "20260131T081500",
        "20260131T090000",
    ];

    #[test]
    fn each_rule_keeps_the_newest_of_its_periods() {
        let rules = KeepRules::default;
        assert_eq!(kept(KeepRules { last: 2, ..rules() }, &TIMES), TIMES[5..]);
        assert_eq!(kept(KeepRules { hourly: 2, ..rules() }, &TIMES), TIMES[5..]);
        assert_eq!(kept(KeepRules { daily: 2, ..rules() }, &TIMES), [TIMES[3], TIMES[6]]);
        assert_eq!(kept(KeepRules { weekly: 2, ..rules() }, &TIMES), [TIMES[2], TIMES[6]]);
        assert_eq!(kept(KeepRules { monthly: 2, ..rules() }, &TIMES), [TIMES[1], TIMES[6]]);
        assert_eq!(
            kept(KeepRules { yearly: 9, ..rules() }, &TIMES),
            [TIMES[0], TIMES[1], TIMES[6]]
        );
    }

    #[test]
    fn rules_add_up_and_none_keeps_everything() {
        let rules = KeepRules { last: 1, yearly: 2, ..KeepRules::default() };
        assert_eq!(kept(rules, &TIMES), [TIMES[1], TIMES[6]]);
        assert_eq!(kept(KeepRules::default(), &TIMES), TIMES);
    }

    /// The last days of a December belong to the first week of the next year.
    #[test]
    fn a_week_across_the_turn_of_the_year_is_one_week() {
        let times = ["20241230T000000", "20250101T000000"];
        let rules = KeepRules { weekly: 5, ..KeepRules::default() };
        assert_eq!(kept(rules, &times), [times[1]]);
    }

    #[test]
    fn any_rule_keeps_the_newest() {
        let rules = KeepRules { last: 1, ..KeepRules::default() };
        assert_eq!(rules.choose(&parsed(&TIMES[..1]), true), [true]);
        assert_eq!(rules.choose(&[], true), Vec::<bool>::new());
    }
}
