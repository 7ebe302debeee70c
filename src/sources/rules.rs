//! From containers to the images that they run: what is left out, and where an image is read instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Container, Workload};
use crate::oci::text::shown;
use crate::oci::{Digest, Reference, Repository, Tag};
use crate::tag::{Running, RunningImage, RunningPart};
use crate::target::ImagePattern;

/// The most containers of one source that are looked at.
pub const CONTAINERS_MAX: usize = 100_000;

/// The most distinct images of one source.
pub const IMAGES_MAX: usize = 20_000;

/// The most containers of workloads that one source publishes.
pub const PARTS_MAX: usize = 50_000;

/// The most names and digests by which what runs is not watched: each image has two.
const UNWATCHED_MAX: usize = 2 * IMAGES_MAX;

/// The most bytes of the reason for which a container is not counted.
const WHY_BYTES_MAX: usize = 300;

/// The most bytes of an image's name.
const IMAGE_BYTES_MAX: usize = 1024;

/// Which of a source's images are watched, and where they are read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// No images in whose reference one of these is found.
    pub exclude: Vec<ImagePattern>,
    /// In place of an image's own: the first of these that is found in its reference.
    pub rewrite: Vec<Rewrite>,
}

/// Where the images of one place are read instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewrite {
    /// What is replaced.
    pub pattern: ImagePattern,
    /// What takes its place; `$1` is what the first parentheses found.
    pub with: String,
}

/// The images of a source's containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    /// Those that are watched.
    pub running: Running,
    /// Why the first of the containers that are not counted is not.
    pub first_skipped: Option<String>,
    /// Containers of workloads beyond [`PARTS_MAX`], of which no `_info` is published.
    pub parts_left_out: u64,
}

/// What a container's image is called.
#[derive(Default)]
struct Read {
    /// By which reference it is read; `None` where it is left out.
    watched: Option<Reference>,
    /// What the source calls it, where it is not watched by that name.
    unwatched: Option<Reference>,
}

/// What is known of an image so far.
#[derive(Default)]
struct Seen {
    containers: u64,
    nodes: BTreeSet<Arc<str>>,
    digests: BTreeMap<Digest, u64>,
    parts: BTreeSet<RunningPart>,
}

impl Rules {
    /// Sorts containers by image. One that names no image is counted, and loses nothing else.
    pub fn sort(&self, containers: &[Container]) -> Sorted {
        let mut sorted = Sorted::default();
        let mut images: BTreeMap<(Repository, Tag), Seen> = BTreeMap::new();
        // Most containers are replicas.
        let mut known: BTreeMap<&str, Result<Read, String>> = BTreeMap::new();
        let mut unwatched = 0;
        let mut parts = 0;
        for container in containers.iter().take(CONTAINERS_MAX) {
            let reference = known.entry(&container.image).or_insert_with(|| self.reference(&container.image));
            let read = match reference {
                Ok(read) => read,
                Err(why) => {
                    sorted.skip(1, || why.clone());
                    continue;
                }
            };
            if let Some(named) = &read.unwatched
                && !sorted.note_unwatched(named, container.digest.as_ref(), &mut unwatched)
            {
                sorted.skip(1, || format!("`{}` is beyond the {IMAGES_MAX} images of one source", container.image));
                continue;
            }
            let Some(reference) = &read.watched else { continue };
            let key = (reference.repository.clone(), tag(reference));
            if images.len() >= IMAGES_MAX && !images.contains_key(&key) {
                sorted.skip(1, || format!("`{}` is beyond the {IMAGES_MAX} images of one source", container.image));
                continue;
            }
            let seen = images.entry(key).or_default();
            seen.containers += 1;
            seen.nodes.extend(container.node.clone());
            if let Some(digest) = container.digest.as_ref().or(reference.digest.as_ref()) {
                *seen.digests.entry(digest.clone()).or_default() += 1;
            }
            let Some(part) = part(container) else { continue };
            if seen.parts.contains(&part) {
                continue;
            }
            if parts < PARTS_MAX {
                parts += 1;
                seen.parts.insert(part);
            } else {
                sorted.parts_left_out += 1;
            }
        }
        let beyond = containers.len().saturating_sub(CONTAINERS_MAX) as u64;
        if beyond > 0 {
            sorted.skip(beyond, || format!("a source may have at most {CONTAINERS_MAX} containers"));
        }
        sorted.running.images = images.into_iter().map(|(key, seen)| Arc::new(seen.image(key))).collect();
        sorted
    }

