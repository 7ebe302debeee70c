//! The first page.

use maud::{Markup, html};

use super::frame::{Frame, page};
use super::pictures::bar;
use super::tables::{figure, figures, table, words};
use super::treemap;
use super::words::{
    ago, counted, exact_span, growth, moment_or_unknown, name, number, share_or_unknown, size, size_or_unknown, text,
    unknown,
};
use crate::page::address::separator;
use crate::page::overview::{
    FailuresRow, GroupRow, ImageRow, MostReclaimable, Overview, ReclaimableRow, RegistryRow, TargetRow, UnreadableRow,
};
use crate::page::releases::Release;
use crate::page::running::{RunningRow, SourceRow};

pub(in crate::page) fn overview(frame: &Frame, of: &Overview) -> String {
    let totals = &of.totals;
    let content = html! {
        h1 { "What is watched" }
        (failed_reload(of, frame.world.now))
        (figures(&[
            ("Stored", size_or_unknown(totals.stored_bytes)),
            ("Repositories", html! { (number(totals.repositories)) }),
            ("Tags", html! { (number(totals.tags)) }),
            ("Images", html! { (number(totals.images)) }),
            ("Reclaimable", most_reclaimable(&of.most_reclaimable)),
            ("Over budget", html! { span.bad[totals.over_budget > 0] { (number(totals.over_budget)) } }),
            ("Cannot be read", html! { span.bad[totals.unreadable_tags > 0] { (number(totals.unreadable_tags)) } }),
        ]))
        @if of.tiles.is_empty() && of.shard.total == 1 {
            p.note { "The treemap appears once every target of a registry has been scanned: until then nobody knows what is shared." }
        } @else if !of.tiles.is_empty() {
            h2 { "What is stored" }
            (treemap::figure(&of.tiles))
        }
        (trouble(of, frame.world.now))
        (section("Newest releases", &of.newest, releases))
        (section("Fastest growing", &of.growing, releases))
        (section("What runs", &of.running, running))
        div.columns {
            (section("Biggest images", &of.biggest, images))
            (section("Budgets", &of.budgets, budgets))
            (section("Reclaimable", &of.reclaimable, reclaimables))
            (section("Groups", &of.groups, groups))
            (section("Registries", &of.registries, registries))
        }
        h2 { "Targets" }
        (targets(&of.targets, frame.world.now))
        (sources(&of.sources, frame.world.now))
    };
    page(frame, "Overview", &content)
}

fn most_reclaimable(of: &MostReclaimable) -> Markup {
    html! {
        @match of {
            MostReclaimable::Bytes(policy, bytes) => { (size(*bytes)) " " small.dim { "by " (name(policy)) } },
            MostReclaimable::Unknown => span.dim title="what a policy would free is not known" { "–" },
            MostReclaimable::NoPolicy => span.dim title="there is no policy" { "–" },
        }
    }
}

fn section<Row>(title: &str, rows: &[Row], table: fn(&str, &[Row]) -> Markup) -> Markup {
    html! { @if !rows.is_empty() { section { h2 { (title) } (table(title, rows)) } } }
}

fn failed_reload(of: &Overview, now: f64) -> Markup {
    html! {
        @if let Some(failed) = &of.failed_reload {
            div.alert role="alert" {
                p { strong { "The configuration could not be reloaded" } " " (ago(failed.at, now)) ": the previous one stays in use." }
                pre { (text(failed.error)) }
            }
        }
    }
}

fn trouble(of: &Overview, now: f64) -> Markup {
    let row = |row: &UnreadableRow| {
        html! {
            tr {
                td { a href=(row.link) { (name(&row.image)) } }
                td { @match &row.message { Some(message) => (text(message)), None => span.dim { "see the state of its target" } } }
                td.n.wide { @match row.last_success { Some(at) => (ago(at, now)), None => span.dim { "never" } } }
            }
        }
    };
    let columns = [words("Image"), words("Why"), figure("Last read").wide()];
    html! {
        @if !of.unreadable.is_empty() {
            h2 { "Cannot be read" }
            @let more = of.totals.unreadable_tags.saturating_sub(of.unreadable.len() as u64);
            (table("Cannot be read", &columns, None, &html! { @for one in &of.unreadable { (row(one)) } }))
            @if more > 0 { p.note { "And " (counted(more, "tag more", "tags more")) "." } }
        }
    }
}

