//! What a first scan of some tags would ask, and what they would publish.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};

use crate::image::{Image, Layer, Timestamp};
use crate::oci::{Digest, DistinctPlatforms, MediaType, Platform, Reason, Repository};
use crate::registry::{At, Client, Head};
use crate::scan;
use crate::scan::{Fetched, NoPlatform, ReadError};
use crate::store::{Store, Stored, StoredIndex};
use crate::tag::{Observation, Outcome, Reading, TagRequest};
use crate::target::Target;

use super::Requests;

/// How many tags are asked for at a time. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 32;

/// Children that have to be read to know what they are, of one tag: more than this a scan would not read either.
const NESTED_MAX: usize = 1000;

/// Of images that are not read: nearly all say when they were made.
const CREATED: Option<Timestamp> = Some(1.0);

/// Manifests of one registry that a scan before would have read, and the repositories in which it met them.
pub(super) type Seen = HashMap<Digest, HashSet<Repository>>;

/// What the tags of one target cost.
pub(super) struct Forecast<'a> {
    client: &'a Client,
    seen: &'a mut Seen,
    /// One index of each repository, where others are taken to be like it.
    example: HashMap<Repository, Arc<StoredIndex>>,
    store: Store,
    pub(super) first: Requests,
    pub(super) errors: Vec<(Reason, String)>,
    /// Tags of which at least the digest could be had.
    pub(super) tags_read: usize,
    pub(super) no_platform: Vec<NoPlatform>,
}

impl<'a> Forecast<'a> {
    pub(super) fn new(client: &'a Client, seen: &'a mut Seen) -> Self {
        Self {
            client,
            seen,
            example: HashMap::new(),
            store: Store::memory(),
            first: Requests::default(),
            errors: Vec::new(),
            tags_read: 0,
            no_platform: Vec::new(),
        }
    }

    /// Counts what reading these tags would ask, and gives observations of as many series as they would have.
    pub(super) async fn read(&mut self, target: &Target, tags: &[TagRequest]) -> Vec<Observation> {
        let client = self.client;
        let store = &self.store;
        let roots: Vec<(TagRequest, Result<Root, ReadError>)> = stream::iter(tags.to_vec())
            .map(|wanted| async move {
                let root = root(client, store, &wanted).await;
                (wanted, root)
            })
            .buffered(TAGS_UNDER_WAY)
            .collect()
            .await;
        let mut observations = Vec::new();
        for (wanted, root) in roots {
            match root {
                Ok(root) => {
                    self.tags_read += 1;
                    observations.extend(self.tag(&wanted, root).await);
                }
                Err(error) => {
                    let reason = error.reason();
                    let is_gone = reason == Reason::NotFound;
                    // What is not there has no sizes and is published as such.
                    let outcome = if is_gone { Outcome::Gone } else { Outcome::Failed(reason) };
                    observations.push(observation(&wanted, outcome));
                    if !is_gone || target.expects(&wanted.tag) {
                        self.errors.push((reason, error.to_string()));
                    }
                }
            }
        }
        observations
    }

    async fn tag(&mut self, wanted: &TagRequest, root: Root) -> Option<Observation> {
        let metered = self.client.meters_pulls();
        let Root { digest, header, media_type, document } = root;
        let known = self.seen.contains_key(&digest);
        if metered {
            self.first.heads += 1;
        }
        // Without a HEAD first, a tag is fetched although another tag of the same digest was.
        if !(metered && known) {
            self.first.manifests += 1;
        }
        let places = self.seen.entry(digest.clone()).or_default();
        let fresh = places.is_empty();
        places.insert(wanted.repository.clone());
        let (index, found) = match document {
            Some(Stored::Index(index)) => (Some(index), None),
            Some(Stored::Image(image)) => (None, Some((image.platform.clone(), image.created))),
            None if media_type.is_index() => (Some(self.index(wanted, &digest, metered).await?), None),
            None => (None, wanted.platforms.platforms().first().map(|platform| (platform.clone(), CREATED))),
        };
        let images = if let Some(index) = index {
            self.no_platform.extend(NoPlatform::of_entries(wanted, &index.entries));
            self.children(wanted, &digest, index).await
        } else {
            let (platform, created) =
                found.unwrap_or_else(|| (Platform::from_parts("linux", "amd64", "", ""), CREATED));
            self.first.configs += u64::from(fresh && !platform.as_str().is_empty());
            vec![image(digest.clone(), platform, media_type.clone(), created)]
        };
        let reading = Reading {
            digest,
            header,
            media_type,
            index_bytes: 1,
            images,
            attestations: 0,
            failed: Vec::new(),
            platforms: wanted.platforms.clone(),
        };
        Some(observation(wanted, Outcome::Read(Arc::new(reading))))
    }

    /// The index, or one that it is taken to be like.
    async fn index(&mut self, wanted: &TagRequest, digest: &Digest, metered: bool) -> Option<Arc<StoredIndex>> {
        if metered && let Some(example) = self.example.get(&wanted.repository) {
            return Some(example.clone());
        }
        match self.fetch(wanted, digest).await? {
            Stored::Index(index) => {
                self.example.insert(wanted.repository.clone(), index.clone());
                Some(index)
            }
            Stored::Image(_) => None,
        }
    }

