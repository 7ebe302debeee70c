//! What each owner's API is asked, and what its pages say. Pure.
//!
//! - Docker Hub: <https://docs.docker.com/reference/api/hub/latest/>, "List repositories in a namespace".
//! - GitHub: <https://docs.github.com/en/rest/packages/packages>, of organisations and of users.
//! - GitLab: <https://docs.gitlab.com/api/container_registry/>, of groups and of projects.
//! - Harbor: `GET /projects/{project_name}/repositories` of its API, version 2.0.
//! - Quay: <https://docs.quay.io/api/swagger/>, `listRepos`.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::super::pages::on_the_same_host;
use crate::oci::json::problem as json_problem;
use crate::registry::auth::ApiScheme;
use crate::registry::settings::ListApi;

/// Entries of a page, where a number may be asked for: the most that all of them allow.
pub(super) const PAGE_ENTRIES: usize = 100;

/// One list that may have the repositories that are looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// Whose repositories these are, for names and messages.
    pub(super) owner: String,
    /// The first page, below the API's address.
    pub(super) first: String,
}

/// What a page has.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Entries {
    /// How many there are, those without a name included.
    pub(super) count: usize,
    /// Names of repositories after the registry.
    pub(super) names: Vec<String>,
    /// The next page, where the body says so.
    pub(super) next: Option<Next>,
    /// How many entries all pages have, where the body says so.
    pub(super) total: Option<u64>,
}

/// Where a body leads.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// To this address.
    Address(String),
    /// To the page that this token stands for.
    Token(String),
}

impl Next {
    /// On the host of the page before.
    pub(super) fn address(&self, from: &Url) -> Option<Url> {
        match self {
            Self::Address(target) => on_the_same_host(from, target),
            Self::Token(token) => Some(with_parameter(from, "next_page", token)),
        }
    }
}

impl ListApi {
    /// The API that lists the repositories of a well-known registry; of any other, the catalog.
    pub fn by_host(registry: &crate::oci::Registry) -> Self {
        match registry.as_str() {
            _ if registry.is_docker_hub() => Self::DockerHub,
            "ghcr.io" => Self::GitHub,
            "registry.gitlab.com" => Self::GitLab,
            "quay.io" => Self::Quay,
            _ => Self::Catalog,
        }
    }

    /// Where the API is without `api_url`: the service's, or on the registry's own host.
    pub(super) fn default_url(self, registry_home: &Url) -> Url {
        let service = match self {
            Self::DockerHub => "https://hub.docker.com/",
            Self::GitHub => "https://api.github.com/",
            Self::GitLab => "https://gitlab.com/",
            Self::Catalog | Self::Harbor | Self::Quay => return registry_home.clone(),
        };
        service.parse().expect("a constant address is valid")
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Catalog => "the catalog",
            Self::DockerHub => "Docker Hub",
            Self::GitHub => "GitHub",
            Self::GitLab => "GitLab",
            Self::Harbor => "Harbor",
            Self::Quay => "Quay",
        }
    }

    /// What owns repositories there.
    pub(super) fn owner(self) -> &'static str {
        match self {
            Self::DockerHub | Self::Quay | Self::Catalog => "namespace",
            Self::GitHub => "owner",
            Self::GitLab => "group",
            Self::Harbor => "project",
        }
    }

    /// What authenticates a request.
    pub(super) fn scheme(self) -> ApiScheme {
        match self {
            Self::DockerHub => ApiScheme::Exchanged,
            Self::GitHub | Self::GitLab => ApiScheme::Bearer,
            Self::Harbor => ApiScheme::Basic,
            Self::Catalog | Self::Quay => ApiScheme::TokenFile,
        }
    }

    /// Whether `Link` or the number in the address leads to the next page.
    pub(super) fn is_paged_by_number(self) -> bool {
        matches!(self, Self::GitHub | Self::GitLab | Self::Harbor)
    }
}

