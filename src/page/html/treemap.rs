//! The treemap as SVG, once for wide and once for narrow screens.

use maud::{Markup, html};

use super::words::{exact, text, whole};
use crate::image::human::bytes;
use crate::page::treemap::{Rect, Tile, squarify};

/// Height of a registry's and of a repository's name.
const HEAD: f64 = 18.0;

/// Width of a character of a label.
const CHARACTER: f64 = 6.7;

/// The treemap with what it means.
pub(super) fn figure(tiles: &[Tile]) -> Markup {
    html! {
        figure.treemap {
            (svg(tiles, 1120.0, 480.0, "wide-only"))
            (svg(tiles, 400.0, 560.0, "narrow-only"))
            p.hover aria-live="polite" { "Point at a tile, or move to one with Tab, to see what it is." }
            figcaption {
                "Area: proportional size, the fair share of each tag in what its registry stores. "
                "Shade: how much of it no other image has, "
                span.key { span.swatch.u0 {} " all shared" } " to "
                span.key { span.swatch.u4 {} " all unique" } "."
            }
        }
    }
}

fn svg(tiles: &[Tile], width: f64, height: f64, class: &str) -> Markup {
    let frame = Rect { x: 0.0, y: 0.0, width, height };
    html! {
        svg.(class) viewBox={ "0 0 " (width) " " (height) } role="group" aria-label="Treemap of what is stored" {
            @for (registry, rect) in placed(tiles, frame) {
                (label(&registry.name, rect, "registry"))
                @for (repository, rect) in placed(&registry.inner, rect.within(0.0, HEAD)) {
                    (repository_tile(repository, rect))
                }
            }
        }
    }
}

fn repository_tile(tile: &Tile, rect: Rect) -> Markup {
    let has_head = rect.height > 2.6 * HEAD && rect.width > 40.0;
    html! {
        @if tile.inner.is_empty() || !has_head {
            (linked(tile, rect))
        } @else {
            a href=[tile.link.as_deref()] aria-label=(said(tile)) {
                title { (said(tile)) }
                (shape(rect, "frame"))
            }
            (label(&tile.name, rect, ""))
            @for (tag, rect) in placed(&tile.inner, rect.within(2.0, HEAD)) {
                (linked(tag, rect))
            }
        }
    }
}

/// A tile that leads to what it shows, or the rest of a repository or registry.
fn linked(tile: &Tile, rect: Rect) -> Markup {
    let shaped = html! {
        title { (said(tile)) }
        (shape(rect, shade(tile.unique)))
    };
    html! {
        @match &tile.link {
            Some(link) => a href=(link) aria-label=(said(tile)) { (shaped) },
            None => g { (shaped) },
        }
        (label(&tile.name, rect, shade(tile.unique)))
    }
}

fn placed(tiles: &[Tile], frame: Rect) -> impl Iterator<Item = (&Tile, Rect)> {
    let values: Vec<f64> = tiles.iter().map(|tile| tile.bytes).collect();
    let rects = squarify(&values, frame);
    tiles.iter().zip(rects).filter(|(_, rect)| rect.width >= 0.5 && rect.height >= 0.5)
}

fn shape(rect: Rect, class: &str) -> Markup {
    html! {
        rect.(class) x=(tenth(rect.x)) y=(tenth(rect.y)) width=(tenth((rect.width - 1.0).max(0.5))) height=(tenth((rect.height - 1.0).max(0.5))) {}
    }
}

/// A name in the corner of its tile, as far as it fits. It stands beside the tile's link, whose own name is longer.
fn label(name: &str, rect: Rect, class: &str) -> Markup {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
    let room = ((rect.width - 8.0) / CHARACTER).max(0.0) as usize;
    let name = text(name);
    let length = name.chars().count();
    html! {
        @if rect.height >= 14.0 && room >= 3 {
            text.(class) x=(tenth(rect.x + 4.0)) y=(tenth(rect.y + 13.0)) aria-hidden="true" {
                @if length <= room { (name) } @else { (name.chars().take(room - 1).collect::<String>()) "…" }
            }
        }
    }
}

/// What a tile is, in words.
fn said(tile: &Tile) -> String {
    let share = whole(tile.bytes);
    let own = tile.unique.map_or_else(String::new, |unique| format!(", {:.0} % unique", unique * 100.0));
    format!("{}: {} ({}){own}", text(&tile.title), bytes(share, false), exact(share))
}

/// The class of a shade, of five.
fn shade(unique: Option<f64>) -> &'static str {
    match unique {
        None => "rest",
        Some(share) if share < 0.1 => "u0",
        Some(share) if share < 0.3 => "u1",
        Some(share) if share < 0.6 => "u2",
        Some(share) if share < 0.9 => "u3",
        Some(_) => "u4",
    }
}

/// A coordinate with one decimal.
pub(super) fn tenth(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