fn image_cell(row: &ImageRow) -> Markup {
    html! {
        a href=(row.link) { (name(&row.repository)) (separator(&row.tag)) (name(&row.tag)) }
        @if !row.platform.is_empty() { " " small.dim { (name(&row.platform)) } }
    }
}

fn images(title: &str, rows: &[ImageRow]) -> Markup {
    let columns = [words("Image"), figure("Size"), figure("Unique").wide()];
    table(
        title,
        &columns,
        None,
        &html! {
            @for row in rows {
                tr {
                    td { (image_cell(row)) }
                    td.n { (size(row.compressed_bytes)) }
                    td.n.wide { (size_or_unknown(row.unique_bytes)) (bar(row.unique_bytes.unwrap_or(0), row.compressed_bytes, "own")) }
                }
            }
        },
    )
}

fn budgets(title: &str, rows: &[ImageRow]) -> Markup {
    let columns = [words("Image"), figure("Size"), figure("Budget"), figure("Used").wide()];
    table(
        title,
        &columns,
        None,
        &html! {
            @for row in rows {
                @let budget = row.budget_bytes.unwrap_or_default();
                @let is_over = row.compressed_bytes > budget;
                tr {
                    td { (image_cell(row)) }
                    td.n { (size(row.compressed_bytes)) }
                    td.n { (size(budget)) }
                    td.n.wide {
                        @let share = row.compressed_bytes as f64 / budget.max(1) as f64;
                        data.bad[is_over] value=(format!("{share:.4}")) { (format!("{:.0} %", share * 100.0)) }
                        (bar(row.compressed_bytes, budget, if is_over { "over" } else { "own" }))
                    }
                }
            }
        },
    )
}

pub(super) fn releases(title: &str, rows: &[Release]) -> Markup {
    let columns = [
        words("Release"),
        figure("Size"),
        figure("Against the one before"),
        figure("Update").wide(),
        figure("Made").wide(),
    ];
    table(
        title,
        &columns,
        None,
        &html! {
            @for row in rows {
                tr {
                    td {
                        a href=(row.links.repository) { (name(&row.repository)) } ":" a href=(row.links.image) { (name(&row.tag)) }
                        @if !row.platform.is_empty() { " " small.dim { (name(&row.platform)) } }
                    }
                    td.n { (size(row.compressed_bytes)) }
                    td.n {
                        @match (row.previous_compressed_bytes, &row.links.compare, &row.previous_tag) {
                            (Some(before), Some(link), Some(tag)) => {
                                a href=(link) title={ "Compare with " (text(tag)) } { (growth(before, row.compressed_bytes)) }
                            },
                            _ => span.dim { "the first" },
                        }
                    }
                    td.n.wide { (size_or_unknown(row.update_bytes)) }
                    td.n.wide { (moment_or_unknown(row.created)) }
                }
            }
        },
    )
}

pub(super) fn reclaimables(title: &str, rows: &[ReclaimableRow]) -> Markup {
    let columns = [words("Policy"), words("Of"), figure("Frees"), figure("Tags that go")];
    table(
        title,
        &columns,
        None,
        &html! {
            @for row in rows {
                tr {
                    td { (name(&row.policy)) }
                    td { @match &row.link { Some(link) => a href=(link) { (name(&row.place)) }, None => (name(&row.place)) } }
                    td.n { (size_or_unknown(row.bytes)) }
                    td.n { @match row.tags { Some(tags) => (number(tags)), None => (unknown()) } }
                }
            }
        },
    )
}

fn groups(title: &str, rows: &[GroupRow]) -> Markup {
    let columns =
        [words("Group"), words("Registry").wide(), figure("Stored"), figure("Unique"), figure("Proportional").wide()];
    table(
        title,
        &columns,
        None,
        &html! {
            @for row in rows {
                tr {
                    td { (name(row.group)) }
                    td.wide { (name(row.registry)) }
                    td.n { (size(row.stored_bytes)) }
                    td.n { (size(row.unique_bytes)) }
                    td.n.wide { (share_or_unknown(Some(row.proportional_bytes))) }
                }
            }
        },
    )
}

