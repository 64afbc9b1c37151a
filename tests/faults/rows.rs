//! The faults: what is done, what the rules of quorum demand, what came of it.

use std::{
    env, thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    lab::{ALL, GARBD, Lab, OURS, SERVERS},
    support::server::Server,
    wire::Place,
};

/// How long after a fault the servers may take to see it: `evs.suspect_timeout`, a membership
/// change, and another one where an install timed out.
const NOTICE: Duration = Duration::from_secs(30);

/// How long the whole group may take to come together again.
const RETURN: Duration = Duration::from_secs(90);

/// By so much ours may come back later than garbd in the same fault: membership changes have
/// periods of a second or more, and who comes first is a matter of chance.
const EQUAL: Duration = Duration::from_secs(4);

/// Writers wait for a lost member as long as `evs.suspect_timeout`, and for one membership change.
const STALL_MAX: Duration = Duration::from_secs(12);

/// Makes the flapping of each link last this many seconds instead of one cycle.
const FLAPPING: &str = "GALERA_SST_FLAPPING_SECONDS";

/// Seconds that a flapping link is down, one after the other: below, around and above the group's
/// own time-outs.
const CUTS: [u64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// How long it is up in between.
const UNCUT: Duration = Duration::from_secs(2);

/// About the time of one cycle.
const FLAPPING_CYCLE: Duration = Duration::from_secs(52);

/// A line of the table.
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) demanded: &'static str,
    pub(crate) group: String,
    pub(crate) ours: String,
    pub(crate) verdict: Verdict,
}

/// What to think of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// Ours took no part.
    Comparison,
}

/// What a scenario observed: about the group, and about ours beside garbd.
type Seen = Result<(String, String), String>;

/// A fault, in words and in deeds.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) demanded: &'static str,
    run: fn(&mut Lab) -> Seen,
    /// Shows what garbd does where ours takes no part: nothing of ours can be wrong.
    is_comparison: bool,
}

const fn fault(name: &'static str, demanded: &'static str, run: fn(&mut Lab) -> Seen) -> Fault {
    Fault { name, demanded, run, is_comparison: false }
}

const fn comparison(
    name: &'static str,
    demanded: &'static str,
    run: fn(&mut Lab) -> Seen,
) -> Fault {
    Fault { name, demanded, run, is_comparison: true }
}

pub(crate) const FAULTS: [Fault; 24] = [
    fault("one server cut off", "4 votes of 5 stay Primary, it does not", |lab| {
        split(lab, &[3], &[(1, true), (2, true), (3, false)])
    }),
    fault("one server cannot be heard", "the others stay Primary", |lab| one_way(lab, 3, true)),
    fault("one server hears nobody", "the others stay Primary", |lab| one_way(lab, 3, false)),
    fault("a server and ours cut off from the rest", "3 votes of 5 stay Primary", |lab| {
        split(lab, &[1, OURS], &[(1, false), (2, true), (3, true)])
    }),
    fault("one server with both arbitrators", "3 votes of 5 stay Primary", |lab| {
        split(lab, &[3, GARBD, OURS], &[(1, false), (2, false), (3, true)])
    }),
    fault("all five apart", "nobody is Primary until it is over", |lab| {
        apart(lab, &[(1, false), (2, false), (3, false)])
    }),
    fault("garbd cut off, then ours", "the servers stay Primary", |lab| {
        beside(lab, |lab, place| lab.part(&[place]), |lab, _| lab.heal())
    }),
    fault("ours and one server without a way to each other", "all five stay Primary", relayed),
    fault("30 % of all packets lost for 20 s", "Primary afterwards at the latest", |lab| {
        weather(lab, 30, Duration::ZERO, false)
    }),
    fault("10 % of all packets lost for 20 s", "Primary afterwards at the latest", |lab| {
        weather(lab, 10, Duration::ZERO, false)
    }),
    fault("200 ms delay for 20 s", "all five stay Primary", |lab| {
        weather(lab, 0, Duration::from_millis(200), true)
    }),
    fault("a server stopped (SIGSTOP) for 15 s", "the others stay Primary", |lab| {
        frozen_server(lab, 3)
    }),
    fault("garbd stopped for 15 s, then ours", "the servers stay Primary", |lab| {
        let stop = |lab: &mut Lab, place| lab.signal(place, Signal::STOP);
        beside(lab, stop, |lab, place| lab.signal(place, Signal::CONT))
    }),
    fault("kill -9 of the representative's server", "the others stay Primary", |lab| {
        let (_, place) = lab.representative();
        killed_server(lab, place)
    }),
    fault("kill -9 of another server", "the others stay Primary", |lab| {
        let (_, first) = lab.representative();
        let other = SERVERS.into_iter().rev().find(|place| *place != first).unwrap_or(SERVERS[2]);
        killed_server(lab, other)
    }),
    fault("kill -9 of garbd, then of ours", "the servers stay Primary", |lab| {
        beside(lab, Lab::kill, Lab::bring_back)
    }),
    fault("rolling restart of all servers", "Primary all the time", rolling_restart),
    fault("all servers killed at once, ours remains", "Primary again by itself", |lab| {
        outage_before(lab, OURS, GARBD)
    }),
    fault("servers and garbd killed at once", "Primary again by itself", |lab| {
        outage(lab, &[1, 2, 3, GARBD])
    }),
    fault("flapping link: garbd's, then ours", "the servers stay Primary", flapping),
    fault("ours is the representative: kill -9", "the servers stay Primary", |lab| {
        representative(lab, Lab::kill, Lab::bring_back)
    }),
    fault("ours is the representative: stopped for 15 s", "the servers stay Primary", |lab| {
        let stop = |lab: &mut Lab, place| lab.signal(place, Signal::STOP);
        representative(lab, stop, |lab, place| lab.signal(place, Signal::CONT))
    }),
    fault("ours is the representative: cut off", "the servers stay Primary", |lab| {
        representative(lab, |lab, place| lab.part(&[place]), |lab, _| lab.heal())
    }),
    comparison("all servers killed at once, garbd remains", "Primary again by itself", |lab| {
        outage_before(lab, GARBD, OURS)
    }),
];