    /// What a container's image is read by, and what the source calls it.
    fn reference(&self, image: &str) -> Result<Read, String> {
        // The excess may be anything, and is not worth a line of the log.
        if image.len() > IMAGE_BYTES_MAX {
            return Err(format!("an image's name has {} bytes, more than {IMAGE_BYTES_MAX}", image.len()));
        }
        let is_excluded = |text: &str| self.exclude.iter().any(|pattern| pattern.finds(text));
        let why = || format!("`{image}` is an image by its ID, which no registry knows");
        let parsed = match image.parse::<Digest>() {
            Ok(_) => Err(why()),
            Err(_) => image.parse::<Reference>().map_err(|error| error.to_string()),
        };
        let named = match parsed {
            Ok(named) => named,
            Err(_) if is_excluded(image) => return Ok(Read::default()),
            Err(why) => return Err(why),
        };
        let written = named.to_string();
        if is_excluded(&written) {
            return Ok(Read { watched: None, unwatched: Some(named) });
        }
        let Some(text) = self.rewrite.iter().find_map(|rule| rule.pattern.replace(&written, &rule.with)) else {
            return Ok(Read { watched: Some(named), unwatched: None });
        };
        match text.parse::<Reference>() {
            Ok(watched) => Ok(Read { watched: Some(watched), unwatched: Some(named) }),
            Err(error) => Err(format!("`{written}` is rewritten to `{text}`: {error}")),
        }
    }
}

impl Sorted {
    fn skip(&mut self, containers: u64, why: impl FnOnce() -> String) {
        self.running.skipped += containers;
        self.first_skipped.get_or_insert_with(|| shown(&why(), WHY_BYTES_MAX));
    }

    /// Notes what runs under a name by which it is not watched; whether there is room for it.
    fn note_unwatched(&mut self, named: &Reference, digest: Option<&Digest>, count: &mut usize) -> bool {
        let tags = self.running.unwatched.entry(named.repository.clone()).or_default();
        for tag in [Some(tag(named)), digest.or(named.digest.as_ref()).map(Tag::of_digest)].into_iter().flatten() {
            if tags.contains(&tag) {
                continue;
            }
            if *count == UNWATCHED_MAX {
                return false;
            }
            *count += 1;
            tags.insert(tag);
        }
        true
    }
}

impl Seen {
    fn image(self, (repository, tag): (Repository, Tag)) -> RunningImage {
        RunningImage {
            repository,
            tag,
            containers: self.containers,
            nodes: (!self.nodes.is_empty()).then_some(self.nodes.len() as u64),
            digests: self.digests,
            parts: self.parts.into_iter().collect(),
        }
    }
}

/// A reference has a tag or a digest, or both.
fn tag(reference: &Reference) -> Tag {
    match (&reference.tag, &reference.digest) {
        (Some(tag), _) => tag.clone(),
        (None, Some(digest)) => Tag::of_digest(digest),
        (None, None) => Tag::latest(),
    }
}