    async fn children(&mut self, wanted: &TagRequest, root: &Digest, index: Arc<StoredIndex>) -> Vec<Arc<Image>> {
        let mut images: Vec<Arc<Image>> = Vec::new();
        let mut indexes = VecDeque::from([index]);
        let mut met = HashSet::from([root.clone()]);
        let (mut distinct, mut counted) = (DistinctPlatforms::default(), HashSet::new());
        while let Some(index) = indexes.pop_front() {
            for entry in index.entries.iter().filter(|entry| scan::is_child(entry, &wanted.platforms)) {
                let (platform, configs, created) = match &entry.platform {
                    Some(platform) if !entry.media_type.is_index() => (platform.clone(), 1, CREATED),
                    // Only itself would tell.
                    _ if self.client.meters_pulls() || !met.insert(entry.digest.clone()) => continue,
                    _ => match self.fetch(wanted, &entry.digest).await {
                        Some(Stored::Image(image)) => {
                            let has_config = !image.platform.as_str().is_empty();
                            (image.platform.clone(), u64::from(has_config), image.created)
                        }
                        Some(Stored::Index(index)) => {
                            self.count(wanted, &entry.digest, 0);
                            if met.len() < NESTED_MAX {
                                indexes.push_back(index);
                            }
                            continue;
                        }
                        None => continue,
                    },
                };
                if !counted.insert((entry.digest.clone(), platform.clone())) {
                    continue;
                }
                let is_included = wanted.platforms.includes(&platform);
                let platform = distinct.next(&platform, "");
                // An index that stands for another one has the other's number of children, and none of its digests.
                let digest = if self.client.meters_pulls() {
                    Digest::sha256_of(format!("{root} {platform}").as_bytes())
                } else {
                    entry.digest.clone()
                };
                self.count(wanted, &digest, configs);
                if is_included {
                    images.push(image(digest, platform, entry.media_type.clone(), created));
                }
            }
        }
        images
    }

    /// Counts what a child of an index costs that has so many configs.
    fn count(&mut self, wanted: &TagRequest, digest: &Digest, configs: u64) {
        let places = self.seen.entry(digest.clone()).or_default();
        let fresh = places.is_empty();
        let here = places.insert(wanted.repository.clone());
        if fresh {
            self.first.manifests += 1;
            self.first.configs += configs;
        } else if here && self.client.heads() {
            // Known from another repository, which this one may lack.
            self.first.heads += 1;
        } else if here {
            self.first.manifests += 1;
        }
    }

    async fn fetch(&mut self, wanted: &TagRequest, digest: &Digest) -> Option<Stored> {
        match scan::fetch_document(self.client, &self.store, &wanted.repository, At::Digest(digest)).await {
            Ok(fetched) => Some(fetched.document),
            Err(error) => {
                self.errors.push((error.reason(), error.to_string()));
                None
            }
        }
    }
}

/// What a tag points at.
struct Root {
    digest: Digest,
    header: Option<Arc<str>>,
    media_type: MediaType,
    /// Where it had to be fetched to know its digest.
    document: Option<Stored>,
}

/// By one HEAD, or by what a scan would ask where that says nothing and pulls cost nothing.
async fn root(client: &Client, store: &Store, wanted: &TagRequest) -> Result<Root, ReadError> {
    let (repository, at) = (&wanted.repository, At::Tag(&wanted.tag));
    if client.heads() {
        match client.head_manifest(repository, at).await {
            Ok(Head { digest_header: header, media_type, .. }) => {
                if let Some(digest) = header.as_deref().and_then(|text| text.parse().ok()) {
                    return Ok(Root { digest, header, media_type, document: None });
                }
            }
            Err(error) if error.reason() == Reason::Unsupported && !client.meters_pulls() => {}
            Err(error) => return Err(error.into()),
        }
    }
    let Fetched { digest, header, document, .. } = scan::fetch_document(client, store, repository, at).await?;
    let media_type = match &document {
        Stored::Image(image) => image.media_type.clone(),
        Stored::Index(index) => index.media_type.clone(),
    };
    Ok(Root { digest, header, media_type, document: Some(document) })
}

fn observation(wanted: &TagRequest, outcome: Outcome) -> Observation {
    Observation { repository: wanted.repository.clone(), tag: wanted.tag.clone(), at: 1.0, outcome }
}

/// An image of which everything is known that makes a series.
fn image(digest: Digest, platform: Platform, media_type: MediaType, created: Option<Timestamp>) -> Arc<Image> {
    let layer = Layer {
        digest: digest.clone(),
        bytes: Some(1),
        foreign: false,
        diff_id: None,
        media_type: MediaType::default(),
        hint: None,
    };
    Arc::new(Image {
        image_id: Some(digest.clone()),
        digest,
        media_type,
        artifact_type: "".into(),
        platform,
        created,
        config_bytes: 1,
        manifest_bytes: 1,
        layers: [layer].into(),
    })
}
