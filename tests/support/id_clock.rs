//! Makes our member the lowest or the highest of a group.
//!
//! A node's id is a version-1 UUID, and members are ordered by its bytes, which begin with the low
//! 32 bits of a clock of 100 ns: every 429.5 s the order of newcomers starts anew. A run of our
//! binary with a wall clock that is some seconds off (`faketime`) takes the wanted place.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Units of the clock per second.
const UNITS: u64 = 10_000_000;
/// One turn of the low 32 bits.
const TURN: u64 = 1 << 32;
/// The clock's units from 1582-10-15, where UUIDs begin, to 1970, modulo a turn.
const EPOCH: u64 = 0x01b2_1dd2_1381_4000 % TURN;
/// What must be left below and above the servers' ids, starting of three servers included.
const ROOM_BELOW: Duration = Duration::from_secs(20);
const ROOM_ABOVE: Duration = Duration::from_secs(60);

/// A place among the members of a view.
#[derive(Clone, Copy)]
pub(crate) enum Rank {
    /// The first: the member that represents the group.
    Lowest,
    /// The last.
    Highest,
}

/// Waits until servers that start now have ids with room for one of ours below and above.
pub(crate) fn wait_for_room() {
    let below = ROOM_BELOW.as_secs() * UNITS;
    let above = TURN - ROOM_ABOVE.as_secs() * UNITS;
    while !(below..above).contains(&now()) {
        thread::sleep(Duration::from_secs(1));
    }
}

/// A script that runs our binary so that its id has this rank among `ids`.
pub(crate) fn shifted_to(rank: Rank, ids: &[String]) -> String {
    let starts: Vec<u64> = ids.iter().map(|id| start_of(id)).collect();
    let lowest = starts.iter().copied().min().expect("a group has members");
    let highest = starts.iter().copied().max().expect("a group has members");
    let target = match rank {
        Rank::Lowest => lowest / 2,
        Rank::Highest => highest.midpoint(TURN),
    };
    let shift = (target + TURN - now()) % TURN / UNITS;
    format!("exec faketime --exclude-monotonic -f +{shift}s \"$@\"")
}

fn start_of(id: &str) -> u64 {
    let start = id.get(..8).expect("an id begins with eight digits");
    u64::from_str_radix(start, 16).expect("an id is hexadecimal")
}

fn now() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    let units = u64::try_from(since_1970.as_nanos() / 100).expect("a time before 2500");
    (units + EPOCH) % TURN
}