/// The lists to read, in this order, until one exists.
pub(super) fn listings(list: ListApi, prefix: &[&str]) -> Vec<Listing> {
    let Some(&owner) = prefix.first() else { return Vec::new() };
    let one = |first: String| Listing { owner: owner.to_owned(), first };
    match list {
        ListApi::Catalog => Vec::new(),
        // By name: in the order of updates a push between two pages would move an entry to a page that was read.
        ListApi::DockerHub => {
            vec![one(format!("v2/namespaces/{owner}/repositories?page_size={PAGE_ENTRIES}&ordering=name"))]
        }
        ListApi::GitHub => ["orgs", "users"]
            .map(|kind| one(format!("{kind}/{owner}/packages?package_type=container&per_page={PAGE_ENTRIES}&page=1")))
            .into(),
        // A prefix may name a group, a project, or a repository within a project: the longest list first is the shortest.
        ListApi::GitLab => (1..=prefix.len())
            .rev()
            .flat_map(|segments| {
                let (path, encoded) = (prefix[..segments].join("/"), prefix[..segments].join("%2F"));
                ["groups", "projects"].map(|kind| Listing {
                    owner: path.clone(),
                    first: format!("api/v4/{kind}/{encoded}/registry/repositories?per_page={PAGE_ENTRIES}&page=1"),
                })
            })
            .collect(),
        ListApi::Harbor => {
            vec![one(format!("api/v2.0/projects/{owner}/repositories?page_size={PAGE_ENTRIES}&page=1"))]
        }
        ListApi::Quay => vec![one(format!("api/v1/repository?namespace={owner}&public=true"))],
    }
}

impl Entries {
    /// Reads a page. What has no name is left out; a body of another form is an error, since what is missing from a list
    /// counts as deleted.
    pub(super) fn read(list: ListApi, owner: &str, body: &[u8]) -> Result<Self, String> {
        match list {
            ListApi::DockerHub => {
                let page: DockerHubPage = parse(body)?;
                let next = page.next.filter(|next| !next.is_empty()).map(Next::Address);
                Ok(Self { count: page.results.len(), names: below(owner, page.results), next, total: page.count })
            }
            ListApi::GitHub => {
                let entries: Vec<Option<Named>> = parse(body)?;
                Ok(Self { count: entries.len(), names: below(owner, entries), ..Self::default() })
            }
            ListApi::GitLab => {
                let entries: Vec<Option<GitLabEntry>> = parse(body)?;
                let count = entries.len();
                let names = entries.into_iter().flatten().filter_map(|entry| entry.path);
                Ok(Self { count, names: names.map(|name| lower(&name)).collect(), ..Self::default() })
            }
            ListApi::Harbor => {
                let entries: Vec<Option<Named>> = parse(body)?;
                let count = entries.len();
                let names = entries.into_iter().flatten().filter_map(|entry| entry.name);
                Ok(Self { count, names: names.map(|name| lower(&name)).collect(), ..Self::default() })
            }
            ListApi::Quay => {
                let page: QuayPage = parse(body)?;
                let next = page.next_page.filter(|next| !next.is_empty()).map(Next::Token);
                Ok(Self { count: page.repositories.len(), names: below(owner, page.repositories), next, total: None })
            }
            ListApi::Catalog => Err("the catalog is no such list".to_owned()),
        }
    }
}

/// The address of the page with the next number.
pub(super) fn following(from: &Url) -> Url {
    let number = from.query_pairs().find(|(key, _)| key == "page").and_then(|(_, value)| value.parse::<u64>().ok());
    with_parameter(from, "page", &number.unwrap_or(1).saturating_add(1).to_string())
}

fn with_parameter(from: &Url, name: &str, value: &str) -> Url {
    let others: Vec<(String, String)> =
        from.query_pairs().filter(|(key, _)| key != name).map(|(key, value)| (key.into(), value.into())).collect();
    let mut next = from.clone();
    next.query_pairs_mut().clear().extend_pairs(others).append_pair(name, value);
    next
}

fn below(owner: &str, entries: Vec<Option<Named>>) -> Vec<String> {
    entries.into_iter().flatten().filter_map(|entry| entry.name).map(|name| lower(&format!("{owner}/{name}"))).collect()
}

/// Names of repositories have no capitals (distribution specification), those of organisations and projects do.
fn lower(name: &str) -> String {
    name.to_lowercase()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| json_problem(&error))
}

#[derive(Deserialize)]
struct DockerHubPage {
    count: Option<u64>,
    next: Option<String>,
    results: Vec<Option<Named>>,
}

#[derive(Deserialize)]
struct QuayPage {
    repositories: Vec<Option<Named>>,
    next_page: Option<String>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

#[derive(Deserialize)]
struct GitLabEntry {
    path: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn firsts(list: ListApi, prefix: &[&str]) -> Vec<String> {
        listings(list, prefix).into_iter().map(|listing| listing.first).collect()
    }