fn part(container: &Container) -> Option<RunningPart> {
    let nothing = || Arc::<str>::from("");
    let name = container.name.clone();
    match &container.workload {
        None if name.is_none() => None,
        None => Some(RunningPart {
            namespace: nothing(),
            workload_kind: nothing(),
            workload: nothing(),
            container: name.unwrap_or_else(nothing),
        }),
        Some(workload) => {
            let Workload { namespace, kind, name: workload } = &**workload;
            Some(RunningPart {
                namespace: Arc::clone(namespace),
                workload_kind: Arc::clone(kind),
                workload: Arc::clone(workload),
                container: name.unwrap_or_else(nothing),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn container(image: &str) -> Container {
        Container { image: image.into(), digest: None, node: None, workload: None, name: None }
    }

    fn digest(text: &str) -> Digest {
        Digest::sha256_of(text.as_bytes())
    }

    /// `repository:tag` or `repository@digest`, and the number of containers.
    fn images(rules: &Rules, containers: &[Container]) -> Vec<(String, u64)> {
        let name = |image: &RunningImage| {
            let separator = if image.tag.digest().is_some() { '@' } else { ':' };
            format!("{}{separator}{}", image.repository, image.tag)
        };
        rules.sort(containers).running.images.iter().map(|image| (name(image), image.containers)).collect()
    }

    #[test]
    fn images_are_named_as_registries_name_them() {
        let by_digest = format!("quay.io/a/b@{}", digest("x"));
        for (image, expected) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"),
            ("registry.internal:5000/team/app:v1", "registry.internal:5000/team/app:v1"),
            (&format!("quay.io/a/b:v1@{}", digest("x")), "quay.io/a/b:v1"),
            (&by_digest, &by_digest),
        ] {
            assert_eq!(images(&Rules::default(), &[container(image)]), [(expected.to_owned(), 1)], "{image}");
        }
    }

    #[test]
    fn what_is_no_image_is_counted_and_loses_nothing_else() {
        let id = digest("config").to_string();
        let long = "a".repeat(5000);
        let bad = ["", "UPPER/case", "a b", "https://x/y", &id, &long, "x@sha256:12"];
        let mut all: Vec<Container> = bad.iter().map(|image| container(image)).collect();
        all.push(container("nginx:1"));
        let sorted = Rules::default().sort(&all);
        assert_eq!(sorted.running.skipped, bad.len() as u64);
        assert_eq!(sorted.running.images.len(), 1);
        assert_eq!(sorted.first_skipped.as_deref(), Some("empty reference"));
    }

    #[test]
    fn images_are_left_out_and_read_elsewhere() {
        let rewrite = |pattern: &str, with: &str| Rewrite { pattern: pattern.parse().unwrap(), with: with.to_owned() };
        let rules = Rules {
            exclude: vec![r"^registry\.internal/ci/".parse().unwrap(), "^UPPER".parse().unwrap()],
            rewrite: vec![
                rewrite(r"^mirror\.internal/hub/", "docker.io/"),
                rewrite(r"^mirror\.internal/([^/]+)/", "$1.io/"),
                rewrite("^broken/", "://"),
                rewrite("mirror", "never"),
            ],
        };
        let all =
            ["registry.internal/ci/job:1", "mirror.internal/hub/nginx:1", "mirror.internal/quay/a/b:2", "UPPER/x"];
        let all: Vec<Container> = all.iter().map(|image| container(image)).collect();
        let expected = [("docker.io/library/nginx:1".to_owned(), 1), ("quay.io/a/b:2".to_owned(), 1)];
        assert_eq!(images(&rules, &all), expected);
        assert_eq!(rules.sort(&all).running.skipped, 0, "what is left out is not missing");
        let sorted = Rules { rewrite: vec![rewrite("^docker.io/", "a b/")], ..rules }.sort(&[container("nginx:1")]);
        let why = sorted.first_skipped.unwrap();
        assert!(why.starts_with("`docker.io/library/nginx:1` is rewritten to `a b/library/nginx:1`: "), "{why}");
    }

    #[test]
    fn what_is_left_out_or_read_elsewhere_still_runs() {
        let rules = Rules {
            exclude: vec!["/ci:".parse().unwrap(), "^sha256:".parse().unwrap()],
            rewrite: vec![Rewrite { pattern: "^mirror\\.internal/".parse().unwrap(), with: "r.io/".to_owned() }],
        };
        let by_id = digest("config").to_string();
        let mut all = ["r.io/acme/ci:job", "mirror.internal/app:v1", "r.io/app:v2", &by_id].map(container).to_vec();
        all[0].digest = Some(digest("job"));
        let running = rules.sort(&all).running;
        assert!(running.is_whole(), "what is meant to be left out is not missing");
        let runs = |repository: &str, tag: &str, of: &str| {
            running.runs(&repository.parse().unwrap(), &tag.parse().unwrap(), &[&digest(of)])
        };
        assert!(runs("r.io/acme/ci", "job", "x") && runs("r.io/acme/ci", "other", "job"));
        assert!(runs("mirror.internal/app", "v1", "x") && runs("r.io/app", "v1", "x") && runs("r.io/app", "v2", "x"));
        assert!(!runs("r.io/acme/ci", "v1", "x") && !runs("mirror.internal/app", "v2", "x"));
    }

    #[test]
    fn the_reason_for_which_a_container_is_not_counted_is_cut() {
        let sorted = Rules::default().sort(&[container(&format!("A\n{}", "a".repeat(900)))]);
        let why = sorted.first_skipped.unwrap();
        assert!(why.len() <= WHY_BYTES_MAX && !why.contains('\n'), "{why}");
        assert!(!sorted.running.is_whole());
    }

    #[test]
    fn nodes_digests_and_workloads_are_those_that_the_source_knows() {
        let workload = Arc::new(Workload { namespace: "shop".into(), kind: "Deployment".into(), name: "web".into() });
        let replica = |node: Option<&str>, of: Option<Digest>| Container {
            image: "nginx:1".into(),
            digest: of,
            node: node.map(Arc::from),
            workload: Some(Arc::clone(&workload)),
            name: Some("nginx".into()),
        };
        let all = [
            replica(Some("a"), Some(digest("old"))),
            replica(Some("a"), Some(digest("new"))),
            replica(Some("b"), Some(digest("new"))),
            replica(None, None),
        ];
        let running = Rules::default().sort(&all).running;
        let image = &running.images[0];
        assert_eq!((image.containers, image.nodes), (4, Some(2)));
        assert_eq!(image.digests, BTreeMap::from([(digest("new"), 2), (digest("old"), 1)]));
        let part = &image.parts[..];
        assert_eq!(part.len(), 1);
        assert_eq!((&*part[0].namespace, &*part[0].workload_kind, &*part[0].workload), ("shop", "Deployment", "web"));
        let unknown = Rules::default().sort(&[container("nginx:1")]).running;
        assert_eq!((unknown.images[0].nodes, unknown.images[0].parts.len()), (None, 0), "unknown is not zero");
    }

    #[test]
    fn a_source_that_lies_stays_bounded() {
        let many: Vec<Container> = (0..CONTAINERS_MAX + 7).map(|n| container(&format!("app-{n}:1"))).collect();
        let sorted = Rules::default().sort(&many);
        assert_eq!(sorted.running.images.len(), IMAGES_MAX);
        assert_eq!(sorted.running.skipped, (CONTAINERS_MAX + 7 - IMAGES_MAX) as u64);
    }

    proptest! {
        #[test]
        fn every_container_is_counted_once_in_any_order(
            names in prop::collection::vec("[a-cA:/@. ]{0,4}", 0..30),
            seed in any::<u64>(),
        ) {
            let all: Vec<Container> = names.iter().map(|name| container(name)).collect();
            let sorted = Rules::default().sort(&all);
            let counted: u64 = sorted.running.images.iter().map(|image| image.containers).sum();
            prop_assert_eq!(counted + sorted.running.skipped, all.len() as u64);
            let mut other = all.clone();
            let at = usize::try_from(seed % 31).unwrap().min(other.len());
            other.rotate_left(at);
            prop_assert_eq!(Rules::default().sort(&other).running, sorted.running);
        }
    }
}
