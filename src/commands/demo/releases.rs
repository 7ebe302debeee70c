//! Who releases what, and when it is too big.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::images::Pusher;
use super::layers::{LayerRecipe, SampleLayer};
use crate::memory_registry::Contents;

/// How many releases a repository keeps.
const KEPT: usize = 20;
/// How many it has at the start.
const AT_START: u64 = 8;
/// After a release that is too big the team needs so many ticks to find out why. Until then it is the newest one: long
/// enough to be scraped, and seen.
const REST: u32 = 12;
/// One release in so many is too big.
const BIGGER_EVERY: u64 = 5;

const MB: usize = 1_000_000;
const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// The shops' repositories and what they share.
pub(super) struct Releases {
    services: [Service; 3],
    base: Base,
    next: usize,
}

/// A repository that is released to.
struct Service {
    repository: &'static str,
    /// The size of what is its own.
    own_bytes: usize,
    architectures: &'static [&'static str],
    released: u64,
    rest: u32,
    tags: VecDeque<String>,
}

/// Layers that images share, one of each for an architecture.
struct Base {
    system: Vec<SampleLayer>,
    runtime: Vec<SampleLayer>,
    /// What gets into an image by mistake.
    mistake: SampleLayer,
}

impl Releases {
    /// Fills the registry with the releases of the last days.
    pub(super) fn begin(contents: &Mutex<Contents>) -> Self {
        let layers = |seed: u64, bytes: usize| {
            (0..)
                .zip(ARCHITECTURES)
                .map(|(nth, _)| LayerRecipe { seed: seed + nth, noise_bytes: bytes }.measure())
                .collect()
        };
        let base = Base {
            system: layers(10, 29 * MB),
            runtime: layers(20, 24 * MB),
            mistake: LayerRecipe { seed: 30, noise_bytes: 25 * MB }.measure(),
        };
        let service = |repository, own_bytes, architectures| Service {
            repository,
            own_bytes,
            architectures,
            released: 0,
            rest: 0,
            tags: VecDeque::new(),
        };
        let mut releases = Self {
            services: [
                service("shop/web", 6 * MB, &ARCHITECTURES),
                service("shop/api", 4 * MB, &ARCHITECTURES[..1]),
                service("shop/worker", 8 * MB, &ARCHITECTURES),
            ],
            base,
            next: 0,
        };
        releases.push_base(contents);
        let charts = Pusher { contents, repository: "charts/shop" };
        for version in ["0.9.0", "1.0.0"] {
            charts.tag(version, &charts.chart(version, &ago(72)));
        }
        for nth in 0..AT_START {
            for (service, hours) in releases.services.iter_mut().zip(1..) {
                service.release(contents, &releases.base, false, &ago(6 * (AT_START - nth) + hours));
            }
        }
        releases
    }

    /// Pushes one release, of the repository whose turn it is; gives its reference.
    pub(super) fn release(&mut self, contents: &Mutex<Contents>) -> String {
        let count = self.services.len();
        // Somebody is always awake: at most one in `BIGGER_EVERY` releases makes its team rest.
        for service in &mut self.services {
            service.rest = service.rest.saturating_sub(1);
        }
        let order = (0..count).map(|step| (self.next + step) % count);
        let turn = order.clone().find(|&nth| self.services[nth].rest == 0).unwrap_or(self.next);
        self.next = (turn + 1) % count;
        let service = &mut self.services[turn];
        let bigger = service.released % BIGGER_EVERY == (AT_START + 1 + turn as u64) % BIGGER_EVERY;
        if bigger {
            service.rest = REST;
        }
        let created = Timestamp::now().to_string();
        service.release(contents, &self.base, bigger, &created)
    }

    fn push_base(&self, contents: &Mutex<Contents>) {
        let runtime = Pusher { contents, repository: "base/runtime" };
        for (tag, with_runtime) in [("2", false), ("3", true)] {
            let images: Vec<_> = (0..)
                .zip(ARCHITECTURES)
                .map(|(nth, architecture): (usize, _)| {
                    let layers = [(&self.base.system[nth], SYSTEM), (&self.base.runtime[nth], RUNTIME)];
                    let layers = if with_runtime { &layers[..] } else { &layers[..1] };
                    (architecture, runtime.image(architecture, &ago(90), layers))
                })
                .collect();
            runtime.tag(tag, &runtime.index(&images));
        }
    }
}

const SYSTEM: &str = "ADD rootfs.tar.gz / # base system";
const RUNTIME: &str = "RUN install-runtime 3 # base/runtime";

impl Service {
    fn release(&mut self, contents: &Mutex<Contents>, base: &Base, bigger: bool, created: &str) -> String {
        let pusher = Pusher { contents, repository: self.repository };
        let tag = format!("v1.{}.0", self.released);
        let own = |nth: u64| LayerRecipe {
            // Its own for every repository, release and architecture.
            seed: (self.own_bytes as u64) << 32 | self.released << 8 | nth,
            noise_bytes: grown(self.own_bytes, self.released),
        };
        let images: Vec<_> = (0..)
            .zip(self.architectures)
            .map(|(nth, &architecture): (usize, _)| {
                let own = own(nth as u64).measure();
                let mut layers = vec![
                    (&base.system[nth], SYSTEM),
                    (&base.runtime[nth], RUNTIME),
                    (&own, "COPY build/ /opt/ # the release"),
                ];
                if bigger {
                    layers.push((&base.mistake, "COPY . /src # somebody forgot .dockerignore"));
                }
                (architecture, pusher.image(architecture, created, &layers))
            })
            .collect();
        let digest = match &images[..] {
            [(_, only)] => only.digest.clone(),
            _ => pusher.index(&images),
        };
        for name in [tag.as_str(), "latest"] {
            pusher.tag(name, &digest);
        }
        let reference = format!("{}:{tag}", self.repository);
        self.released += 1;
        self.tags.push_back(tag);
        if self.tags.len() > KEPT {
            let oldest = self.tags.pop_front().expect("there are more than none");
            pusher.untag(&oldest);
        }
        reference
    }
}

/// The size of a release's own layer, from that of the first: mostly a little more than in the release before, sometimes
/// less, and smaller again where somebody has tidied up.
fn grown(first: usize, release: u64) -> usize {
    const TIDIED_EVERY: u64 = 12;
    /// In thousandths of the first size, beside the thirty of each release.
    const MORE: [u64; 5] = [27, 45, 0, 60, 36];
    let nth = usize::try_from(release % MORE.len() as u64).expect("a remainder of five");
    let more = 30 * (release % TIDIED_EVERY) + MORE[nth];
    first + first * usize::try_from(more).expect("less than a thousand") / 1000
}

fn ago(hours: u64) -> String {
    let hours = i64::try_from(hours).expect("days, not ages");
    (Timestamp::now() - SignedDuration::from_hours(hours)).to_string()
}
