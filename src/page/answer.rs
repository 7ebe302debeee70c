//! The answer to an address: a page or JSON.

use serde::Serialize;

use super::address::{Address, Place};
use super::compare::compare;
use super::image::ImagePage;
use super::overview::Overview;
use super::repository::RepositoryPage;
use super::search::SearchPage;
use super::world::World;
use super::{find, html};

/// What a request gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// A page.
    Html(String),
    /// The same as JSON.
    Json(Vec<u8>),
    /// A page that says that there is no such repository, tag or pair.
    NoPage(String),
    /// The same as JSON.
    NoJson(Vec<u8>),
}

/// An answer that is not there, as JSON.
#[derive(Serialize)]
struct Problem<'a> {
    error: &'a str,
}

/// Whether a path is one of a page, or of its JSON.
pub fn is_page(path: &str) -> bool {
    Address::parse(path, "").is_some()
}

/// Makes the page of a path and query. `None`: no page has such an address.
pub fn answer(path: &str, query: &str, world: &World<'_>) -> Option<Answer> {
    let address = Address::parse(path, query)?;
    let frame = html::Frame { world, address: &address };
    Some(match &address.place {
        Place::Overview => {
            let page = Overview::new(world);
            if address.is_json { json(&page) } else { Answer::Html(html::overview(&frame, &page)) }
        }
        Place::Search(text) => {
            let page = SearchPage::new(world, text, &address);
            if address.is_json { json(&page) } else { Answer::Html(html::search(&frame, &page)) }
        }
        Place::Repository(name) => match find::repository(world.snapshot, name) {
            Some(found) => {
                let page = RepositoryPage::new(world, found, address.clone());
                if address.is_json { json(&page) } else { Answer::Html(html::repository(&frame, &page)) }
            }
            None => not_watched(&frame, name, "No repository of this name is watched"),
        },
        Place::Image(name) => {
            let repository = find::repository(world.snapshot, &name.repository);
            match repository.and_then(|found| find::tag(found, &name.tag)) {
                Some(found) => {
                    let page = ImagePage::new(world, found, address.platform.as_deref());
                    match page.unknown_platform {
                        Some(_) if address.is_json => missing(&frame, "The tag has no image for this platform."),
                        _ if address.is_json => json(&page),
                        _ => Answer::Html(html::image(&frame, &page)),
                    }
                }
                None => not_watched(&frame, &name.repository, "No tag of this name is watched"),
            }
        }
        Place::Compare(a, b) => match compare(world, [a.as_ref(), b.as_ref()], address.platform.as_deref()) {
            Ok(page) if address.is_json => json(&page),
            Ok(page) => Answer::Html(html::compare(&frame, &page)),
            Err(page) if address.is_json => {
                let elsewhere = page.unknown.iter().any(|unknown| unknown.elsewhere.is_some());
                let of_this = if elsewhere { " of this shard" } else { "" };
                missing(&frame, &format!("Name two watched images{of_this} of one platform as `a` and `b`."))
            }
            Err(page) => Answer::Html(html::compare_form(&frame, &page)),
        },
    })
}

fn json(page: &impl Serialize) -> Answer {
    Answer::Json(bytes(page))
}

/// A repository, or a tag of it, that is not watched here: another shard may have it.
fn not_watched(frame: &html::Frame<'_>, repository: &str, what: &str) -> Answer {
    match frame.world.elsewhere(repository) {
        Some(shard) => missing(frame, &format!("{what} here: shard {shard} has the repository, if it is watched.")),
        None => missing(frame, &format!("{what}.")),
    }
}

fn missing(frame: &html::Frame<'_>, error: &str) -> Answer {
    if frame.address.is_json {
        Answer::NoJson(bytes(&Problem { error }))
    } else {
        Answer::NoPage(html::missing(frame, error))
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("keys are texts, and nothing here fails to serialize");
    bytes.push(b'\n');
    bytes
}
