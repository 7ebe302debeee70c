//! A network that is cut between an exporter and its database: nothing is refused, and nothing arrives.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::*;

/// A network that passes bytes on while it is whole.
#[derive(Clone, Default)]
pub(super) struct Network(Arc<(Mutex<bool>, Condvar)>);

impl Network {
    /// Listens on a port, and connects each client with that of the database.
    pub(super) fn to(database: u16) -> (Self, u16) {
        let network = Self::default();
        network.set_whole(true);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let each = network.clone();
        // It ends with the tests.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", database)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().expect("a handle"), to.try_clone().expect("a handle"));
                    let network = each.clone();
                    std::thread::spawn(move || network.pass(from, to));
                }
            }
        });
        (network, port)
    }

    pub(super) fn set_whole(&self, whole: bool) {
        *self.0.0.lock().expect("no panic") = whole;
        self.0.1.notify_all();
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16_384];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let whole = self.0.0.lock().expect("no panic");
            drop(self.0.1.wait_while(whole, |whole| !*whole).expect("no panic"));
            if to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_network_that_is_cut_is_noticed_and_costs_no_figure() {
    let site = Site::start();
    let (network, port) = Network::to(site.database.port());
    site.database.sql("postgres", "ALTER ROLE postgres PASSWORD 'sesame'");
    site.write_url(&format!("postgres://postgres:sesame@127.0.0.1:{port}/{DATABASE}"));
    site.push("v1", 1_000);
    let exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    wait_for_persistence(&exporter, 1.0);

    network.set_whole(false);
    site.push("v1", 2_000);

    wait_for_sizes(&exporter, &[("v1", 2_000.0)]);
    wait_for_persistence(&exporter, 0.0);
    network.set_whole(true);
    wait_for_persistence(&exporter, 1.0);
    // The transaction that was cut off is not written a second time over what came later.
    site.push("v1", 3_000);
    wait_for_sizes(&exporter, &[("v1", 3_000.0)]);
    assert_eq!(exporter.scrape().value(PERSISTENT, &[]), Some(1.0));
}

#[test]
fn a_network_that_is_cut_does_not_hold_up_the_end() {
    let site = Site::start();
    let (network, port) = Network::to(site.database.port());
    site.database.sql("postgres", "ALTER ROLE postgres PASSWORD 'sesame'");
    site.write_url(&format!("postgres://postgres:sesame@127.0.0.1:{port}/{DATABASE}"));
    site.push("v1", 1_000);
    let mut exporter = Exporter::start(&site.config());
    wait_for_sizes(&exporter, &[("v1", 1_000.0)]);
    wait_for_persistence(&exporter, 1.0);

    network.set_whole(false);
    site.push("v1", 2_000);
    wait_for_sizes(&exporter, &[("v1", 2_000.0)]);
    let started = Instant::now();
    end(&mut exporter);

    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    assert!(exporter.output().contains("stopped"), "{}", exporter.output());
}