    #[test]
    fn an_owner_is_asked_for_as_each_service_documents_it() {
        for (list, prefix, expected) in [
            (ListApi::DockerHub, &["acme"][..], &["v2/namespaces/acme/repositories?page_size=100&ordering=name"][..]),
            (
                ListApi::GitHub,
                &["acme", "web"],
                &[
                    "orgs/acme/packages?package_type=container&per_page=100&page=1",
                    "users/acme/packages?package_type=container&per_page=100&page=1",
                ],
            ),
            (
                ListApi::GitLab,
                &["acme", "web"],
                &[
                    "api/v4/groups/acme%2Fweb/registry/repositories?per_page=100&page=1",
                    "api/v4/projects/acme%2Fweb/registry/repositories?per_page=100&page=1",
                    "api/v4/groups/acme/registry/repositories?per_page=100&page=1",
                    "api/v4/projects/acme/registry/repositories?per_page=100&page=1",
                ],
            ),
            (ListApi::Harbor, &["acme"], &["api/v2.0/projects/acme/repositories?page_size=100&page=1"]),
            (ListApi::Quay, &["acme"], &["api/v1/repository?namespace=acme&public=true"]),
            (ListApi::Quay, &[], &[]),
        ] {
            assert_eq!(firsts(list, prefix), expected);
        }
    }

    #[test]
    fn pages_are_read_as_each_service_documents_them() {
        for (list, body, names, next, total) in [
            (
                ListApi::DockerHub,
                r#"{"count":3,"next":"https://hub.docker.com/v2/namespaces/acme/repositories?page=2","previous":null,
                   "results":[{"name":"web","namespace":"acme","is_private":false},{"name":"api"},null]}"#,
                &["acme/web", "acme/api"][..],
                Some(Next::Address("https://hub.docker.com/v2/namespaces/acme/repositories?page=2".to_owned())),
                Some(3),
            ),
            (ListApi::DockerHub, r#"{"count":0,"next":null,"results":[]}"#, &[], None, Some(0)),
            (
                ListApi::GitHub,
                r#"[{"id":1,"name":"web","package_type":"container"},{"name":"tools/Lint"},{"id":2}]"#,
                &["acme/web", "acme/tools/lint"],
                None,
                None,
            ),
            (
                ListApi::GitLab,
                r#"[{"id":1,"name":"","path":"Acme/web","location":"registry.gitlab.com/acme/web"},{"path":"acme/web/worker"}]"#,
                &["acme/web", "acme/web/worker"],
                None,
                None,
            ),
            (ListApi::Harbor, r#"[{"name":"acme/deep/web","artifact_count":3}]"#, &["acme/deep/web"], None, None),
            (
                ListApi::Quay,
                r#"{"repositories":[{"namespace":"acme","name":"web","is_public":true}],"next_page":"gAAA="}"#,
                &["acme/web"],
                Some(Next::Token("gAAA=".to_owned())),
                None,
            ),
        ] {
            let entries = Entries::read(list, "acme", body.as_bytes()).unwrap();
            assert_eq!(
                (entries.names, entries.next, entries.total),
                (names.iter().map(ToString::to_string).collect(), next, total)
            );
        }
    }

    #[test]
    fn another_form_is_no_page() {
        for list in [ListApi::DockerHub, ListApi::GitHub, ListApi::GitLab, ListApi::Harbor, ListApi::Quay] {
            for body in
                ["", "null", "{}", "{\"message\":\"x\"}", "[7]", "<html>", "{\"results\":{},\"repositories\":{}}"]
            {
                assert!(Entries::read(list, "acme", body.as_bytes()).is_err(), "{list:?} {body}");
            }
        }
    }

    #[test]
    fn the_next_page_is_on_the_same_host() {
        let from: Url = "https://api.example/x?namespace=acme&page=9&public=true".parse().unwrap();
        let token = Next::Token("a=&b".to_owned()).address(&from).unwrap();
        assert_eq!(token.as_str(), "https://api.example/x?namespace=acme&page=9&public=true&next_page=a%3D%26b");
        let again = Next::Token("c".to_owned()).address(&token).unwrap();
        assert_eq!(again.as_str(), "https://api.example/x?namespace=acme&page=9&public=true&next_page=c");
        let other = Next::Address("https://evil.example/y?page=2".to_owned()).address(&from).unwrap();
        assert_eq!(other.as_str(), "https://api.example/y?page=2");
        assert_eq!(following(&from).as_str(), "https://api.example/x?namespace=acme&public=true&page=10");
    }

    proptest! {
        #[test]
        fn no_body_panics_the_reader(body in "[{}\\[\\]\",:a-z\\\\]{0,40}|.*") {
            for list in [ListApi::DockerHub, ListApi::GitHub, ListApi::GitLab, ListApi::Harbor, ListApi::Quay] {
                let _ = Entries::read(list, "acme", body.as_bytes());
            }
        }
    }
}
