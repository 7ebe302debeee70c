//! The internet, as far as a test knows it: a proxy that leads to the hosts of the test, with TLS under their names.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::registry::TestRegistry;
use crate::support::tls::Authority;

pub(crate) struct Internet {
    authority: Authority,
    proxy: SocketAddr,
    hosts: Arc<Mutex<HashMap<String, String>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Internet {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap();
        let hosts = Arc::<Mutex<HashMap<String, String>>>::default();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (known, noted) = (Arc::clone(&hosts), Arc::clone(&asked));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(connect(stream, Arc::clone(&known), Arc::clone(&noted)));
            }
        });
        Self { authority: Authority::new(), proxy, hosts, asked }
    }

    /// Lets `server` answer as that host.
    pub(crate) async fn host(&self, host: &str, server: &TestRegistry) {
        let front = self.authority.front_of_host(host, server.address()).await;
        self.hosts.lock().unwrap().insert(format!("{host}:443"), front.name());
    }

    /// The section of a registry that is reached so, and a target.
    pub(crate) fn section(&self, host: &str, keys: &str) -> String {
        format!(
            "[registries.\"{host}\"]\nproxy_url = \"http://{}\"\nca_file = \"{}\"\n{keys}\n[[targets]]\nrepository = \"{host}/acme/app\"\n",
            self.proxy,
            self.authority.file("ca.pem").display()
        )
    }

    /// The hosts to which connections were made, each once, in alphabetical order; and starts anew.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.asked.lock().unwrap());
        asked.sort();
        asked.dedup();
        asked
    }
}

async fn connect(mut stream: TcpStream, hosts: Arc<Mutex<HashMap<String, String>>>, asked: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let host = head.split(' ').nth(1).unwrap().to_owned();
    asked.lock().unwrap().push(host.trim_end_matches(":443").to_owned());
    let known = hosts.lock().unwrap().get(&host).cloned();
    let Some(address) = known.filter(|_| head.starts_with("CONNECT ")) else {
        let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
        return;
    };
    let mut upstream = TcpStream::connect(address).await.unwrap();
    if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        // Either side may close first.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut upstream).await;
    }
}
