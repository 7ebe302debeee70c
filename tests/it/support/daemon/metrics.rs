//! One answer of `/metrics`.

use std::collections::BTreeMap;

use image_size_exporter::metrics::Format;

use crate::exposition_reader::Exposition;

/// What was published at one moment.
pub(crate) struct Metrics {
    exposition: Exposition,
    text: String,
}

/// The labels of a series, and their values.
type Labels = BTreeMap<String, String>;

impl Metrics {
    /// Reads an answer with its header; panics unless it is 200 and in the text format.
    pub(crate) fn of_answer(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{head}");
        let exposition = Exposition::parse(body, Format::Text).unwrap_or_else(|error| panic!("{error}\n{body}"));
        Self { exposition, text: body.to_owned() }
    }

    /// The series of a family that have these labels, and their values.
    pub(crate) fn all(&self, family: &str, labels: &[(&str, &str)]) -> BTreeMap<Labels, f64> {
        self.exposition.all(family, labels).into_iter().map(|sample| (sample.labels.clone(), sample.value)).collect()
    }

    /// The value of the one series that has these labels, if there is any.
    pub(crate) fn one(&self, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.exposition.value(family, labels)
    }

    /// Each series of images and what runs, as it is written, with its value.
    pub(crate) fn series(&self) -> BTreeMap<&str, &str> {
        let lines = self.text.lines().filter(|line| line.starts_with("container_image_"));
        lines.map(|line| line.rsplit_once(' ').expect("a series has a value")).collect()
    }

    /// How many series a family has.
    pub(crate) fn count(&self, family: &str) -> usize {
        self.exposition.all(family, &[]).len()
    }

    /// Whether each series of the family that has these labels is at 1.
    pub(crate) fn all_up(&self, family: &str, labels: &[(&str, &str)]) -> bool {
        self.all(family, labels).values().all(|value| *value > 0.0)
    }

    /// The value of one series of a tag.
    pub(crate) fn tag(&self, family: &str, tag: &str) -> Option<f64> {
        self.one(family, &[("tag", tag)])
    }

    /// The values of a family by repository and tag, of which it has one series each.
    pub(crate) fn by_tag(&self, family: &str) -> BTreeMap<(String, String), f64> {
        let mut values = BTreeMap::new();
        for sample in self.exposition.all(family, &[]) {
            let name = (sample.label("repository").to_owned(), sample.label("tag").to_owned());
            assert!(values.insert(name, sample.value).is_none(), "{sample:?} has more labels");
        }
        values
    }

    /// Whether any size of an image is published.
    pub(crate) fn has_sizes(&self) -> bool {
        let mut names = self.exposition.samples.iter().map(|sample| &sample.name);
        names.any(|name| name.starts_with("container_image_") && name.contains("size_bytes"))
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}
