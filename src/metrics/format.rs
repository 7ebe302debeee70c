//! The text formats. Gauges, and so all series of images, look the same in both; counters' HELP and TYPE lines and the
//! end of the body differ.

/// A text format of the exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus text 0.0.4.
    Text,
}

impl Format {
    /// What follows the last sample (OpenMetrics 1.0, "EOF").
    pub fn end(self) -> &'static str {
        match self {
            Self::OpenMetrics => "# EOF\n",
            Self::Text => "",
        }
    }
}

/// Converts OpenMetrics to text 0.0.4, where a counter's HELP and TYPE name it as its samples do, with `_total`.
pub(crate) fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + 256);
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let is_help_of_counter = line.starts_with("# HELP ") && lines.peek().is_some_and(|next| is_counter_type(next));
        if is_help_of_counter || is_counter_type(line) {
            let mut words = line.splitn(4, ' ');
            let (hash, keyword) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (name, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            text.extend([hash, " ", keyword, " ", name, "_total ", rest, "\n"]);
        } else {
            text.extend([line, "\n"]);
        }
    }
    text
}

fn is_counter_type(line: &str) -> bool {
    line.starts_with("# TYPE ") && line.ends_with(" counter")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_counters_change() {
        let open_metrics = "# HELP a How many a.\n# TYPE a counter\na_total{x=\"# TYPE y counter\"} 1\n\
                            # HELP b A gauge.\n# TYPE b gauge\nb 2\n";
        let text = "# HELP a_total How many a.\n# TYPE a_total counter\na_total{x=\"# TYPE y counter\"} 1\n\
                    # HELP b A gauge.\n# TYPE b gauge\nb 2\n";
        assert_eq!(to_text(open_metrics), text);
    }
}
