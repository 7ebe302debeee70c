//! What a cluster costs: 10,000 pods that run 2,000 different images, listed and then watched by a process of its own, from
//! a scripted API server in this one.
//!
//! Prints a table: `cargo bench --features kubernetes --bench pods`. Memory and processor time are the watching process's,
//! the delay is from a pod's change at the server to the report of it.
#![expect(clippy::print_stdout, reason = "the table is what this program is for")]
#![expect(unreachable_pub, reason = "the API server is a library to this program")]

#[path = "../tests/common/api_server.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod api_server;
#[path = "fixtures/process.rs"]
mod process;

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use api_server::{ApiServer, pod};
use image_size_exporter::sources::kubernetes::{Settings, watch};
use image_size_exporter::sources::outbox;
use process::kib;

const PODS: usize = 10_000;
const IMAGES: usize = 2_000;

/// Pods that are replaced in a minute of churn.
const CHURN: usize = 600;

/// Changes of a pod from its creation until it is ready: scheduled, pulling, running, ready.
const CHANGES: usize = 4;

const DELAYS: usize = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match std::env::args().nth(1).filter(|argument| argument.starts_with('/')) {
        Some(kubeconfig) => watching(&kubeconfig).await,
        None => measuring().await,
    }
}

/// Prints a line for each report: how many containers, resident memory, its peak, processor time, and the images whose name
/// says that they are new.
async fn watching(kubeconfig: &str) {
    let settings = Settings { kubeconfig: Some(kubeconfig.into()), ..Settings::default() };
    let (outbox, mut sight) = outbox();
    tokio::spawn(async move { watch(&settings, &outbox).await });
    while sight.changed().await.is_ok() {
        let sight = sight.borrow_and_update().clone();
        let containers = sight.containers.unwrap_or_default();
        let new = containers.iter().filter(|container| container.image.starts_with("new:"));
        let new: Vec<&str> = new.map(|container| &*container.image).collect();
        println!("{} {} {} {} {}", containers.len(), kib("VmRSS"), kib("VmHWM"), ticks(), new.join(","));
        std::io::stdout().flush().expect("the other process reads");
    }
}

/// Processor time in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name in parentheses").split_whitespace().collect();
    [fields[11], fields[12]].iter().map(|text| text.parse::<u64>().expect("a number")).sum()
}

struct Report {
    containers: usize,
    resident_kib: u64,
    peak_kib: u64,
    ticks: u64,
    new: String,
}

/// The next report; none once the watching process is ended.
fn report(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<Report> {
    let line = lines.next()?.expect("a line");
    let fields: Vec<&str> = line.split(' ').collect();
    let number = |at: usize| fields[at].parse().expect("a number");
    Some(Report {
        containers: usize::try_from(number(0)).expect("a count"),
        resident_kib: number(1),
        peak_kib: number(2),
        ticks: number(3),
        new: fields[4].to_owned(),
    })
}

fn run(number: usize, image: &str) -> serde_json::Value {
    let digest = format!("sha256:{:064x}", number % IMAGES);
    let mut pod = pod(
        &format!("team-{}", number % 50),
        &format!("web-{number}"),
        &format!("node-{}", number % 200),
        image,
        &digest,
    );
    // About as long as a pod is.
    pod["metadata"]["annotations"]["filler"] = "x".repeat(6000).into();
    pod
}

fn image(number: usize) -> String {
    format!("registry.internal/team/app-{}:1.{}", number % 200, number % IMAGES)
}

async fn measuring() {
    let server = ApiServer::start().await;
    for number in 0..PODS {
        server.put(run(number, &image(number)));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig("token")).expect("a file");
    let begun = Instant::now();
    let mut child = Command::new(std::env::current_exe().expect("a path"))
        .arg(&kubeconfig)
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (sender, mut reports) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || while report(&mut lines).is_some_and(|report| sender.send(report).is_ok()) {});
    let mut next = async || reports.recv().await.expect("it goes on");
    let mut listed = next().await;
    while listed.containers < PODS {
        listed = next().await;
    }
    println!("{PODS} pods with {IMAGES} images");
    println!("  listed in                  {:>8.2} s", begun.elapsed().as_secs_f64());
    println!("  processor time of the list {:>8.2} s", seconds(listed.ticks));
    println!("  resident memory            {:>8.1} MiB, at most {:.1}", mib(listed.resident_kib), mib(listed.peak_kib));

    let mut delays = Vec::new();
    for number in 0..DELAYS {
        let (name, begun) = (format!("new:{number}"), Instant::now());
        server.put(run(PODS + number, &name));
        while !next().await.new.split(',').any(|new| new == name) {}
        delays.push(begun.elapsed());
    }
    delays.sort_unstable();
    println!("  pod's start → report       {:>8.0} ms, at most {:.0}", ms(delays[DELAYS / 2]), ms(delays[DELAYS - 1]));

    server.put(run(PODS + DELAYS, "new:before"));
    let mut before = next().await;
    while !before.new.contains("new:before") {
        before = next().await;
    }
    for number in 0..CHURN {
        for _ in 0..CHANGES {
            server.put(run(number, &format!("{}-again", image(number))));
            tokio::time::sleep(Duration::from_mins(1) / u32::try_from(CHURN * CHANGES).expect("few")).await;
        }
    }
    server.put(run(PODS + DELAYS + 1, "new:after"));
    let mut after = next().await;
    while !after.new.contains("new:after") {
        after = next().await;
    }
    println!("  a minute in which {CHURN} are replaced, each in {CHANGES} changes:");
    println!("    processor time           {:>8.2} s", seconds(after.ticks - before.ticks));
    println!("    resident memory          {:>8.1} MiB", mib(after.resident_kib));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / 100.0
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
