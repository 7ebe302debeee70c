//! What every page has around it.

use std::sync::LazyLock;

use maud::{DOCTYPE, Markup, html};

use super::files::{ICON, SCRIPT, STYLE};
use super::words::{counted, text};
use crate::metrics::own::BUILD;
use crate::page::address::{Address, Place};
use crate::page::world::World;
use crate::target::Shard;

/// What a page is made for.
pub(in crate::page) struct Frame<'a> {
    pub(in crate::page) world: &'a World<'a>,
    pub(in crate::page) address: &'a Address,
}

/// Where the style and the script are: their addresses change with their content.
pub(super) fn asset(file: &str) -> String {
    static CONTENT: LazyLock<u32> = LazyLock::new(|| crc32fast::hash([STYLE, SCRIPT, ICON].concat().as_bytes()));
    format!("/-/{file}?{:08x}", *CONTENT)
}

/// A whole page.
pub(super) fn page(frame: &Frame, title: &str, content: &Markup) -> String {
    let query = if let Place::Search(text) = &frame.address.place { text.as_str() } else { "" };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · image-size-exporter" }
                link rel="icon" href=(asset("icon.svg"));
                link rel="stylesheet" href=(asset("style.css"));
                script src=(asset("script.js")) defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header.top {
                    a.home href="/" { "image-size-exporter" }
                    nav aria-label="Pages" {
                        a href="/" aria-current=[(frame.address.place == Place::Overview).then_some("page")] { "Overview" }
                        a href="/search" aria-current=[is_list(frame).then_some("page")] { "Repositories" }
                        a href=(frame.world.telemetry_path) { "Metrics" }
                        a href="/config" { "Configuration" }
                    }
                    form role="search" action="/search" method="get" {
                        label.hidden for="search" { "Search repositories and tags" }
                        input #search type="search" name="q" value=(text(query)) placeholder="Search" maxlength="200" autocomplete="off";
                        button type="submit" { "Search" }
                    }
                }
                main #content {
                    (shard(frame.world.shard))
                    (content)
                }
                footer {
                    p {
                        "Version " (BUILD.version) ", revision " (BUILD.revision) " · "
                        (counted(frame.world.series, "series of images is published", "series of images are published")) " · "
                        a href="/-/healthy" { "Health" } " · " a href="/-/ready" { "Readiness" } " · "
                        a href=(frame.address.clone().into_json().link()) { "This page as JSON" }
                    }
                }
            }
        }
    };
    markup.into_string()
}

fn shard(of: Shard) -> Markup {
    html! {
        @if !of.is_only() {
            p.note {
                "This is shard " (of) ", counted from 0: the other repositories are on the pages of the others. "
                "Who else has a layer is said of the images of this one. "
                "What a registry stores and what is unique is known where shards share a database and all of them count."
            }
        }
    }
}

fn is_list(frame: &Frame) -> bool {
    matches!(&frame.address.place, Place::Search(text) if text.is_empty())
}

/// A page that says that there is no such thing.
pub(in crate::page) fn missing(frame: &Frame, error: &str) -> String {
    let content = html! {
        h1 { "Not here" }
        p { (error) " It may have been deleted, or the configuration no longer selects it." }
        p { a href="/search" { "All repositories" } }
    };
    page(frame, "Not here", &content)
}
