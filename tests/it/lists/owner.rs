//! Lists of repositories by the APIs of Docker Hub, GitHub, GitLab, Harbor and Quay, scripted as their documentation has
//! them.

use std::sync::Arc;

use image_size_exporter::oci::Repository;
use image_size_exporter::registry::{Client, Credential, ListApi, RepositoryList};

use super::*;
use crate::support::daemon::{Daemon, config};
use crate::support::registry::basic;

const SECRET: &str = "sesame-and-more";
const SERVICES: [ListApi; 5] = [ListApi::DockerHub, ListApi::GitHub, ListApi::GitLab, ListApi::Harbor, ListApi::Quay];

/// A registry whose repositories another server lists.
struct Service {
    list: ListApi,
    registry: TestRegistry,
    api: TestRegistry,
    files: tempfile::TempDir,
}

/// What the client has to log in with.
#[derive(Clone, Copy, PartialEq)]
enum Has {
    Nothing,
    Password,
    Token,
}

impl Service {
    fn start(list: ListApi) -> Self {
        let (registry, api) = (TestRegistry::start(), TestRegistry::start());
        if list == ListApi::DockerHub {
            api.always("POST /v2/auth/token", Reply::json(r#"{"access_token":"exchanged"}"#));
        }
        Self { list, registry, api, files: tempfile::tempdir().unwrap() }
    }

    fn client(&self, has: Has) -> Arc<Client> {
        let file = self.files.path().join("secret");
        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        self.registry.client_with(|settings| {
            settings.list = Some(self.list);
            settings.api_url = Some(format!("{}/", self.api.base()).parse().unwrap());
            match has {
                Has::Nothing => {}
                Has::Password => {
                    settings.credential = Credential::PasswordFile { username: "alice".to_owned(), path: file };
                }
                Has::Token => settings.api_token_file = Some(file),
            }
        })
    }

    /// The list of an owner.
    fn path(&self) -> &'static str {
        match self.list {
            ListApi::DockerHub => "GET /v2/namespaces/acme/repositories?",
            ListApi::GitHub => "GET /orgs/acme/packages?",
            ListApi::GitLab => "GET /api/v4/groups/acme/registry/repositories?",
            ListApi::Harbor => "GET /api/v2.0/projects/acme/repositories?",
            ListApi::Quay => "GET /api/v1/repository?",
            ListApi::Catalog => unreachable!(),
        }
    }

    /// A page of these repositories of `acme`, and whether another one follows.
    fn page(&self, names: &[&str], follows: bool) -> Reply {
        let entries = |name: fn(&str) -> String| names.iter().map(|one| name(one)).collect::<Vec<_>>().join(",");
        let link = |reply: Reply| {
            let next = self.path().trim_start_matches("GET ");
            if follows { reply.and("link", format!("<{next}page=2>; rel=\"next\"")) } else { reply }
        };
        let short: fn(&str) -> String = |name| format!(r#"{{"name":"{name}"}}"#);
        match self.list {
            ListApi::DockerHub => {
                let next = if follows {
                    r#""https://elsewhere.example/v2/namespaces/acme/repositories?page=2""#
                } else {
                    "null"
                };
                Reply::json(&format!(r#"{{"count":1,"next":{next},"results":[{}]}}"#, entries(short)))
            }
            ListApi::GitHub => link(Reply::json(&format!("[{}]", entries(short)))),
            ListApi::GitLab => {
                link(Reply::json(&format!("[{}]", entries(|name| format!(r#"{{"path":"acme/{name}"}}"#)))))
            }
            ListApi::Harbor => {
                link(Reply::json(&format!("[{}]", entries(|name| format!(r#"{{"name":"acme/{name}"}}"#)))))
            }
            ListApi::Quay => {
                let next = if follows { r#","next_page":"t2""# } else { "" };
                Reply::json(&format!(r#"{{"repositories":[{}]{next}}}"#, entries(short)))
            }
            ListApi::Catalog => unreachable!(),
        }
    }

    /// The `Authorization` of each request for a page.
    fn authorizations(&self) -> Vec<String> {
        let pages = self.api.requests().into_iter().filter(|seen| seen.method == "GET");
        let text = |value: Option<&http::HeaderValue>| value.map_or("none", |value| value.to_str().unwrap()).to_owned();
        pages.map(|seen| text(seen.headers.get("authorization"))).collect()
    }
}

fn names(list: &RepositoryList) -> Vec<&str> {
    list.repositories.iter().map(Repository::name).collect()
}

#[tokio::test]
async fn an_owners_list_is_read_to_its_end_with_the_login_that_the_service_takes() {
    let bearer = format!("Bearer {SECRET}");
    for list in SERVICES {
        let with_password = match list {
            ListApi::DockerHub => "Bearer exchanged".to_owned(),
            ListApi::Harbor => basic("alice", SECRET),
            ListApi::Quay => "none".to_owned(),
            _ => bearer.clone(),
        };
        for (has, expected) in [(Has::Nothing, "none"), (Has::Password, &with_password), (Has::Token, &bearer)] {
            let service = Service::start(list);
            service.api.next(service.path(), service.page(&["web", "tools/lint", "web"], true));
            service.api.next(service.path(), service.page(&["web", "Api", "..", "x y"], false));
            let found = service.client(has).list_repositories(&["acme"]).await.unwrap();
            assert_eq!(names(&found), ["acme/web", "acme/tools/lint", "acme/api"], "{list:?}");
            assert!(found.stopped.is_none() && !found.cut, "{list:?}: {:?}", found.stopped);
            assert_eq!(service.authorizations(), [expected, expected], "{list:?}");
            assert_eq!(service.registry.counts(), "", "{list:?}");
        }
    }
}

#[tokio::test]
async fn a_full_page_without_a_link_is_not_the_last_one() {
    // GitHub leaves the link out at times.
    for list in [ListApi::GitHub, ListApi::GitLab, ListApi::Harbor] {
        let service = Service::start(list);
        let full: Vec<String> = (0..100).map(|number| format!("app{number}")).collect();
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        service.api.next(service.path(), service.page(&full, false));
        service.api.next(service.path(), service.page(&["last"], false));
        let found = service.client(Has::Nothing).list_repositories(&["acme"]).await.unwrap();
        assert_eq!((found.repositories.len(), found.stopped.is_none()), (101, true), "{list:?}");
        assert!(service.api.requests()[1].uri.ends_with("page=2"), "{}", service.api.requests()[1].uri);
    }
}

#[tokio::test]
async fn an_owner_may_be_a_user_and_a_prefix_a_project() {
    let missing = || {
        Reply::Answer(
            404,
            vec![("content-type", "application/json".to_owned())],
            r#"{"message":"Not Found"}"#.to_owned(),
        )
    };
    let service = Service::start(ListApi::GitHub);
    service.api.always("GET /orgs/acme/", missing());
    service.api.always("GET /users/acme/packages?", service.page(&["web"], false));
    assert_eq!(names(&service.client(Has::Token).list_repositories(&["acme"]).await.unwrap()), ["acme/web"]);

    let service = Service::start(ListApi::GitLab);
    service.api.always("GET /api/v4/", missing());
    service.api.always("GET /api/v4/projects/acme%2Fteam/", service.page(&["team", "team/image"], false));
    let found = service.client(Has::Token).list_repositories(&["acme", "team", "image"]).await.unwrap();
    assert_eq!(names(&found), ["acme/team", "acme/team/image"]);
    let asked: Vec<String> = service
        .api
        .requests()
        .into_iter()
        .map(|seen| seen.uri.split('/').skip(3).take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        asked,
        ["groups acme%2Fteam%2Fimage", "projects acme%2Fteam%2Fimage", "groups acme%2Fteam", "projects acme%2Fteam"]
    );

    let service = Service::start(ListApi::GitHub);
    service.api.always("GET *", missing());
    let error = service.client(Has::Token).list_repositories(&["acme"]).await.unwrap_err();
    let registry = service.registry.name();
    let expected = format!(
        "the repositories of {registry}/acme: {} answered 404 Not Found (Not Found); there is no such organisation or user, or the token may not see it",
        service.api.name()
    );
    assert_eq!((error.reason(), error.to_string()), (Reason::NotFound, expected));
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    for list in SERVICES {
        for status in [401, 403] {
            let service = Service::start(list);
            service.api.always(service.path(), Reply::Echo(status, "application/json"));
            let error = service.client(Has::Token).list_repositories(&["acme"]).await.unwrap_err();
            assert_eq!(error.reason(), Reason::Denied, "{list:?}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("the repositories of {}/acme: ", service.registry.name())), "{text}");
            assert!(
                text.contains(&format!(" answered {status} ")) && text.contains("; ") && !text.contains(SECRET),
                "{text}"
            );
        }
        let service = Service::start(list);
        let error = service.client(Has::Nothing).list_repositories(&[]).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Unsupported);
        assert!(error.to_string().contains("/*`"), "{error}");
    }
    let service = Service::start(ListApi::GitHub);
    let used_up = Reply::status(403).and("x-ratelimit-remaining", "0");
    service.api.always(service.path(), used_up);
    let error = service.client(Has::Token).list_repositories(&["acme"]).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RateLimited, "{error}");
}

#[tokio::test]
async fn a_page_that_is_none_ends_the_list_early_and_is_said() {
    for list in SERVICES {
        for (what, page) in [
            ("HTML", Reply::status(200)),
            ("a failure", Reply::status(501)),
            ("denied", Reply::status(403)),
            ("gone", Reply::status(404)),
            ("another form", Reply::json(r#"{"message":"moved"}"#)),
        ] {
            let service = Service::start(list);
            service.api.next(service.path(), service.page(&["web"], true));
            service.api.next(service.path(), page);
            let found = service.client(Has::Nothing).list_repositories(&["acme"]).await.unwrap();
            assert!(found.stopped.is_some(), "{list:?} {what}");
            assert_eq!(names(&found), ["acme/web"], "{list:?} {what}");
        }
        // The same page for ever, and nothing new.
        let service = Service::start(list);
        service.api.always(service.path(), service.page(&["web"], true));
        let found = service.client(Has::Nothing).list_repositories(&["acme"]).await.unwrap();
        assert!(found.stopped.is_some() && service.api.requests().len() == 2, "{list:?}");
    }
    // An entry may have slipped to a page that was read.
    let service = Service::start(ListApi::Harbor);
    service.api.next(service.path(), service.page(&["web"], true).and("x-total-count", "101"));
    service.api.next(service.path(), service.page(&["api"], false).and("x-total-count", "100"));
    let found = service.client(Has::Nothing).list_repositories(&["acme"]).await.unwrap();
    assert!(found.stopped.unwrap().to_string().contains("changed while it was read"));
}

#[tokio::test]
async fn a_list_that_is_shorter_than_its_total_is_not_whole() {
    let service = Service::start(ListApi::Harbor);
    let page = |names: &[&str]| service.page(names, false).and("x-total-count", "3");
    service.api.next(service.path(), page(&["web", "api"]));
    service.api.next(service.path(), page(&["lint"]));
    let client = service.client(Has::Nothing);
    let found = client.list_repositories(&["acme"]).await.unwrap();
    assert_eq!((found.repositories.len(), found.stopped.is_none()), (3, true));
    service.api.next(service.path(), page(&["web", "api"]));
    service.api.next(service.path(), page(&[]));
    let found = client.list_repositories(&["acme"]).await.unwrap();
    assert!(found.stopped.unwrap().to_string().contains("more entries than its pages"));
}

#[tokio::test]
async fn what_was_read_once_is_not_taken_for_something_else_later() {
    // A list that existed, and a 404 that may be a proxy's.
    let service = Service::start(ListApi::GitHub);
    service.api.next(service.path(), service.page(&["web"], false));
    service.api.always(service.path(), Reply::status(404));
    let client = service.client(Has::Token);
    assert_eq!(names(&client.list_repositories(&["acme"]).await.unwrap()), ["acme/web"]);
    assert_eq!(client.list_repositories(&["acme"]).await.unwrap_err().reason(), Reason::NotFound);
    assert!(service.api.requests().iter().all(|seen| seen.uri.starts_with("/orgs/")));
    // A larger group has nothing of a group that is missing.
    let service = Service::start(ListApi::GitLab);
    service.api.always("GET /api/v4/", Reply::status(404));
    service.api.always(service.path(), service.page(&["other", "team2/x"], false));
    let error = service.client(Has::Token).list_repositories(&["acme", "team"]).await.unwrap_err();
    assert_eq!(error.reason(), Reason::NotFound, "{error}");
    // A login that is gone: the list without it lacks what is private.
    let service = Service::start(ListApi::DockerHub);
    service.api.always(service.path(), service.page(&["web"], false));
    let file = service.files.path().join("config.json");
    let registry = service.registry.name();
    std::fs::write(&file, format!(r#"{{"auths":{{"{registry}/acme":{{"username":"alice","password":"{SECRET}"}}}}}}"#))
        .unwrap();
    let client = service.registry.client_with(|settings| {
        settings.list = Some(ListApi::DockerHub);
        settings.api_url = Some(format!("{}/", service.api.base()).parse().unwrap());
        settings.credential = Credential::DockerConfig(file.clone());
    });
    assert_eq!(names(&client.list_repositories(&["acme"]).await.unwrap()), ["acme/web"]);
    assert_eq!(service.authorizations(), ["Bearer exchanged"]);
    std::fs::write(&file, r#"{"auths":{}}"#).unwrap();
    let error = client.list_repositories(&["acme"]).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Denied, "{error}");
}

#[tokio::test]
async fn credentials_stay_with_the_api() {
    let thief = TestRegistry::start();
    for list in SERVICES {
        let service = Service::start(list);
        service.api.always(service.path(), Reply::redirect(format!("{}/stolen", thief.base())));
        thief.always("GET /stolen", service.page(&["web"], false));
        let found = service.client(Has::Token).list_repositories(&["acme"]).await.unwrap();
        assert_eq!(names(&found), ["acme/web"]);
    }
    assert!(thief.requests().iter().all(|seen| !seen.headers.contains_key("authorization")));
    // A login is not sent on.
    let service = Service::start(ListApi::DockerHub);
    service.api.always("POST /v2/auth/token", Reply::redirect(format!("{}/stolen", thief.base())));
    thief.take_counts();
    let error = service.client(Has::Password).list_repositories(&["acme"]).await.unwrap_err();
    assert_eq!(thief.counts(), "", "{error}");
    assert!(!error.to_string().contains(SECRET), "{error}");
}

#[tokio::test]
async fn a_password_is_exchanged_once_and_not_sent_again_when_it_is_refused() {
    let service = Service::start(ListApi::DockerHub);
    service.api.always(service.path(), service.page(&["web"], false));
    let client = service.client(Has::Password);
    for _ in 0..3 {
        client.list_repositories(&["acme"]).await.unwrap();
    }
    let logins = |service: &Service| {
        let posts = service.api.requests().into_iter().filter(|seen| seen.method == "POST");
        posts.map(|seen| seen.body).collect::<Vec<_>>()
    };
    assert_eq!(logins(&service), [format!(r#"{{"identifier":"alice","secret":"{SECRET}"}}"#)]);
    // A token that ended early is exchanged anew.
    service.api.next(service.path(), Reply::status(401));
    assert_eq!(names(&client.list_repositories(&["acme"]).await.unwrap()), ["acme/web"]);
    assert_eq!(logins(&service).len(), 2);

    for list in [ListApi::DockerHub, ListApi::Harbor, ListApi::GitHub, ListApi::GitLab] {
        let service = Service::start(list);
        service.api.always("* /", Reply::Echo(401, "application/json"));
        let client = service.client(Has::Password);
        let first = client.list_repositories(&["acme"]).await.unwrap_err();
        let second = client.list_repositories(&["acme"]).await.unwrap_err();
        assert_eq!((first.reason(), second.reason()), (Reason::Denied, Reason::Denied));
        assert_eq!(service.api.requests().len(), 1, "{list:?}");
        assert!(second.to_string().contains("not sent again"), "{second}");
        assert!(!format!("{first}{second}").contains(SECRET), "{first}");
    }
}

#[tokio::test]
async fn a_daemon_finds_the_repositories_of_an_owner() {
    let service = Service::start(ListApi::GitHub);
    for name in ["acme/web", "acme/api", "acme/tools/lint"] {
        service.registry.push(name, "v1", &image("linux/amd64", &[&Blob::named(name, 100)]));
    }
    service.api.always(service.path(), service.page(&["web", "api", "tools/lint"], false));
    std::fs::write(service.files.path().join("token"), SECRET).unwrap();
    let toml = config(&service.registry, &["repository = 'REGISTRY/acme/*'\nmatch = ['.']"]);
    let section = format!(
        "[registries.'{}']\nlist = 'github'\napi_url = '{}'\napi_token_file = '{}'\n",
        service.registry.name(),
        service.api.base(),
        service.files.path().join("token").display()
    );
    let daemon = Daemon::start(&format!("{toml}{section}")).await;
    let metrics = daemon
        .until("the target is up", |metrics| metrics.one("image_size_exporter_target_up", &[]) == Some(1.0))
        .await;
    let tags = metrics.all("container_image_repository_tags", &[]);
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert_eq!(service.authorizations()[0], format!("Bearer {SECRET}"));
}
