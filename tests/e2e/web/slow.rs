//! Slow clients: half of them send a byte now and then, half of them send a request and never read.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The clients. They disconnect when this is dropped.
pub struct Crowd {
    connected: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    pub fn start(address: SocketAddr, size: usize) -> Self {
        let (connected, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (connected, over) = (Arc::clone(&connected), Arc::clone(&over));
            move || dawdle(address, size, &connected, &over)
        });
        Self { connected, over, thread: Some(thread) }
    }

    /// How many connections there were, reconnections included.
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[expect(clippy::disallowed_methods, reason = "the pace of slow clients, on a thread of their own")]
fn dawdle(address: SocketAddr, size: usize, connected: &AtomicUsize, over: &AtomicBool) {
    let mut crowd: Vec<Option<TcpStream>> = std::iter::repeat_with(|| None).take(size).collect();
    while !over.load(Ordering::Relaxed) {
        for (number, place) in crowd.iter_mut().enumerate() {
            if place.as_mut().is_some_and(|stream| stream.write_all(b"x").is_ok()) {
                continue;
            }
            *place = TcpStream::connect(address).ok();
            let Some(stream) = place else { continue };
            connected.fetch_add(1, Ordering::Relaxed);
            if number % 2 == 0 {
                // An answer to this may fail, like the connection: that is noticed at the next byte.
                drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n"));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
