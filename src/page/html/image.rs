//! The page of an image.

use maud::{Markup, html};

use super::frame::{Frame, page};
use super::pictures::{bar, class, legend_of, reach, stack};
use super::repository::shown;
use super::tables::{figure, figures, table, words};
use super::words::{
    ago, counted, digest, exact, moment, moment_or_unknown, name, number, share_or_unknown, size, size_or_unknown,
    text, unknown,
};
use crate::page::address::{Address, Place, separator};
use crate::page::image::{BaseFacts, ImageFacts, ImagePage, LayerRow};
use crate::page::sharing::Holders;

pub(in crate::page) fn image(frame: &Frame, of: &ImagePage) -> String {
    let repository = Address::of(Place::Repository(of.repository.clone())).link();
    let title = of.name.to_string();
    let content = html! {
        h1 { a href=(repository) { (name(&of.repository)) } (separator(of.tag)) (name(of.tag)) }
        @if of.up == Some(false) {
            div.alert {
                p {
                    strong { "Its last reading was not complete." }
                    @match of.last_success { Some(at) => { " It was last read whole " (ago(at, frame.world.now)) "." }, None => " It was never read whole." }
                }
                @if let Some(message) = of.message { pre { (text(message)) } }
            }
        }
        @if of.platforms.len() > 1 {
            nav.choice aria-label="Platform" {
                @for platform in &of.platforms {
                    @let is_shown = of.image.as_ref().is_some_and(|image| image.platform == *platform);
                    a href=(of.address(platform).link()) aria-current=[is_shown.then_some("true")] { (shown(platform)) }
                }
            }
        }
        @match &of.image {
            Some(image) => (facts(frame, of, image)),
            None => p {
                @match &of.unknown_platform {
                    Some(platform) => { "It has no image for " (name(platform)) "." },
                    None => "Nothing is known of its content yet.",
                }
            },
        }
    };
    page(frame, &text(&title), &content)
}

fn facts(frame: &Frame, of: &ImagePage, image: &ImageFacts) -> Markup {
    let over = image.budget_bytes.zip(image.compressed_bytes).is_some_and(|(budget, bytes)| bytes > budget);
    let mut top = vec![
        ("Compressed", html! { span.bad[over] { (size_or_unknown(image.compressed_bytes)) } }),
        ("Unique", size_or_unknown(image.unique_bytes)),
        ("Proportional", share_or_unknown(image.proportional_bytes)),
    ];
    if let Some(bytes) = image.uncompressed_bytes {
        let is_estimate = image.uncompressed_estimated == Some(true);
        top.push(("Uncompressed", html! { (size(bytes)) @if is_estimate { " " small.dim { "estimated" } } }));
    }
    if let Some(bytes) = image.unpacked_bytes {
        top.push(("Unpacked", size(bytes)));
    }
    if let Some(bytes) = image.wasted_bytes {
        top.push(("Wasted", size(bytes)));
    }
    if let Some(budget) = image.budget_bytes {
        top.push(("Budget", size(budget)));
    }
    let said = format!("Layers of {}", of.name);
    html! {
        (figures(&top))
        @if !image.parts.is_empty() {
            (stack(&image.parts, image.parts.iter().map(|part| part.bytes).sum(), &said, reach))
            (legend_of(image.parts.iter()))
        }
        (compare(of, image))
        h2 { "Layers" }
        (layers(image))
        (past(of, frame.world.now))
        h2 { "Facts" }
        dl.facts {
            (fact("Tag points at", of.digest.as_ref().map(|digest| html! { code { (text(digest)) } })))
            (fact("Manifest", Some(html! { code { (image.digest) } " " span.dim { (exact(image.manifest_bytes)) } })))
            (fact("Image ID", image.image_id.as_ref().map(|id| html! { code { (text(id)) } " " span.dim { (exact(image.config_bytes)) } })))
            (fact("Built on", image.base.as_ref().map(base)))
            (fact("Media type", Some(html! { (name(image.media_type)) })))
            (fact("Artifact type", (!image.artifact_type.is_empty()).then(|| html! { (name(image.artifact_type)) })))
            (fact("Made", image.created.map(|at| html! { (moment(at)) ", " (ago(at, frame.world.now)) })))
            (fact("Pushed again", of.changed.map(|at| ago(at, frame.world.now))))
            (fact("Last read", of.last_success.map(|at| ago(at, frame.world.now))))
            (fact("Stored for all platforms", of.stored_bytes.map(size)))
            (fact("Attestations", of.attestations.filter(|count| *count > 0).map(|count| html! { (count) })))
        }
    }
}

