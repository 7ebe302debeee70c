//! A host of its own for a program, with cables that can be pulled out: a network namespace of the kernel.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use super::run;

/// The most cables of a host.
const CABLES_MAX: u8 = 8;

/// A host. It goes with this, and programs that still run on it lose their network.
pub struct Namespace {
    name: String,
    number: u8,
    cables: u8,
}

impl Namespace {
    /// One with this many cables to the host of the tests.
    pub fn start(cables: u8) -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        assert!(cables <= CABLES_MAX, "a host has {CABLES_MAX} cables at most");
        remove_left();
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % (64 / CABLES_MAX);
        let host = Self { name: format!("sizes-{}-{number}", std::process::id()), number, cables };
        ip(&["netns", "add", &host.name]);
        for cable in 0..cables {
            let (here, [ours, theirs]) = (host.end_here(cable), host.addresses(cable));
            ip(&["link", "add", &here, "type", "veth", "peer", "name", &end_there(cable), "netns", &host.name]);
            ip(&["address", "add", &format!("{ours}/30"), "dev", &here]);
            ip(&["link", "set", &here, "up"]);
            ip(&["-n", &host.name, "address", "add", &format!("{theirs}/30"), "dev", &end_there(cable)]);
            host.plug_in(cable);
        }
        host
    }

    /// The host's address at the end of a cable.
    pub fn address(&self, cable: u8) -> Ipv4Addr {
        self.addresses(cable)[1]
    }

    /// The same command, on this host.
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).arg(command.get_program()).args(command.get_args());
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        inside
    }

    /// From now on nothing arrives over the cable, and nobody is told.
    pub fn pull_out(&self, cable: u8) {
        ip(&["-n", &self.name, "link", "set", &end_there(cable), "down"]);
    }

    pub fn plug_in(&self, cable: u8) {
        ip(&["-n", &self.name, "link", "set", &end_there(cable), "up"]);
    }

    /// Ours and the host's, in a network of four addresses that no other process of the tests uses.
    fn addresses(&self, cable: u8) -> [Ipv4Addr; 2] {
        let [.., high, low] = std::process::id().to_be_bytes();
        let first = (self.number * CABLES_MAX + cable) * 4;
        [1, 2].map(|offset| Ipv4Addr::new(10, 192 + high % 64, low, first + offset))
    }

    fn end_here(&self, cable: u8) -> String {
        format!("sz{}n{}c{cable}", std::process::id(), self.number)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        for cable in 0..self.cables {
            let _ = Command::new("ip").args(["link", "delete", &self.end_here(cable)]).status();
        }
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Removes the hosts of tests that were killed; their cables go too.
fn remove_left() {
    let list = run(Command::new("ip").args(["netns", "list"]));
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| name.starts_with("sizes-")) {
        let process = name.split('-').nth(1).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

fn end_there(cable: u8) -> String {
    format!("cable{cable}")
}

fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}
