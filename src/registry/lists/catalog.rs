//! The catalog: all repositories of a registry. It is no part of the OCI distribution specification; Docker's registry has
//! it (<https://distribution.github.io/distribution/spec/api/#catalog>); others have none, or show it to few.

use http::StatusCode;

use super::ListRequest;
use super::repositories::{REPOSITORIES_MAX, RepositoryList};
use crate::oci::{Operation, Reason, Registry, Repository};
use crate::registry::auth::cache::Scope;
use crate::registry::client::Client;
use crate::registry::error::RegistryError;
use crate::registry::transport::{Request, Response};

impl Client {
    /// The repositories of the registry below `prefix`, the segments of a pattern before its first wildcard: by the
    /// owner's API where the registry's repositories are listed so, else the whole catalog.
    ///
    /// # Errors
    /// Only if the first page could not be read. A refusal says what to do instead.
    pub async fn list_repositories(&self, prefix: &[&str]) -> Result<RepositoryList, RegistryError> {
        match &self.owner_api {
            Some(api) => api.list(&self.auth, prefix).await,
            None => self.catalog().await,
        }
    }

    /// The registry's catalog. An error only if the first page could not be read; `Reason::Unsupported` where the registry
    /// has none.
    pub(super) async fn catalog(&self) -> Result<RepositoryList, RegistryError> {
        let registry = &self.transport.registry;
        let subject = format!("the catalog of {registry}");
        if registry.is_docker_hub() {
            return Err(RegistryError::new(Reason::Unsupported, &subject, advice(registry, Reason::Unsupported)));
        }
        let list = ListRequest {
            operation: Operation::ListRepositories,
            scope: Scope::Catalog,
            path: "/v2/_catalog",
            subject: &subject,
            max: REPOSITORIES_MAX,
        };
        let keep = &mut |text: &str| Repository::new(registry.clone(), text).ok();
        let pages = self.pages(&list, keep).await.map_err(|error| match error.reason() {
            reason @ (Reason::Denied | Reason::NotFound | Reason::Unsupported) => {
                error.followed_by(&advice(registry, reason))
            }
            _ => error,
        })?;
        Ok(RepositoryList { repositories: pages.kept, stopped: pages.stopped, cut: pages.cut })
    }

    /// A catalog is optional, so 404 means that there is none, even from a proxy.
    pub(super) fn refuse_list(
        &self,
        list: &ListRequest<'_>,
        request: &Request<'_>,
        response: &Response,
    ) -> RegistryError {
        if list.operation == Operation::ListRepositories && response.status == StatusCode::NOT_FOUND {
            return self.wrong(list.operation, list.subject, Reason::Unsupported, "404 Not Found".to_owned());
        }
        self.refuse(request, response)
    }
}

/// What a refused catalog means and what to do instead, in the words of `docs/registries.md`.
fn advice(registry: &Registry, reason: Reason) -> String {
    match (without_catalog(registry), reason) {
        (Some(name), _) => format!("{name} has no catalog: {NAME_THEM}"),
        (None, Reason::Denied) => {
            format!("{ADMINISTRATORS}: set `list = \"harbor\"` or `\"gitlab\"`, use such an account, or {NAME_THEM}")
        }
        (None, _) => format!("the registry may have no catalog: {NAME_THEM}"),
    }
}

const ADMINISTRATORS: &str = "a catalog may be for administrators only, as Harbor's and GitLab's are";
const NAME_THEM: &str = "name the repositories one by one instead of by a wildcard";

/// The name of a service that is known to have no catalog.
fn without_catalog(registry: &Registry) -> Option<&'static str> {
    match registry.as_str() {
        _ if registry.is_docker_hub() => Some("Docker Hub"),
        "ghcr.io" => Some("GHCR"),
        "public.ecr.aws" => Some("ECR Public"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_catalogs_are_explained_in_the_words_of_the_recipes() {
        let recipes = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/registries.md");
        let recipes = std::fs::read_to_string(recipes).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        for (registry, reason, begins) in [
            ("docker.io", Reason::Unsupported, "Docker Hub has no catalog"),
            ("ghcr.io", Reason::Denied, "GHCR has no catalog"),
            ("public.ecr.aws", Reason::NotFound, "ECR Public has no catalog"),
            ("harbor.example.com", Reason::Denied, ADMINISTRATORS),
            ("r.example.com", Reason::Unsupported, "the registry may have no catalog"),
        ] {
            let advice = advice(&registry.parse().unwrap(), reason);
            assert!(advice.starts_with(begins) && advice.ends_with(NAME_THEM), "{advice}");
            assert!(recipes.contains(begins), "the recipes do not say that {begins}");
        }
        assert!(recipes.contains(NAME_THEM));
    }
}
