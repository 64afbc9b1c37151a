//! A network of namespaces whose every packet passes through this process: it loses, delays and
//! withholds what it is told to, per direction.
//!
//! Each namespace has one point-to-point device; the other end is a file descriptor here. That needs
//! root and `/dev/net/tun`, and nothing of the kernel's traffic control, which not every kernel has.

use std::{
    collections::{BTreeSet, BinaryHeap},
    net::Ipv4Addr,
    process::Command,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// The largest packet: the devices' MTU, and some.
const PACKET_BYTES: usize = 2048;

/// Packets on their way; more are lost, as in any network.
const IN_FLIGHT_MAX: usize = 20_000;

/// A node's place in the network: the last number of its address.
pub(crate) type Place = u8;

/// What happens to packets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    /// Directions in which nothing passes.
    pub(crate) cut: BTreeSet<(Place, Place)>,
    /// Of a hundred packets so many are lost.
    pub(crate) loss_percent: u64,
    /// How long each one takes.
    pub(crate) delay: Duration,
}

/// The network. Dropping it removes the namespaces.
pub(crate) struct Wire {
    shared: Arc<Shared>,
    names: Vec<String>,
}

struct Shared {
    devices: Vec<SyncDevice>,
    weather: Mutex<Weather>,
    late: Mutex<BinaryHeap<Late>>,
    has_late: Condvar,
}

/// A packet that is not due yet; the earliest is the greatest.
struct Late {
    due: Instant,
    to: usize,
    packet: Vec<u8>,
}

impl Wire {
    /// Makes a namespace for each of `count` nodes; says why if that is not possible here.
    pub(crate) fn new(count: Place) -> Result<Self, String> {
        let mut wire = WireInTheMaking { devices: Vec::new(), names: Vec::new() };
        for place in 1..=count {
            wire.add(place)?;
        }
        let shared = Arc::new(Shared {
            devices: std::mem::take(&mut wire.devices),
            weather: Mutex::default(),
            late: Mutex::default(),
            has_late: Condvar::new(),
        });
        for from in 0..shared.devices.len() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.carry(from));
        }
        let postman = Arc::clone(&shared);
        thread::spawn(move || postman.deliver_late());
        Ok(Self { shared, names: std::mem::take(&mut wire.names) })
    }

    /// The name of a node's namespace.
    pub(crate) fn namespace(&self, place: Place) -> &str {
        &self.names[usize::from(place) - 1]
    }

    /// Changes what happens to packets from now on.
    pub(crate) fn set(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A node's address.
pub(crate) fn address(place: Place) -> Ipv4Addr {
    Ipv4Addr::new(10, 231, 77, place)
}

struct WireInTheMaking {
    devices: Vec<SyncDevice>,
    names: Vec<String>,
}

impl WireInTheMaking {
    fn add(&mut self, place: Place) -> Result<(), String> {
        let name = format!("gst-{}-{place}", std::process::id());
        let device = format!("gst{place}x{}", std::process::id() % 100_000);
        ip(&["netns", "add", &name])?;
        self.names.push(name.clone());
        let made = DeviceBuilder::new().name(&device).layer(Layer::L3).build_sync();
        let made = made.map_err(|error| format!("make a TUN device (/dev/net/tun): {error}"))?;
        ip(&["link", "set", &device, "netns", &name])?;
        let local = format!("{}/24", address(place));
        ip(&["-n", &name, "addr", "add", &local, "dev", &device])?;
        ip(&["-n", &name, "link", "set", &device, "mtu", "1400", "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        self.devices.push(made);
        Ok(())
    }
}

impl Drop for WireInTheMaking {
    fn drop(&mut self) {
        remove(&self.names);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        remove(&self.names);
    }
}

fn remove(names: &[String]) {
    for name in names {
        ip(&["netns", "del", name]).ok();
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("run ip (package iproute2): {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {} (it takes root)", arguments.join(" "), said.trim()))
}

impl Shared {
    /// Carries what one node sends, until its device is gone.
    fn carry(&self, from: usize) {
        let mut chance = 0x9e37_79b9_7f4a_7c15_u64 ^ (from as u64 + 1);
        let mut packet = [0; PACKET_BYTES];
        while let Ok(length) = self.devices[from].recv(&mut packet) {
            let Some(to) = destination(&packet[..length], self.devices.len()) else { continue };
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            self.pass(from, to, chance, &packet[..length]);
        }
    }

    fn pass(&self, from: usize, to: usize, chance: u64, packet: &[u8]) {
        let delay = {
            let weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
            let way = (place(from), place(to));
            if weather.cut.contains(&way) || chance % 100 < weather.loss_percent {
                return;
            }
            weather.delay
        };
        if delay.is_zero() {
            // A full device loses packets, as every network card does.
            self.devices[to].send(packet).ok();
            return;
        }
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if late.len() < IN_FLIGHT_MAX {
            late.push(Late { due: Instant::now() + delay, to, packet: packet.to_vec() });
            self.has_late.notify_one();
        }
    }

    fn deliver_late(&self) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let wait = late.peek().map_or(Duration::from_secs(1), |next| {
                next.due.saturating_duration_since(Instant::now())
            });
            if wait.is_zero() {
                if let Some(next) = late.pop() {
                    self.devices[next.to].send(&next.packet).ok();
                }
                continue;
            }
            let waited = self.has_late.wait_timeout(late, wait);
            late = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn place(index: usize) -> Place {
    Place::try_from(index + 1).expect("as many nodes as there are places")
}

/// The index of the device that an IPv4 packet is for.
fn destination(packet: &[u8], count: usize) -> Option<usize> {
    if packet.first()? >> 4 != 4 {
        return None;
    }
    let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    let index = (1..=count).find(|n| u8::try_from(*n).is_ok_and(|n| address(n).octets() == to))?;
    Some(index - 1)
}

impl Ord for Late {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Late {}
