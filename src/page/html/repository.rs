//! The page of a repository.

use maud::{Markup, html};

use super::frame::{Frame, page};
use super::overview::{reclaimables, releases};
use super::pictures::{bar, chart, legend_of, reach, stack};
use super::tables::{figure, figures, pages, table, words};
use super::words::{
    ago, counted, digest, moment_or_unknown, name, number, share_or_unknown, size, size_or_unknown, text, unknown,
};
use crate::page::address::{Address, Sort, separator};
use crate::page::repository::{RepositoryPage, TagRow};

pub(in crate::page) fn repository(frame: &Frame, of: &RepositoryPage) -> String {
    let platform = of.platform.unwrap_or_default();
    let content = html! {
        h1 { (name(&of.repository)) }
        @if !of.labels.is_empty() {
            ul.labels {
                @for (key, value) in of.labels { li { (name(key.strip_prefix("label_").unwrap_or(key))) " = " (name(value)) } }
            }
        }
        (figures(&[
            ("Stored", size_or_unknown(of.stored_bytes)),
            ("Unique", size_or_unknown(of.unique_bytes)),
            ("Proportional", share_or_unknown(of.proportional_bytes)),
            ("Tags", count(of.tags_selected)),
            ("Never read", html! { span.bad[of.tags_unknown > Some(0)] { (count(of.tags_unknown)) } }),
            ("Configs and manifests", size_or_unknown(of.metadata_bytes)),
        ]))
        (platforms(of))
        @if !of.points.is_empty() {
            h2 { "Over time" }
            (chart(&of.points, platform))
        }
        @if !of.newest.is_empty() {
            h2 { "Newest release" }
            (releases("Newest release", &of.newest))
        }
        h2 { "Tags" }
        @if of.tags.is_empty() { p.note { "No tag of it is published." } } @else { (tags(of, frame.world.now)) }
        (layers(of))
        @if !of.reclaimable.is_empty() {
            h2 { "Reclaimable" }
            (reclaimables("Reclaimable", &of.reclaimable))
        }
    };
    page(frame, &text(&of.repository), &content)
}

fn count(count: Option<u64>) -> Markup {
    html! { @match count { Some(count) => (number(count)), None => (unknown()) } }
}

/// The choice of a platform.
fn platforms(of: &RepositoryPage) -> Markup {
    html! {
        @if of.platforms.len() > 1 {
            nav.choice aria-label="Platform" {
                @for platform in &of.platforms {
                    @let address = Address { page: 1, ..of.address.clone().on(Some(platform)) };
                    a href=(address.link()) aria-current=[(Some(*platform) == of.platform).then_some("true")] { (shown(platform)) }
                }
            }
        }
    }
}

/// A platform's name; that of an artifact is empty.
pub(super) fn shown(platform: &str) -> Markup {
    html! { @if platform.is_empty() { "no platform" } @else { (name(platform)) } }
}

fn tags(of: &RepositoryPage, now: f64) -> Markup {
    let columns = [
        words("Tag").by(Sort::Name),
        figure("Size").by(Sort::Size),
        figure("Unique").by(Sort::Unique),
        figure("All platforms").wide().by(Sort::Stored),
        figure("Made").wide().by(Sort::Created),
        words("Digest").wide(),
    ];
    html! {
        (table("Tags", &columns, Some(&of.address), &html! { @for row in &of.tags { (tag(row, now)) } }))
        (pages(&of.address, of.page, of.pages))
        (compare(of))
    }
}

fn tag(row: &TagRow, now: f64) -> Markup {
    let is_over = row.budget_bytes.zip(row.compressed_bytes).is_some_and(|(budget, bytes)| bytes > budget);
    html! {
        tr {
            td {
                a href=(row.link) { (name(row.tag)) }
                @if row.up == Some(false) {
                    " " strong.bad { "cannot be read" }
                    @if let Some(message) = row.message { p.remark { (text(message)) } }
                }
                @if let Some(changed) = row.changed { p.remark { "pushed again " (ago(changed, now)) } }
            }
            td.n {
                span.bad[is_over] { (size_or_unknown(row.compressed_bytes)) }
                @if is_over { p.remark { "over its budget of " (size(row.budget_bytes.unwrap_or_default())) } }
            }
            td.n {
                (size_or_unknown(row.unique_bytes))
                @if let (Some(unique), Some(all)) = (row.unique_bytes, row.compressed_bytes) { (bar(unique, all, "own")) }
            }
            td.n.wide { (size_or_unknown(row.stored_bytes)) }
            td.n.wide { (moment_or_unknown(row.created)) }
            td.wide { @match &row.digest { Some(of) => (digest(of)), None => (unknown()) } }
        }
    }
}

/// The form that leads to a comparison of two tags.
fn compare(of: &RepositoryPage) -> Markup {
    let read: Vec<&TagRow> = of.tags.iter().filter(|row| row.platforms > 0).collect();
    let tags: Vec<&str> = read.iter().map(|row| row.tag).collect();
    // The first two that differ.
    let other = read.iter().position(|row| row.digest != read[0].digest).unwrap_or_default();
    html! {
        @if tags.len() > 1 {
            form.compare action="/compare" method="get" {
                @if of.platforms.len() > 1 { input type="hidden" name="platform" value=[of.platform]; }
                (choice("a", "Compare", of, &tags, other))
                (choice("b", "with", of, &tags, 0))
                button type="submit" { "Compare" }
            }
        }
    }
}

fn choice(field: &str, label: &str, of: &RepositoryPage, tags: &[&str], chosen: usize) -> Markup {
    html! {
        label for={ "compare-" (field) } { (label) }
        select #{ "compare-" (field) } name=(field) {
            @for (place, tag) in tags.iter().enumerate() {
                option value={ (of.repository) (separator(tag)) (tag) } selected[place == chosen] { (text(tag)) }
            }
        }
    }
}

/// The map of what is shared with what.
fn layers(of: &RepositoryPage) -> Markup {
    let longest = of.stacks.iter().map(|stack| stack.bytes).max().unwrap_or_default();
    html! {
        @if !of.stacks.is_empty() {
            h2 { "Layers" }
            p.note { "The newest images with their layers, bottom first." }
            (legend_of(of.stacks.iter().flat_map(|stack| &stack.parts)))
            div.stacks {
                @for one in &of.stacks {
                    a href=(one.link) { (name(&one.tag)) }
                    (stack(&one.parts, longest, &format!("Layers of {}", one.tag), reach))
                    span.n { (size(one.bytes)) }
                }
            }
        }
        @if !of.shares_with.is_empty() {
            h2 { "Shares layers with" }
            @let columns = [words("Repository"), figure("In common"), figure("Layers")];
            (table("Shares layers with", &columns, None, &html! {
                @for neighbour in &of.shares_with {
                    tr {
                        td { a href=(neighbour.link) { (name(&neighbour.repository)) } }
                        td.n { (size(neighbour.bytes)) (bar(neighbour.bytes, neighbour.view.stored_bytes.unwrap_or(neighbour.bytes), "there")) }
                        td.n { (number(neighbour.layers)) }
                    }
                }
            }))
            @let more = of.shares_with_count.saturating_sub(of.shares_with.len() as u64);
            @if more > 0 { p.note { "And " (counted(more, "repository more", "repositories more")) "." } }
        }
    }
}