/// What the tag pointed at before.
fn past(of: &ImagePage, now: f64) -> Markup {
    let columns = [words("Until"), figure("Size"), figure("Made").wide(), words("Digest")];
    html! {
        @if !of.past.is_empty() {
            h2 { "Before" }
            p.note { "What the tag pointed at since this process was started." }
            (table("Before", &columns, None, &html! {
                @for row in &of.past {
                    tr {
                        td { (ago(row.until, now)) }
                        td.n { (size_or_unknown(row.compressed_bytes)) }
                        td.n.wide { (moment_or_unknown(row.created)) }
                        td { (digest(&row.digest)) }
                    }
                }
            }))
        }
    }
}

/// What the image is built on, and whether that is still what its tag has.
fn base(of: &BaseFacts) -> Markup {
    let full = of.tag.map_or_else(|| of.repository.clone(), |tag| format!("{}{}{tag}", of.repository, separator(tag)));
    html! {
        @match &of.link { Some(link) => a href=(link) { (name(&full)) }, None => (name(&full)) }
        @if let Some(bytes) = of.compressed_bytes { " " (size(bytes)) }
        @match of.current {
            Some(true) => { " " span.dim { "current" } },
            Some(false) => { " " span.bad { "its tag has moved on" } },
            None => {},
        }
        @if let Some(digest) = &of.digest { " " code { (digest) } }
    }
}

fn fact(name: &str, value: Option<Markup>) -> Markup {
    html! { @if let Some(value) = value { dt { (name) } dd { (value) } } }
}

/// The form that leads to a comparison with another tag.
fn compare(of: &ImagePage, image: &ImageFacts) -> Markup {
    html! {
        @if !of.others.is_empty() {
            form.compare action="/compare" method="get" {
                input type="hidden" name="b" value=(of.name);
                input type="hidden" name="platform" value=(image.platform);
                label for="compare-a" { "Compare with" }
                select #compare-a name="a" {
                    @for tag in &of.others { option value={ (of.repository) (separator(tag)) (tag) } { (text(tag)) } }
                }
                button type="submit" { "Compare" }
            }
        }
    }
}

fn layers(image: &ImageFacts) -> Markup {
    let most = image.layers.iter().map(|layer| layer.bytes).max().unwrap_or_default();
    let has_commands = image.layers.iter().any(|layer| layer.command.is_some());
    let mut columns = vec![figure("#"), figure("Size")];
    if has_commands {
        columns.push(words("Command"));
    }
    columns.extend([words("Also in"), words("Digest").wide()]);
    let missing = image.layers_listed.saturating_sub(image.layers.len() as u64 + image.layers_more);
    html! {
        (table("Layers", &columns, None, &html! {
            @for (place, layer) in (1..).zip(&image.layers) {
                tr {
                    td.n { @if layer.from_base { small.dim { "base " } } (number(place)) }
                    td.n { (size(layer.bytes)) (bar(layer.bytes, most, class(layer.reach))) }
                    @if has_commands { td.command { @if let Some(command) = &layer.command { code { (text(command)) } } } }
                    td { (also_in(layer)) }
                    td.wide { @if let Some(of) = &layer.digest { (digest(of)) } }
                }
            }
        }))
        (more_layers(image.layers_more))
        @if missing > 0 {
            p.note { "The manifest lists " (counted(missing, "layer more", "layers more")) ": a repeated one, one that is stored elsewhere, or one of unknown size." }
        }
        @if !has_commands && !image.layers.is_empty() && image.artifact_type.is_empty() {
            p.note {
                "The commands are not known: the config has no usable history, or was read before this version remembered it."
            }
        }
    }
}

/// How many layers a list leaves out.
pub(super) fn more_layers(more: u64) -> Markup {
    html! { @if more > 0 { p.note { "And " (counted(more, "layer more", "layers more")) "." } } }
}

fn also_in(layer: &LayerRow) -> Markup {
    let Holders { here, elsewhere, repositories, images } = &layer.also_in;
    let mut parts = Vec::new();
    if *here > 0 {
        parts.push(format!("{} here", counted(*here, "image", "images")));
    }
    if *elsewhere > 0 {
        let repositories = counted(*repositories, "other repository", "other repositories");
        parts.push(format!("{} in {repositories}", counted(*elsewhere, "image", "images")));
    }
    html! {
        @if parts.is_empty() {
            @if layer.reach.is_some() { span.dim { "no other known" } } @else { (unknown()) }
        } @else {
            details {
                summary { (parts.join(", ")) }
                ul {
                    @for holder in images { li { a href=(holder.link) { (name(&holder.image)) } @if !holder.platform.is_empty() { " " small.dim { (name(&holder.platform)) } } } }
                    @let more = (here + elsewhere).saturating_sub(images.len() as u64);
                    @if more > 0 { li.dim { "and " (counted(more, "more", "more")) } }
                }
            }
        }
    }
}