impl Fault {
    /// Runs it, and waits until the group is whole again.
    pub(crate) fn run(&self, lab: &mut Lab) -> Row {
        let seen = (self.run)(lab);
        if self.is_comparison {
            return self.compared(seen);
        }
        lab.heal();
        let healed = lab.wait_whole(RETURN);
        let harm = lab.harm();
        let is_right = seen.is_ok() && healed.is_ok() && harm.is_none();
        let verdict = if is_right { Verdict::Right } else { Verdict::Wrong };
        let (group, ours) =
            seen.unwrap_or_else(|problem| (format!("WRONG: {problem}"), "-".into()));
        let healed = match healed {
            Ok(_) => String::new(),
            Err(problem) => format!("; NOT HEALED: {problem}"),
        };
        let harm = harm.map(|harm| format!("; HARM: {harm}")).unwrap_or_default();
        let group = format!("{group}{healed}{harm}");
        Row { fault: self.name, demanded: self.demanded, group, ours, verdict }
    }

    fn compared(&self, seen: Seen) -> Row {
        let group = match seen {
            Ok((group, _)) => group,
            Err(problem) => format!("not Primary: {problem}"),
        };
        let (ours, verdict) = ("took no part".into(), Verdict::Comparison);
        Row { fault: self.name, demanded: self.demanded, group, ours, verdict }
    }
}

/// Cuts a side off and lets it come back.
fn split(lab: &mut Lab, side: &[Place], expected: &[(Place, bool)]) -> Seen {
    lab.part(side);
    parted(lab, expected)
}

fn apart(lab: &mut Lab, expected: &[(Place, bool)]) -> Seen {
    for place in ALL {
        lab.part(&[place]);
    }
    parted(lab, expected)
}

fn parted(lab: &mut Lab, expected: &[(Place, bool)]) -> Seen {
    let noticed = lab.wait_primary(expected, NOTICE)?;
    // What was reached must last: a second opinion would come within an install time-out.
    thread::sleep(Duration::from_secs(8));
    lab.wait_primary(expected, Duration::ZERO)?;
    lab.heal();
    Ok((format!("as demanded after {}", seconds(noticed)), returned(lab)?))
}

/// How long garbd and ours took to be in the group again.
fn returned(lab: &mut Lab) -> Result<String, String> {
    let whole = lab.wait_whole(RETURN)?;
    Ok(format!("all five together after {}", seconds(whole)))
}