fn registries(title: &str, rows: &[RegistryRow]) -> Markup {
    let columns = [words("Registry"), figure("Stored"), figure("Repositories"), figure("Images")];
    table(
        title,
        &columns,
        None,
        &html! {
            @for row in rows {
                tr {
                    td { (name(row.registry)) }
                    td.n { (size_or_unknown(row.stored_bytes)) }
                    td.n { (number(row.repositories)) }
                    td.n { (number(row.images)) }
                }
            }
        },
    )
}

fn targets(rows: &[TargetRow], now: f64) -> Markup {
    let columns = [
        words("Target"),
        words("State"),
        figure("Selects"),
        figure("Last scan"),
        figure("Took").wide(),
        figure("Every").wide(),
    ];
    html! {
        @if rows.is_empty() {
            p { "The configuration has no targets." }
        } @else {
            (table("Targets", &columns, None, &html! {
                @for row in rows {
                    tr {
                        td { (name(row.target)) (remarks(row, now)) }
                        td { (state(row)) }
                        td.n { (selects(row)) }
                        td.n { @match row.last_scan { Some(at) => (ago(at, now)), None => (unknown()) } }
                        td.n.wide { @match row.last_scan_seconds { Some(took) => (exact_span(took)), None => (unknown()) } }
                        td.n.wide { (exact_span(row.interval_seconds)) }
                    }
                }
            }))
        }
    }
}

fn running(title: &str, rows: &[RunningRow]) -> Markup {
    let columns = [
        words("Image"),
        words("Source").wide(),
        figure("Size"),
        figure("Containers"),
        figure("Nodes").wide(),
        figure("With an old digest"),
    ];
    let count = |count: Option<u64>| html! { @match count { Some(count) => (number(count)), None => (unknown()) } };
    table(
        title,
        &columns,
        None,
        &html! {
            @for row in rows {
                tr {
                    td { a href=(row.link) { (name(&row.image)) } }
                    td.wide { (name(&row.source)) }
                    td.n { (size_or_unknown(row.compressed_bytes)) }
                    td.n { (number(row.containers)) }
                    td.n.wide { (count(row.nodes)) }
                    td.n { span.bad[row.outdated > Some(0)] { (count(row.outdated)) } }
                }
            }
        },
    )
}

fn sources(rows: &[SourceRow], now: f64) -> Markup {
    let columns = [words("Source"), words("State"), figure("Images"), figure("Last answer")];
    let row = |row: &SourceRow| {
        html! {
            tr {
                td {
                    (name(row.source))
                    @if let Some(skipped) = row.skipped_containers.filter(|skipped| *skipped > 0) {
                        p.remark { (counted(skipped, "container is not counted", "containers are not counted")) }
                    }
                }
                td {
                    @match row.up {
                        None => span.dim { "not asked yet" },
                        Some(true) => span.good { "up" },
                        Some(false) => strong.bad { "does not answer" },
                    }
                }
                td.n { @match row.images { Some(images) => (number(images)), None => (unknown()) } }
                td.n { @match row.last_success { Some(at) => (ago(at, now)), None => (unknown()) } }
            }
        }
    };
    html! {
        @if !rows.is_empty() {
            h2 { "Sources" }
            (table("Sources", &columns, None, &html! { @for one in rows { (row(one)) } }))
        }
    }
}

fn state(row: &TargetRow) -> Markup {
    html! {
        @match row.up {
            None => span.dim { "not scanned yet" },
            Some(true) => span.good { "up" },
            Some(false) => strong.bad { "failing" },
        }
    }
}

fn selects(row: &TargetRow) -> Markup {
    html! {
        @match (row.repositories, row.tags) {
            _ if row.selects_nothing() => strong.bad { data value="0" { "selects nothing" } },
            (Some(repositories), Some(tags)) => {
                data value=(tags) { (counted(tags, "tag", "tags")) } @if repositories != 1 { " in " (counted(repositories, "repository", "repositories")) }
            },
            _ => (unknown()),
        }
    }
}

/// What the log says of the target.
fn remarks(row: &TargetRow, now: f64) -> Markup {
    html! {
        @for remark in row.remarks { p.remark { (text(remark)) } }
        @if let Some(FailuresRow { at, count, messages }) = &row.last_failures {
            p.remark {
                @if row.up == Some(true) { "Last failure " } @else { "Failed " } (ago(*at, now))
                @if *count > 1 { " (" (counted(*count, "failure", "failures")) ")" } ": "
            }
            @for message in messages { p.remark { (text(message)) } }
        }
    }
}
