//! A registry behind a connection that is cut, stalls, or is slow.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;

/// What happens to the registry's answers, from the next bytes on.
#[derive(Clone, Copy, Debug)]
enum Line {
    Good,
    /// The connection is closed after so many bytes.
    CutAfter(usize),
    /// Nothing comes after so many bytes, and the connection stays open.
    StallAfter(usize),
    /// A few bytes at a time.
    Slow,
}

/// Forwards bytes; its address, and the current fault.
async fn proxy(registry: &TestRegistry) -> (String, watch::Sender<Line>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (line, is) = watch::channel(Line::Good);
    let registry = registry.name().to_string();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (near, from_near) = (near.into_split(), is.clone());
            let far = TcpStream::connect(&registry).await.unwrap().into_split();
            let (_, always) = watch::channel(Line::Good);
            tokio::spawn(pass_on(near.0, far.1, always));
            tokio::spawn(pass_on(far.0, near.1, from_near));
        }
    });
    (address, line)
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: watch::Receiver<Line>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        let is = *line.borrow();
        let sent = match is {
            Line::Good => to.write_all(bytes).await,
            Line::CutAfter(some) => {
                let _ = to.write_all(&bytes[..some.min(count)]).await;
                return;
            }
            Line::StallAfter(some) => {
                let _ = to.write_all(&bytes[..some.min(count)]).await;
                std::future::pending().await
            }
            Line::Slow => write_slowly(&mut to, bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn write_slowly(to: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    for some in bytes.chunks(16) {
        to.write_all(some).await?;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn behind(address: &str, registry: &TestRegistry) -> String {
    config(registry, &["repository = 'REGISTRY/acme/app'\nmatch = ['']\nname = 'app'"])
        .replace(registry.name().as_str(), address)
        .replace("[scan]", "[scan]\ntimeout = '2s'")
}

#[tokio::test]
async fn a_connection_that_is_cut_or_stalls_changes_no_value_and_heals() {
    let lines = [0, 20, 100].into_iter().flat_map(|bytes| [Line::CutAfter(bytes), Line::StallAfter(bytes)]);
    futures_util::future::join_all(lines.map(fails_and_heals)).await;
}

async fn fails_and_heals(bad: Line) {
    let registry = registry();
    let (address, line) = proxy(&registry).await;
    let daemon = Daemon::start(&behind(&address, &registry)).await;
    let before = daemon.until("v1 is read", |m| m.tag(COMPRESSED, "v1") == Some(100.0)).await;
    line.send_replace(bad);
    registry.push("acme/app", "v1", &image_of(140));
    let down = daemon.until("v1 is down", |m| m.tag(UP, "v1") == Some(0.0)).await;
    assert_eq!(down.all(COMPRESSED, &[]), before.all(COMPRESSED, &[]), "{bad:?}");
    assert_eq!(down.one("container_image_registry_stored_size_bytes", &[]), Some(100.0), "{bad:?}");
    line.send_replace(Line::Good);
    daemon.until("it is read again", |m| m.tag(COMPRESSED, "v1") == Some(140.0) && m.tag(UP, "v1") == Some(1.0)).await;
    daemon.stop().await;
}

#[tokio::test]
async fn over_a_slow_connection_everything_is_read_as_it_is() {
    let registry = registry();
    let (amd64, arm64) = (image_of(100), image("linux/arm64", &[&Blob::named("layer", 90)]));
    registry.push("acme/app", "v1", &index(&[("linux/amd64", &amd64), ("linux/arm64", &arm64)]));
    let (address, line) = proxy(&registry).await;
    line.send_replace(Line::Slow);
    let daemon = Daemon::start(&behind(&address, &registry)).await;
    let metrics = daemon.until("v1 is read", |m| m.tag(UP, "v1") == Some(1.0)).await;
    assert_eq!(metrics.all(COMPRESSED, &[]).into_values().collect::<Vec<_>>(), [100.0, 90.0]);
    daemon.until("and the list, too", |m| m.one(TARGET_UP, &[]) == Some(1.0)).await;
    daemon.stop().await;
}
