//! Adds to reports what the layers' files say.

use std::io::Write;

use super::files_report::{FilesReport, GrowthReport};
use super::known::KnownLayers;
use super::progress::Progress;
use super::report::{ImageReport, Report};
use crate::files::{ImageFiles, Unlisted};
use crate::oci::Digest;

/// Adds the files of each image and how many each layer has. Why they are unknown is said on standard error.
pub(super) fn describe(report: &mut Report, known: &KnownLayers, top: usize, progress: &mut Progress<'_, impl Write>) {
    for image in &mut report.images {
        for layer in image.steps.iter_mut().filter_map(|step| step.layer.as_mut()) {
            if let Ok(listing) = known.listing(layer) {
                layer.list(listing);
            }
        }
        match of_image(image, known, top) {
            Ok(files) => image.files = Some(files),
            Err(why) => progress.note(&image.digest, &format!("files unknown: {why}")),
        }
    }
}

/// The files of an image, if all of its layers were listed.
pub(in crate::commands) fn of_image(
    image: &ImageReport,
    known: &KnownLayers,
    top: usize,
) -> Result<FilesReport, Unlisted> {
    let layers: Vec<Digest> = image.layers().map(|(_, layer)| layer.digest.clone()).collect();
    Ok(FilesReport::new(&merged(image, known)?, &layers, top))
}

/// How the files of two images differ, where both are known.
pub(in crate::commands) fn growth(
    (old, new): (&ImageReport, &ImageReport),
    known: &KnownLayers,
    top: usize,
) -> Option<GrowthReport> {
    let (old, new) = (merged(old, known).ok()?, merged(new, known).ok()?);
    Some(GrowthReport::new(&old, &new, top))
}

fn merged<'a>(image: &'a ImageReport, known: &'a KnownLayers) -> Result<ImageFiles<'a>, Unlisted> {
    ImageFiles::merge(known.listings(image.layers().map(|(_, layer)| layer))?)
}
