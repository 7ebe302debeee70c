//! Compares the platforms of two images and applies the rules.

use std::collections::HashSet;

use super::arguments::Arguments;
use super::check_report::{Baseline, Check, CheckedImage, PlatformCheck, Verdict};
use super::error::CheckError;
use super::rules::{self, Growth, Limits, Rule, Sizes};
use super::sides::{Old, Sides};
use crate::commands::inspect;
use crate::commands::inspect::known::KnownLayers;
use crate::commands::inspect::report::pairs;
use crate::commands::inspect::{Comparison, FilesReport, GrowthReport, ImageReport, LayerReport, Report, SizeKind};
use crate::config::Config;
use crate::files::Unlisted;
use crate::oci::{Digest, Reason, Reference};

/// The result of a check.
pub(super) fn judge(config: Option<&Config>, arguments: &Arguments, sides: Sides) -> Result<Check, CheckError> {
    let Sides { kind, new, old, mut notes, known } = sides;
    let growth =
        arguments.max_growth.map(|share| Growth { share, floor_bytes: arguments.max_growth_floor.unwrap_or_default() });
    let budget_bytes = config.zip(arguments.pushed_as()).and_then(|(config, reference)| budget(config, reference));
    let limits = Limits { max_bytes: arguments.max_size, growth, budget_bytes, max_wasted_bytes: arguments.max_wasted };
    let none = Vec::new();
    let old_images = if let Old::Read(old) = &old { &old.images } else { &none };
    let pairs = pairs(old_images, &new.images);
    if let Old::Read(old) = &old {
        if pairs.is_empty() {
            let (old, new) = (old.reference.clone(), new.reference.clone());
            return Err(CheckError::Incomparable { old, new });
        }
        let failed = old.failed.iter().map(|failed| format!("{} of the old image: {}", failed.platform, failed.reason));
        notes.extend(failed);
    }
    let mut platforms = Vec::new();
    for image in &new.images {
        let old_image = pairs.iter().find(|(_, new)| std::ptr::eq(*new, image)).map(|(old, _)| *old);
        if old_image.is_none() && !pairs.is_empty() {
            notes.push(format!("the old image has no {}, so its growth is not judged", image.platform));
        }
        let files = arguments.lists_new_files().then(|| listed(arguments, image, &known)).transpose();
        if let Err(why) = &files {
            notes.push(format!("files unknown: {why}"));
        }
        let files = files.ok().flatten();
        let growth = old_image
            .filter(|_| arguments.files)
            .and_then(|old| inspect::files::growth((old, image), &known, inspect::TOP));
        platforms.push(platform(kind, old_image, image, &limits, (files, growth)));
    }
    let baseline = match &old {
        Old::None => Baseline::None,
        Old::Missing { reference, message } => {
            Baseline::Missing { reference: reference.clone(), message: message.clone() }
        }
        Old::Read(old) => Baseline::Read(checked(old)),
    };
    Ok(Check {
        verdict: verdict(kind, &platforms, &new),
        size: kind,
        new: checked(&new),
        baseline,
        platforms,
        failed: new.failed,
        notes,
    })
}

fn checked(report: &Report) -> CheckedImage {
    CheckedImage { reference: report.reference.clone(), digest: report.digest.clone() }
}

/// The files of the new image: all of them for `--files`, else what is wasted.
fn listed(arguments: &Arguments, image: &ImageReport, known: &KnownLayers) -> Result<FilesReport, Unlisted> {
    let files = inspect::files::of_image(image, known, inspect::TOP)?;
    if arguments.files {
        return Ok(files);
    }
    let (biggest, directories, packages) = Default::default();
    Ok(FilesReport { biggest, directories, packages, ..files })
}

fn platform(
    kind: SizeKind,
    old: Option<&ImageReport>,
    new: &ImageReport,
    limits: &Limits,
    (files, files_growth): (Option<FilesReport>, Option<GrowthReport>),
) -> PlatformCheck {
    let nothing = ImageReport { steps: Vec::new(), ..new.clone() };
    let Comparison { platform, layers, .. } = Comparison::new(old.unwrap_or(&nothing), new, kind);
    let (old_bytes, new_bytes) = (old.and_then(|old| kind.of_image(old)), kind.of_image(new));
    let (shared_bytes, update_bytes) = old.map_or((None, None), |old| overlap(kind, old, new));
    let is_estimated = |image: &ImageReport| image.uncompressed_estimated == Some(true);
    let wasted = files.as_ref().map(|files| files.wasted_bytes);
    let sizes = Sizes { kind, old: old_bytes, new: new_bytes, has_baseline: old.is_some(), wasted };
    PlatformCheck {
        platform,
        old_bytes,
        new_bytes,
        estimated: kind == SizeKind::Uncompressed && (is_estimated(new) || old.is_some_and(is_estimated)),
        shared_bytes,
        update_bytes,
        rules: rules::apply(limits, sizes),
        layers,
        compared: old.is_some(),
        files,
        files_growth,
    }
}

/// Bytes of the new image's distinct layers that the old one has, and of those that it lacks. What is transferred
/// compressed is the same only as the same blob.
fn overlap(kind: SizeKind, old: &ImageReport, new: &ImageReport) -> (Option<u64>, Option<u64>) {
    let key = |layer: &LayerReport| -> Digest {
        match (&layer.diff_id, kind) {
            (Some(diff_id), SizeKind::Uncompressed | SizeKind::Unpacked) => diff_id.clone(),
            _ => layer.digest.clone(),
        }
    };
    let there: HashSet<Digest> = old.layers().map(|(_, layer)| key(layer)).collect();
    let mut seen = HashSet::new();
    let (mut shared, mut update) = (Some(0_u64), Some(0_u64));
    for (_, layer) in new.layers() {
        let key = key(layer);
        let sum = if there.contains(&key) { &mut shared } else { &mut update };
        if seen.insert(key) {
            *sum = sum.zip(kind.of(layer)).map(|(sum, bytes)| sum.saturating_add(bytes));
        }
    }
    (shared, update)
}

/// The smallest budget of the targets that select a tag, as the daemon publishes it.
fn budget(config: &Config, reference: &Reference) -> Option<u64> {
    let tag = reference.tag.as_ref()?;
    let selects = |target: &&std::sync::Arc<crate::target::Target>| {
        target.repositories.include(&reference.repository)
            && target.selection.select(std::slice::from_ref(tag)).tags.contains(tag)
    };
    config.targets.iter().filter(selects).filter_map(|target| target.budget_bytes).min()
}

fn verdict(kind: SizeKind, platforms: &[PlatformCheck], new: &Report) -> Verdict {
    let rules = || platforms.iter().flat_map(|platform| &platform.rules);
    if rules().any(|judged| judged.passed == Some(false)) {
        return Verdict::TooBig;
    }
    // A budget is for compressed bytes: before a push it is not judged, which is no failure.
    let is_open = |rule: Rule| rule != Rule::Budget || kind == SizeKind::Compressed;
    // A sparse index leaves platforms out on purpose.
    let unread = new.failed.iter().any(|failed| failed.reason != Reason::NotFound);
    if unread || rules().any(|judged| judged.passed.is_none() && is_open(judged.rule)) {
        Verdict::Unknown
    } else {
        Verdict::Fine
    }
}
