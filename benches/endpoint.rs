//! Serves a rendered snapshot of about as many series as are asked for until its standard input ends, so that any
//! client can measure it: `cargo bench --bench endpoint -- SERIES DIRECTORY`.
//!
//! Writes the body to DIRECTORY, as it is and compressed, for another server to serve; prints what rendering took,
//! and, on the line `listening`, where it listens. Memory is the peak during rendering, less what was there before.

#[path = "fixtures/process.rs"]
mod process;

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use image_size_exporter::metrics;
use image_size_exporter::metrics::{Encoding, Rendered};
use image_size_exporter::metrics::{Format, Telemetry};
use image_size_exporter::web::{Listener, Options, ServerState, WebConfig, serve};
use process::kib;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[expect(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared with the tests")]
#[path = "../tests/it/snapshots.rs"]
mod snapshots;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the result of a measurement")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").skip(1).collect();
    let [series, directory] = arguments.as_slice() else {
        // `cargo bench` without a name runs this too: there is nothing to serve then.
        return Ok(());
    };
    let (series, directory): (usize, PathBuf) = (series.parse()?, directory.into());
    let snapshot = snapshots::large(series / 31);

    let before = kib("VmRSS");
    std::fs::write("/proc/self/clear_refs", "5").context("forget the peak so far")?;
    let started = Instant::now();
    let rendered = Rendered::render(&snapshot, &BTreeSet::new());
    println!("render_seconds {:.3}", started.elapsed().as_secs_f64());
    println!("series {}", rendered.series());
    println!("identity_bytes {}", rendered.pieces_bytes(Encoding::Identity));
    println!("gzip_bytes {}", rendered.pieces_bytes(Encoding::Gzip));
    println!("render_peak_bytes {}", (kib("VmHWM") - before) * 1024);

    let telemetry = Arc::new(Telemetry::default());
    for (encoding, name) in [(Encoding::Identity, "metrics"), (Encoding::Gzip, "metrics.gz")] {
        let tail = rendered.tail(encoding, telemetry.encode(Format::Text));
        std::fs::write(directory.join(name), [rendered.pieces(encoding).concat(), tail.to_vec()].concat())?;
    }
    drop(rendered);

    let (mut publisher, reader) = metrics::channel(Arc::clone(&telemetry));
    std::fs::write("/proc/self/clear_refs", "5").context("forget the peak so far")?;
    let (snapshot, nothing) = (Arc::new(snapshot), Arc::new(BTreeSet::new()));
    publisher.publish(Arc::clone(&snapshot), Vec::new(), Arc::clone(&nothing)).await;
    publisher.publish(snapshot, Vec::new(), nothing).await;
    println!("two_generations_peak_bytes {}", (kib("VmHWM") - before) * 1024);
    let state =
        Arc::new(ServerState::new(reader, telemetry, mpsc::channel(1).0, WebConfig::none(), Options::default()));
    let listener = Listener::bind(&"127.0.0.1:0".parse()?).await?;
    println!("listening {}", listener.local_addr()?);
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(vec![listener], state, stop.clone()));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    println!("serving_peak_bytes {}", (kib("VmHWM") - before) * 1024);
    stop.cancel();
    Ok(serving.await?)
}
