//! Bars and charts as SVG. Sizes stand in attributes: the pages' policy forbids style attributes.

use maud::{Markup, html};

use super::treemap::tenth;
use super::words::{counted, day, exact, text};
use crate::image::human::bytes;
use crate::page::chart::{SizeScale, TimeScale};
use crate::page::repository::Point;
use crate::page::sharing::Reach;
use crate::page::stack::Part;

/// A bar for a part of a whole. The figure beside it says the same.
pub(super) fn bar(part: u64, whole: u64, class: &str) -> Markup {
    let share = if whole > 0 { (part as f64 / whole as f64).clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.ground x="0" y="0" width="100" height="8" {}
            rect.(class) x="0" y="0" width=(tenth(share)) height="8" {}
        }
    }
}

/// An image as a bar of its layers; `longest` fills the width.
pub(super) fn stack(parts: &[Part], longest: u64, said: &str, words: fn(Option<Reach>) -> &'static str) -> Markup {
    const WIDTH: f64 = 1000.0;
    let scale = WIDTH / longest.max(1) as f64;
    let mut x = 0.0;
    let rects = parts.iter().map(|part| {
        let (from, width) = (x, part.bytes as f64 * scale);
        x += width;
        (part, from, width)
    });
    html! {
        svg.stack viewBox="0 0 1000 16" preserveAspectRatio="none" role="img" aria-label=(text(said)) {
            @for (part, from, width) in rects {
                rect.(class(part.reach)) x=(tenth(from)) y="0" width=(tenth(width.max(0.4))) height="16" {
                    title { (counted(part.layers, "layer", "layers")) " of " (bytes(part.bytes, false)) " (" (exact(part.bytes)) "), " (words(part.reach)) }
                }
            }
        }
    }
}

/// The class of a reach's colour.
pub(super) fn class(reach: Option<Reach>) -> &'static str {
    match reach {
        Some(Reach::Own) => "own",
        Some(Reach::Repository) => "here",
        Some(Reach::Registry) => "there",
        None => "rest",
    }
}

/// What a reach means.
pub(super) fn reach(reach: Option<Reach>) -> &'static str {
    match reach {
        Some(Reach::Own) => "in this image only",
        Some(Reach::Repository) => "shared in this repository",
        Some(Reach::Registry) => "shared with other repositories",
        None => "not known how far shared",
    }
}

/// The colours of reaches.
pub(super) fn legend(words: fn(Option<Reach>) -> &'static str, reaches: &[Option<Reach>]) -> Markup {
    html! {
        p.legend {
            @for shown in reaches {
                span.key { span.swatch.(class(*shown)) {} " " (words(*shown)) }
            }
        }
    }
}

/// The colours of the reaches in bars, with that of an unknown one only where it is there.
pub(super) fn legend_of<'a>(parts: impl Iterator<Item = &'a Part>) -> Markup {
    let mut shown = vec![Some(Reach::Own), Some(Reach::Repository), Some(Reach::Registry)];
    let mut parts = parts;
    if parts.any(|part| part.reach.is_none()) {
        shown.push(None);
    }
    legend(reach, &shown)
}

/// Sizes over the time at which images were made, once for wide and once for narrow screens.
pub(super) fn chart(points: &[Point], platform: &str) -> Markup {
    let Some(times) = TimeScale::new(points.iter().map(|point| point.at)) else { return html! {} };
    let scale = SizeScale::new(points.iter().map(|point| point.bytes).max().unwrap_or_default());
    html! {
        figure.chart {
            (plot(points, &times, &scale, 1120.0, 260.0, "wide-only"))
            (plot(points, &times, &scale, 400.0, 240.0, "narrow-only"))
            figcaption {
                "Compressed size of images (" (text(platform)) ") by the time at which their configs say that they were made. "
                "The table below has the figures of those that tags point at now."
            }
        }
    }
}

fn plot(points: &[Point], times: &TimeScale, scale: &SizeScale, width: f64, height: f64, class: &str) -> Markup {
    let (left, right, above, below) = (70.0, width - 14.0, 12.0, height - 26.0);
    let x = |point: &Point| left + 8.0 + times.place(point.at) * (right - left - 16.0);
    let y = |size: u64| below - scale.place(size) * (below - above);
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| a.at.total_cmp(&b.at));
    let line: Vec<String> =
        sorted.iter().map(|point| format!("{},{}", tenth(x(point)), tenth(y(point.bytes)))).collect();
    let ends = times.ends();
    html! {
        svg.(class) viewBox={ "0 0 " (width) " " (height) } role="group" aria-label="Sizes over time" {
            @for mark in &scale.marks {
                line.grid x1=(tenth(left)) x2=(tenth(right)) y1=(tenth(y(*mark))) y2=(tenth(y(*mark))) {}
                text.mark x=(tenth(left - 8.0)) y=(tenth(y(*mark) + 4.0)) text-anchor="end" { (bytes(*mark, false)) }
            }
            @match ends.as_slice() {
                [one] => text.mark x=(tenth(f64::midpoint(left, right))) y=(tenth(height - 6.0)) text-anchor="middle" { (day(*one)) },
                [first, .., last] => {
                    text.mark x=(tenth(left)) y=(tenth(height - 6.0)) { (day(*first)) }
                    text.mark x=(tenth(right)) y=(tenth(height - 6.0)) text-anchor="end" { (day(*last)) }
                },
                [] => {},
            }
            polyline.line points=(line.join(" ")) {}
            @for point in &sorted {
                a href=(point.link) aria-label={ (text(&point.tag)) ": " (bytes(point.bytes, false)) } {
                    title { (text(&point.tag)) ": " (bytes(point.bytes, false)) " (" (exact(point.bytes)) "), " (day(point.at)) }
                    circle.point cx=(tenth(x(point))) cy=(tenth(y(point.bytes))) r="4" {}
                }
            }
        }
    }
}
