//! An endpoint that answers every request with the text that it is given.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

/// See the module.
pub struct Exposed {
    pub address: String,
    text: Arc<Mutex<String>>,
}

impl Exposed {
    /// Starts one.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        let text = Arc::<Mutex<String>>::default();
        let shared = Arc::clone(&text);
        // Ends with the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut head = [0; 4096];
                drop(stream.read(&mut head));
                let body = shared.lock().expect("not poisoned").clone();
                let kind = "text/plain; version=0.0.4";
                drop(write!(
                    stream,
                    "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                ));
            }
        });
        Self { address, text }
    }

    /// From now on it answers with this.
    pub fn expose(&self, text: String) {
        *self.text.lock().expect("not poisoned") = text;
    }
}
