//! What happens to groups, as prose.

use galera_protocol::member::EndReason;

use crate::process::Kind;
use crate::tcp::Host;
use crate::world::World;

/// A running group of servers and guests.
pub(crate) fn group(seed: u64, servers: &[&str], guests: &[&str]) -> (World, Vec<Host>, Vec<Host>) {
    let mut world = World::new(seed);
    let servers = world.add_all(servers, Kind::Data);
    let guests = world.add_all(guests, Kind::Ours);
    world.found(servers[0]);
    world.run_seconds(2);
    world.start_all(&servers[1..]);
    world.expect_whole(60);
    world.start_all(&guests);
    world.expect_whole(60);
    (world, servers, guests)
}

#[test]
fn a_group_forms_and_guests_join_it() {
    for seed in 0..5 {
        group(seed, &["n1", "n2", "n3"], &["z1", "z2"]);
    }
}

#[test]
fn a_guest_that_leaves_is_let_go_and_the_group_stays_primary() {
    for seed in 0..5 {
        let (mut world, servers, guests) = group(seed, &["n1", "n2"], &["z1"]);
        world.leave(guests[0]);
        world.expect(2, "left", |world| !world.is_running(guests[0]));
        assert_eq!(world.machines[guests[0]].endings, [EndReason::Left]);
        assert_eq!(world.machines[guests[0]].saved, None);
        world.expect_whole(5);
        assert!(servers.iter().all(|server| world.is_primary(*server)));
    }
}
