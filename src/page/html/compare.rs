//! Two images side by side.

use maud::{Markup, html};

use super::frame::{Frame, page};
use super::image::more_layers;
use super::pictures::{bar, legend, stack};
use super::repository::shown;
use super::tables::{figure, figures, fixed_table, table, words};
use super::words::{digest, growth, moment_or_unknown, name, number, size, size_or_unknown, text, unknown};
use crate::page::address::{Address, separator};
use crate::page::compare::{ComparedLayer, Comparison, LayerSide, Missing, Side};
use crate::page::sharing::Reach;

pub(in crate::page) fn compare(frame: &Frame, of: &Comparison) -> String {
    let Comparison { a, b, .. } = of;
    let written = |side: &Side| format!("{}{}{}", side.repository, separator(side.tag), side.tag);
    let title = format!("{} and {}", written(a), written(b));
    let longest = a.compressed_bytes.unwrap_or(0).max(b.compressed_bytes.unwrap_or(0));
    let grown = a.compressed_bytes.zip(b.compressed_bytes);
    let content = html! {
        h1 { (heading(a)) " and " (heading(b)) }
        @if of.platforms.len() > 1 {
            nav.choice aria-label="Platform" {
                @for platform in &of.platforms {
                    a href=(on(frame.address, platform)) aria-current=[(*platform == of.platform).then_some("true")] { (shown(platform)) }
                }
            }
        }
        (figures(&[
            ("Growth", grown.map_or_else(unknown, |(old, new)| growth(old, new))),
            ("In common", known(of.shared_bytes)),
            ("Update fetches", known(of.update_bytes)),
        ]))
        div.stacks {
            @for side in [a, b] {
                a href=(side.link) { (name(side.tag)) }
                (stack(&side.parts, longest, &format!("Layers of {}", side.tag), reach))
                span.n { (size_or_unknown(side.compressed_bytes)) }
            }
        }
        (legend(reach, &[Some(Reach::Own), Some(Reach::Repository)]))
        h2 { "Figures" }
        (sides(a, b))
        h2 { "Layers" }
        (layers(&of.layers, a, b))
        (more_layers(of.layers_more))
    };
    page(frame, &text(&title), &content)
}

fn known(bytes: Option<u64>) -> Markup {
    bytes.map_or_else(|| html! { span.dim title="unknown: the size of a layer is not known" { "–" } }, size)
}

fn heading(side: &Side) -> Markup {
    html! { a href=(side.link) { (name(&side.repository)) (separator(side.tag)) (name(side.tag)) } }
}

fn on(address: &Address, platform: &str) -> String {
    address.clone().on(Some(platform)).link()
}

fn reach(reach: Option<Reach>) -> &'static str {
    if reach == Some(Reach::Own) { "in this image only" } else { "in both" }
}

fn sides(a: &Side, b: &Side) -> Markup {
    let bytes = |name: &str, of: fn(&Side) -> Option<u64>| {
        html! {
            @if of(a).is_some() || of(b).is_some() {
                tr {
                    th scope="row" { (name) }
                    td.n { (size_or_unknown(of(a))) }
                    td.n { (size_or_unknown(of(b))) }
                    td.n { @match of(a).zip(of(b)) { Some((old, new)) => (growth(old, new)), None => (unknown()) } }
                }
            }
        }
    };
    let (left, right) = (text(a.tag), text(b.tag));
    let columns = [words("Figure"), figure(&left), figure(&right), figure("Difference")];
    html! {
        div.plain {
            (fixed_table("Figures", &columns, &html! {
                (bytes("Compressed", |side| side.compressed_bytes))
                (bytes("Unique", |side| side.unique_bytes))
                (bytes("Uncompressed", |side| side.uncompressed_bytes))
                (bytes("Unpacked", |side| side.unpacked_bytes))
                (bytes("Wasted", |side| side.wasted_bytes))
                tr {
                    th scope="row" { "Layers" }
                    td.n { (number(a.layers)) }
                    td.n { (number(b.layers)) }
                    td.n { @if a.layers == b.layers { span.dim { "0" } } @else { (format!("{:+}", i128::from(b.layers) - i128::from(a.layers))) } }
                }
                tr {
                    th scope="row" { "Made" }
                    td.n { (moment_or_unknown(a.created)) }
                    td.n { (moment_or_unknown(b.created)) }
                    td {}
                }
                tr {
                    th scope="row" { "Manifest" }
                    td.n { (digest(&a.digest)) }
                    td.n { (digest(&b.digest)) }
                    td {}
                }
            }))
        }
    }
}

fn layers(layers: &[ComparedLayer], a: &Side, b: &Side) -> Markup {
    let most = layers.iter().map(|layer| layer.bytes).max().unwrap_or_default();
    let has_commands = layers.iter().any(|layer| layer.command.is_some());
    let mut columns = vec![words("In"), figure("Size")];
    if has_commands {
        columns.push(words("Command"));
    }
    columns.push(words("Digest").wide());
    table(
        "Layers",
        &columns,
        None,
        &html! {
            @for layer in layers {
                tr {
                    td {
                        @match layer.side {
                            LayerSide::OnlyA => { "only " (name(a.tag)) },
                            LayerSide::Both => span.dim { "both" },
                            LayerSide::OnlyB => { "only " (name(b.tag)) },
                        }
                    }
                    td.n { (size(layer.bytes)) (bar(layer.bytes, most, if layer.side == LayerSide::Both { "here" } else { "own" })) }
                    @if has_commands { td.command { @if let Some(command) = &layer.command { code { (text(command)) } } } }
                    td.wide { (digest(&layer.digest)) }
                }
            }
        },
    )
}

/// The form for a comparison, where one is not possible yet.
pub(in crate::page) fn compare_form(frame: &Frame, of: &Missing) -> String {
    let field = |id: &str, label: &str, value: &str| {
        html! {
            label for=(id) { (label) }
            input #(id) type="text" name=(id) value=(text(value)) placeholder="registry/repository:tag" maxlength="500" size="40" required;
        }
    };
    let content = html! {
        h1 { "Compare two images" }
        @for unknown in &of.unknown {
            p.bad {
                (name(&unknown.image))
                @match unknown.elsewhere {
                    Some(shard) => { " is not watched here: shard " (shard) " has the repository, if it is watched. A shard compares its own images." },
                    None => " is not watched.",
                }
            }
        }
        @if of.unknown.is_empty() && !of.a.is_empty() && !of.b.is_empty() {
            p.bad {
                @match &of.platform {
                    Some(platform) => { "They have no image for " (name(platform)) " in common." },
                    None => "They have no platform in common.",
                }
            }
        }
        form.compare action="/compare" method="get" {
            (field("a", "Compare", &of.a))
            (field("b", "with", &of.b))
            button type="submit" { "Compare" }
        }
    };
    page(frame, "Compare", &content)
}
