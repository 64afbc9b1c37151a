//! Options of the EVS layer, with Galera's names and defaults (spec 02 §9.1).

use crate::planted::Planted;
use crate::time::Duration;

/// Options. Galera's option string `evs.suspect_timeout=PT5S` is the field `suspect_timeout`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The highest protocol version that we announce (`evs.version`).
    pub version: u8,
    /// How long views and evictions are remembered (`evs.view_forget_timeout`).
    pub view_forget_timeout: Duration,
    /// A node without progress for so long is suspected. Shorter finds crashes earlier and expels
    /// slow nodes more often (`evs.suspect_timeout`).
    pub suspect_timeout: Duration,
    /// A node without progress for so long is given up whatever others think
    /// (`evs.inactive_timeout`).
    pub inactive_timeout: Duration,
    /// How often suspicion is computed (`evs.inactive_check_period`).
    pub inactive_check_period: Duration,
    /// An idle member shows that it lives this often (`evs.keepalive_period`).
    pub keepalive_period: Duration,
    /// JOIN, INSTALL and gaps are repeated this often (`evs.join_retrans_period`).
    pub join_retrans_period: Duration,
    /// A membership change that takes longer is started over without those who do not agree
    /// (`evs.install_timeout`).
    pub install_timeout: Duration,
    /// After so many of those the node isolates itself for a while (`evs.max_install_timeouts`).
    pub max_install_timeouts: u32,
    /// How far queued messages may run ahead of what everybody has (`evs.send_window`).
    pub send_window: u32,
    /// The same for messages that need not queue (`evs.user_send_window`).
    pub user_send_window: u32,
    /// Added to the keepalive period before a node counts as delayed (`evs.delay_margin`).
    pub delay_margin: Duration,
    /// How long a delay is remembered (`evs.delayed_keep_period`).
    pub delayed_keep_period: Duration,
    /// A node that was delayed so often may be evicted; 0 turns that off (`evs.auto_evict`).
    pub auto_evict: u8,
    /// Bytes of one sender's messages held beyond what everybody has. More are dropped, and asked
    /// for again later. Must exceed the senders' window × 32 KiB plus their 1 MiB queue.
    pub held_bytes_per_sender_max: usize,
    /// What to do at the start, when nobody answers.
    pub start: Start,
    /// Leaves out the rules by which we are more careful than servers: to simulate mixed groups,
    /// and to show that a simulation without the rules fails.
    #[cfg(any(test, feature = "testing"))]
    pub imitates_servers: bool,
    /// A bug on purpose.
    pub planted: Planted,
}

/// How a member gets its first view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Repeats its JOIN until a member of a group names it. Never forms a group of its own.
    JoinGroup,
    /// Forms a group of its own at once.
    Bootstrap,
    /// Forms a group of its own if nobody answers the first JOIN, and merges later, as servers do.
    AloneIfUnanswered,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: 1,
            view_forget_timeout: Duration::from_secs(24 * 3600),
            suspect_timeout: Duration::from_secs(5),
            inactive_timeout: Duration::from_secs(15),
            inactive_check_period: Duration::from_millis(500),
            keepalive_period: Duration::from_secs(1),
            join_retrans_period: Duration::from_secs(1),
            install_timeout: Duration::from_millis(7500),
            max_install_timeouts: 3,
            send_window: 4,
            user_send_window: 2,
            delay_margin: Duration::from_secs(1),
            delayed_keep_period: Duration::from_secs(30),
            auto_evict: 0,
            held_bytes_per_sender_max: 4 << 20,
            start: Start::JoinGroup,
            #[cfg(any(test, feature = "testing"))]
            imitates_servers: false,
            planted: Planted::default(),
        }
    }
}

impl Config {
    /// Checks the relations that a member needs to work (spec 02 §5.4).
    pub fn check(&self) -> Result<(), ConfigError> {
        let period_min = Duration::from_millis(100);
        let rules = [
            (self.version <= 1, "evs.version must be 0 or 1"),
            (
                self.view_forget_timeout >= Duration::from_secs(1),
                "evs.view_forget_timeout must be at least PT1S",
            ),
            (self.suspect_timeout >= period_min, "evs.suspect_timeout must be at least PT0.1S"),
            (
                self.suspect_timeout < self.inactive_timeout,
                "evs.inactive_timeout must be longer than evs.suspect_timeout",
            ),
            (
                !self.inactive_check_period.is_zero()
                    && self.inactive_check_period * 2 <= self.suspect_timeout,
                "evs.inactive_check_period must be at most half of evs.suspect_timeout",
            ),
            (
                self.keepalive_period >= period_min
                    && self.keepalive_period * 3 <= self.suspect_timeout,
                "evs.keepalive_period must be from PT0.1S to a third of evs.suspect_timeout",
            ),
            (
                self.join_retrans_period >= period_min,
                "evs.join_retrans_period must be at least PT0.1S",
            ),
            (
                self.install_timeout >= self.keepalive_period
                    && self.install_timeout <= self.inactive_timeout,
                "evs.install_timeout must be from evs.keepalive_period to evs.inactive_timeout",
            ),
            (
                self.install_timeout > self.suspect_timeout,
                "evs.install_timeout must be longer than evs.suspect_timeout",
            ),
            (
                self.user_send_window >= 1 && self.user_send_window <= self.send_window,
                "evs.user_send_window must be from 1 to evs.send_window",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ConfigError(rule)),
            None => Ok(()),
        }
    }
}

impl Config {
    /// Whether we follow the rules that servers do not have (spec 02 T4 and what it grew into).
    pub(super) fn exceeds_servers(&self) -> bool {
        #[cfg(any(test, feature = "testing"))]
        return !self.imitates_servers;
        #[cfg(not(any(test, feature = "testing")))]
        return true;
    }
}

/// A relation between options that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(&'static str);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_used() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn times_that_cannot_work_together_are_refused_by_name() {
        let second = Duration::from_secs(1);
        let refused = |config: Config| config.check().unwrap_err().to_string();
        let slow_check = Config { inactive_check_period: second * 3, ..Config::default() };
        assert!(refused(slow_check).starts_with("evs.inactive_check_period"));
        let slow_keepalive = Config { keepalive_period: second * 2, ..Config::default() };
        assert!(refused(slow_keepalive).starts_with("evs.keepalive_period"));
        let hasty_install = Config { install_timeout: second * 5, ..Config::default() };
        assert!(refused(hasty_install).starts_with("evs.install_timeout"));
        let window = Config { user_send_window: 5, ..Config::default() };
        assert!(refused(window).starts_with("evs.user_send_window"));
    }
}