fn one_way(lab: &mut Lab, place: Place, is_mute: bool) -> Seen {
    let others: Vec<_> = ALL.into_iter().filter(|other| *other != place).collect();
    lab.weather(|weather| {
        weather.cut.extend(
            others.iter().map(|other| if is_mute { (place, *other) } else { (*other, place) }),
        );
    });
    parted(lab, &[(1, true), (2, true), (3, false)])
}

/// Ours and the first server cannot reach each other: the others pass their messages on.
fn relayed(lab: &mut Lab) -> Seen {
    lab.weather(|weather| weather.cut.extend([(1, OURS), (OURS, 1)]));
    let (steady, report) = lab.under_load(|lab| steady(lab, Duration::from_secs(25)));
    steady?;
    if report.committed == 0 {
        return Err("nothing was committed".into());
    }
    lab.heal();
    Ok((
        format!("Primary, {} commits, the longest {}", report.committed, seconds(report.longest)),
        "stayed a member through the others".into(),
    ))
}

/// All servers are primary at each look for so long.
fn steady(lab: &mut Lab, time: Duration) -> Result<(), String> {
    let everywhere = SERVERS.map(|place| (place, true));
    let until = Instant::now() + time;
    while Instant::now() < until {
        lab.wait_primary(&everywhere, Duration::ZERO)?;
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn weather(lab: &mut Lab, loss: u64, delay: Duration, must_be_steady: bool) -> Seen {
    lab.weather(|weather| (weather.loss_percent, weather.delay) = (loss, delay));
    let (steady, report) = lab.under_load(|lab| {
        let time = Duration::from_secs(20);
        let steady = steady(lab, time);
        if steady.is_err() && !must_be_steady {
            thread::sleep(time / 2);
        }
        lab.heal();
        steady
    });
    if must_be_steady {
        steady.clone()?;
    }
    let lost = if steady.is_ok() { "Primary all the time" } else { "lost it for a while" };
    Ok((format!("{lost}, {} commits", report.committed), returned(lab)?))
}

fn frozen_server(lab: &mut Lab, place: Place) -> Seen {
    lab.signal(place, Signal::STOP);
    let noticed = lab.wait_member(&Lab::name(place), false, NOTICE);
    let others: Vec<_> =
        SERVERS.into_iter().filter(|p| *p != place).map(|place| (place, true)).collect();
    let primary = lab.wait_primary(&others, NOTICE);
    thread::sleep(Duration::from_secs(8));
    lab.signal(place, Signal::CONT);
    let noticed = noticed?;
    primary?;
    Ok((format!("gone after {}, the others Primary", seconds(noticed)), returned(lab)?))
}

fn killed_server(lab: &mut Lab, place: Place) -> Seen {
    lab.kill(place);
    let others: Vec<_> =
        SERVERS.into_iter().filter(|p| *p != place).map(|place| (place, true)).collect();
    let watcher = usize::from(others[0].0) - 1;
    let started = Instant::now();
    while lab.members(watcher).contains(&Lab::name(place)) {
        if started.elapsed() > NOTICE {
            return Err("it is still a member".into());
        }
        thread::sleep(Duration::from_millis(100));
    }
    let noticed = started.elapsed();
    lab.wait_primary(&others, NOTICE)?;
    lab.bring_back(place);
    Ok((format!("gone after {}, the others Primary", seconds(noticed)), returned(lab)?))
}

/// What an arbitrator's fault cost, and how long it took to come back.
struct Cost {
    longest: Duration,
    back: Duration,
}

/// The same fault of garbd and of ours, one after the other, under the same load.
fn beside(lab: &mut Lab, strike: impl Fn(&mut Lab, Place), undo: impl Fn(&mut Lab, Place)) -> Seen {
    let garbds = strike_one(lab, GARBD, &strike, &undo)?;
    let ours = strike_one(lab, OURS, &strike, &undo)?;
    compare(&garbds, &ours)
}

fn strike_one(
    lab: &mut Lab,
    place: Place,
    strike: &impl Fn(&mut Lab, Place),
    undo: &impl Fn(&mut Lab, Place),
) -> Result<Cost, String> {
    let name = Lab::name(place);
    let (gone, report) = lab.under_load(|lab| {
        thread::sleep(Duration::from_secs(1));
        strike(lab, place);
        let gone = lab.wait_member(&name, false, NOTICE);
        let primary = lab.wait_primary(&SERVERS.map(|server| (server, true)), NOTICE);
        thread::sleep(Duration::from_secs(6));
        undo(lab, place);
        gone.and(primary)
    });
    gone?;
    let back = lab.wait_member(&name, true, RETURN)?;
    lab.wait_whole(RETURN)?;
    Ok(Cost { longest: report.longest, back })
}

/// A fault of ours while it decides for the whole group who is a member.
fn representative(
    lab: &mut Lab,
    strike: impl Fn(&mut Lab, Place),
    undo: impl Fn(&mut Lab, Place),
) -> Seen {
    lab.promote()?;
    let cost = strike_one(lab, OURS, &strike, &undo)?;
    let told =
        format!("writers waited {}, back after {}", seconds(cost.longest), seconds(cost.back));
    if cost.longest > STALL_MAX {
        return Err(told);
    }
    Ok(("Primary all the time".into(), told))
}

fn compare(garbds: &Cost, ours: &Cost) -> Seen {
    let told = format!(
        "garbd: writers waited {}, back after {}; ours: {}, {}",
        seconds(garbds.longest),
        seconds(garbds.back),
        seconds(ours.longest),
        seconds(ours.back),
    );
    if ours.longest > garbds.longest + EQUAL || ours.back > garbds.back + EQUAL {
        return Err(told);
    }
    Ok(("Primary all the time".into(), told))
}

fn rolling_restart(lab: &mut Lab) -> Seen {
    let mut last = Duration::ZERO;
    for index in 0..SERVERS.len() {
        lab.servers[index].stop();
        let others: Vec<_> = SERVERS
            .into_iter()
            .filter(|place| usize::from(*place) != index + 1)
            .map(|place| (place, true))
            .collect();
        lab.wait_primary(&others, NOTICE)?;
        lab.start_server(index);
        last = lab.wait_whole(RETURN)?;
    }
    Ok(("the others stayed Primary each time".into(), format!("all five after {}", seconds(last))))
}

/// Who is killed comes back with what it has saved; nobody helps.
fn outage(lab: &mut Lab, places: &[Place]) -> Seen {
    for place in places {
        lab.kill(*place);
    }
    // Long enough for those that are left to have seen it.
    thread::sleep(Duration::from_secs(12));
    for place in places {
        lab.bring_back(*place);
    }
    let whole = lab.wait_whole(RETURN)?;
    Ok((
        format!("Primary again by itself, {} after the start", seconds(whole)),
        "waited, and was there".into(),
    ))
}

/// An outage of all servers that only one of the arbitrators lives through.
fn outage_before(lab: &mut Lab, witness: Place, absent: Place) -> Seen {
    lab.dismiss(absent);
    lab.wait_whole(RETURN)?;
    let (group, _) = outage(lab, &SERVERS)?;
    lab.employ(absent);
    lab.wait_whole(RETURN)?;
    Ok((group, format!("{} waited, and was there", Lab::name(witness))))
}

/// The link of one arbitrator comes and goes, at intervals around the group's own time-outs.
fn flapping(lab: &mut Lab) -> Seen {
    let garbds = flap(lab, GARBD)?;
    let ours = flap(lab, OURS)?;
    compare(&garbds, &ours)
}

fn flap(lab: &mut Lab, place: Place) -> Result<Cost, String> {
    let wanted = env::var(FLAPPING).ok().and_then(|seconds| seconds.parse::<u64>().ok());
    // Whole cycles, so that garbd's link and ours go through the same.
    let cycles = wanted.map_or(1, |seconds| seconds.div_ceil(FLAPPING_CYCLE.as_secs()));
    let (primary, report) = lab.under_load(|lab| {
        let mut primary = Ok(Duration::ZERO);
        for _ in 0..cycles {
            for cut in CUTS {
                lab.part(&[place]);
                thread::sleep(Duration::from_secs(cut));
                lab.heal();
                thread::sleep(UNCUT);
                primary = primary.and(lab.wait_primary(&SERVERS.map(|s| (s, true)), NOTICE));
            }
        }
        primary
    });
    primary?;
    let back = lab.wait_member(&Lab::name(place), true, RETURN)?;
    lab.wait_whole(RETURN)?;
    Ok(Cost { longest: report.longest, back })
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
