//! The list of repositories, and what a search finds.

use maud::html;

use super::frame::{Frame, page};
use super::tables::{figure, pages, table, words};
use super::words::{counted, name, number, size_or_unknown, text, unknown};
use crate::page::address::Sort;
use crate::page::search::SearchPage;

pub(in crate::page) fn search(frame: &Frame, of: &SearchPage) -> String {
    let title = if of.query.is_empty() { "Repositories".to_owned() } else { format!("Search for {}", text(of.query)) };
    let columns = [
        words("Repository").by(Sort::Name),
        figure("Stored").by(Sort::Stored),
        figure("Unique").by(Sort::Unique),
        figure("Tags"),
    ];
    let content = html! {
        h1 { @if of.query.is_empty() { "Repositories" } @else { "Search for “" (name(of.query)) "”" } }
        p.note {
            (counted(of.repositories_count, "repository", "repositories"))
            @if !of.query.is_empty() { " and " (counted(of.tags_count, "tag", "tags")) }
            "."
        }
        @if !of.repositories.is_empty() {
            (table("Repositories", &columns, Some(of.address), &html! {
                @for row in &of.repositories {
                    tr {
                        td { a href=(row.link) { (name(&row.repository)) } }
                        td.n { (size_or_unknown(row.stored_bytes)) }
                        td.n { (size_or_unknown(row.unique_bytes)) }
                        td.n { @match row.tags { Some(tags) => (number(tags)), None => (unknown()) } }
                    }
                }
            }))
            (pages(of.address, of.page, of.pages))
        }
        @if !of.tags.is_empty() {
            h2 { "Tags" }
            (table("Tags", &[words("Image"), figure("Stored")], None, &html! {
                @for hit in &of.tags {
                    tr { td { a href=(hit.link) { (name(&hit.image)) } } td.n { (size_or_unknown(hit.stored_bytes)) } }
                }
            }))
            @let more = of.tags_count.saturating_sub(of.tags.len() as u64);
            @if more > 0 { p.note { "And " (counted(more, "tag more", "tags more")) ": search for a longer part of the name." } }
        }
    };
    page(frame, &title, &content)
}
