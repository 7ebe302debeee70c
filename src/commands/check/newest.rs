//! The newest release of a target, apart from the image that is judged.

use std::collections::HashMap;

use futures_util::{StreamExt as _, stream};

use super::Context;
use super::error::CheckError;
use crate::config::Config;
use crate::oci::{Reference, Repository, Tag};
use crate::registry::Client;
use crate::scan;
use crate::scan::discovery;
use crate::store::Store;
use crate::tag::{Outcome, TagRequest};
use crate::target::{Candidate, CandidateState, NewestBy, Repositories, Target};

/// Tags that are read at the same time for their dates. The client bounds requests; this bounds memory.
const TAGS_UNDER_WAY: usize = 16;

/// The releases of a target, apart from the image that is judged.
pub(super) struct Releases {
    pub(super) repository: Repository,
    /// Newest first, without the tag that is judged.
    pub(super) tags: Vec<Tag>,
    /// Whether the tag that is judged is a release: if it is not, a release with the same digest is the same one.
    pub(super) is_release: bool,
}

/// Lists the releases of a target.
pub(super) async fn releases(
    context: Context<'_>,
    name: &str,
    pushed_as: Option<&Reference>,
) -> Result<Releases, CheckError> {
    let (target, by) = target(context.config, name)?;
    let repository = repository(&target, pushed_as)?;
    let own = pushed_as.filter(|own| own.repository == repository).and_then(|own| own.tag.clone());
    let client = context.registries.client(repository.registry());
    let target = Target { repositories: Repositories::one(repository.clone()), ..target };
    let mut tags = listed(&client, &target, by).await?;
    let count = tags.len();
    tags.retain(|tag| own.as_ref() != Some(tag));
    Ok(Releases { repository, is_release: tags.len() < count, tags })
}

fn target(config: Option<&Config>, name: &str) -> Result<(Target, NewestBy), CheckError> {
    let Some(config) = config else {
        return Err(CheckError::Target(format!(
            "newest:{name} names a target of a configuration: say which by --config.file"
        )));
    };
    let Some(target) = config.targets.iter().find(|target| &*target.name.0 == name) else {
        let names: Vec<&str> = config.targets.iter().map(|target| &*target.name.0).collect();
        return Err(CheckError::Target(format!("no target is named `{name}`: there are {}", names.join(", "))));
    };
    let by = target.newest.ok_or_else(|| {
        CheckError::Target(format!("target `{name}` does not say what is newest: add newest = \"semver\" to it"))
    })?;
    Ok((Target::clone(target), by))
}

fn repository(target: &Target, own: Option<&Reference>) -> Result<Repository, CheckError> {
    match (target.repositories.only_names(), own) {
        (Some([only]), _) => Ok(only.clone()),
        (_, Some(own)) if target.repositories.include(&own.repository) => Ok(own.repository.clone()),
        (_, own) => {
            let repositories = &target.repositories;
            let own = own.map_or_else(String::new, |own| format!("{} is none of them: ", own.repository));
            Err(CheckError::Target(format!(
                "target `{}` selects the repositories {repositories}: {own}say by --as which one the image belongs to",
                target.name
            )))
        }
    }
}

/// The target's releases, newest first.
async fn listed(client: &Client, target: &Target, by: NewestBy) -> Result<Vec<Tag>, CheckError> {
    let found = discovery::discover(client, target).await;
    if let Some(error) = found.errors.into_iter().next() {
        return Err(error.into());
    }
    let Some(repository) = found.discovered.repositories.into_iter().next() else { return Ok(Vec::new()) };
    let candidates: Vec<Candidate> = repository.candidates.iter().map(Candidate::new).collect();
    let dates = match by {
        NewestBy::Semver => HashMap::new(),
        NewestBy::Created => dates(client, target, &repository.repository, &repository.tags).await?,
    };
    let state = |tag: &Tag| match (by, dates.get(tag)) {
        (NewestBy::Semver, _) => CandidateState::Read((), None),
        (NewestBy::Created, Some(created)) => CandidateState::Read((), *created),
        (NewestBy::Created, None) => CandidateState::Unread,
    };
    Ok(by.releases(&candidates, state).into_iter().map(|(tag, ())| tag.clone()).collect())
}

/// When the selected tags' images were made. A tag that vanished meanwhile is left out.
async fn dates(
    client: &Client,
    target: &Target,
    repository: &Repository,
    tags: &[Tag],
) -> Result<HashMap<Tag, Option<f64>>, CheckError> {
    let store = Store::memory();
    let read = async |tag: &Tag| {
        let request = TagRequest::unknown(repository.clone(), tag.clone(), target.platforms.clone());
        (tag.clone(), scan::read_tag(client, &store, &request).await)
    };
    let mut reads = stream::iter(tags).map(read).buffered(TAGS_UNDER_WAY);
    let mut dates = HashMap::new();
    while let Some((tag, reported)) = reads.next().await {
        match reported.outcome {
            Outcome::Read(reading) => {
                let latest = reading.images.iter().filter_map(|image| image.created).reduce(f64::max);
                dates.insert(tag, latest);
            }
            Outcome::Gone | Outcome::Unchanged => {}
            Outcome::Failed(_) => {
                if let Some(error) = reported.errors.into_iter().next() {
                    return Err(CheckError::Registry(error.into()));
                }
            }
        }
    }
    Ok(dates)
}
