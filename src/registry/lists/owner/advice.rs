//! What a refusal of an owner's API means, and what to do, in the words of `docs/registries.md`.

use crate::registry::settings::ListApi;

/// After 401 and 403.
pub(super) fn denied(list: ListApi) -> &'static str {
    match list {
        ListApi::DockerHub => {
            "use a login that may see the namespace, or leave the login out for its public repositories"
        }
        ListApi::GitHub => {
            "GitHub lists packages only for a personal access token (classic) with `read:packages`: name its file in \
             `api_token_file`, or make it the registry's password"
        }
        ListApi::GitLab => {
            "GitLab lists repositories for a token with `read_api` and the role Reporter: name its file in `api_token_file`"
        }
        ListApi::Harbor => "the account needs the permission to list the project's repositories",
        ListApi::Quay => {
            "Quay lists private repositories for an OAuth access token with `repo:read`: name its file in `api_token_file`"
        }
        ListApi::Catalog => "",
    }
}

/// After a 404.
pub(super) fn not_found(list: ListApi) -> String {
    match list {
        ListApi::GitHub => "there is no such organisation or user, or the token may not see it".to_owned(),
        ListApi::GitLab => {
            "there is no such group or project, or the token may not see it; of a user, name the projects \
                            (`USER/PROJECT/**`)"
                .to_owned()
        }
        other => format!("there is no such {}, or the login may not see it", other.owner()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipes_have_what_a_refusal_advises() {
        let recipes = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/registries.md")).unwrap();
        for permission in ["`read:packages`", "`read_api`", "`repo:read`", "`api_token_file`"] {
            assert!(recipes.contains(permission), "the recipes do not say {permission}");
        }
        let all = [ListApi::DockerHub, ListApi::GitHub, ListApi::GitLab, ListApi::Harbor, ListApi::Quay];
        assert!(all.iter().all(|list| !denied(*list).is_empty() && !not_found(*list).is_empty()));
    }
}
