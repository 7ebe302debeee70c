//! A JUnit report: a case for each rule of each platform.

use std::io::{self, Write};

use crate::commands::check::check_report::{Baseline, Check};
use crate::commands::units;

/// One suite. A rule that could not be judged, and a missing image to compare with, are skipped cases.
pub(super) fn write(check: &Check, exact: bool, out: &mut impl Write) -> io::Result<()> {
    let mut cases = Vec::new();
    for platform in &check.platforms {
        for judged in &platform.rules {
            let outcome = match judged.passed {
                Some(true) => format!("<system-out>{}</system-out>", escaped(&judged.message)),
                Some(false) => {
                    let blame = super::blame(check, platform, judged.rule, exact).join("\n");
                    let text = format!("{}\n{blame}\n{}", judged.message, super::subject(check));
                    format!("<failure message=\"{}\">{}</failure>", escaped(&judged.message), escaped(&text))
                }
                None => format!("<skipped message=\"{}\"/>", escaped(&judged.message)),
            };
            cases.push((platform.named(judged.rule.word()), outcome));
        }
    }
    for failed in &check.failed {
        let message = format!("cannot be read ({})", failed.reason);
        cases.push((failed.platform.clone(), format!("<error message=\"{}\"/>", escaped(&message))));
    }
    if let Baseline::Missing { message, .. } = &check.baseline {
        cases.push(("baseline".to_owned(), format!("<skipped message=\"{}\"/>", escaped(message))));
    }
    let count = |tag: &str| cases.iter().filter(|(_, outcome)| outcome.starts_with(tag)).count();
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<testsuite name=\"image size\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\">",
        cases.len(),
        count("<failure"),
        count("<error"),
        count("<skipped")
    )?;
    let class = escaped(&check.new.reference);
    for (name, outcome) in &cases {
        writeln!(out, "  <testcase classname=\"{class}\" name=\"{}\">{outcome}</testcase>", escaped(name))?;
    }
    writeln!(out, "</testsuite>")
}

/// Text that XML 1.0 can hold, in attributes too.
fn escaped(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(units::plain).collect();
    let text = lines.join("\n");
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a<b>&\"c\"\n\u{1}\u{ffff}"), "a&lt;b&gt;&amp;&quot;c&quot;\n\u{fffd}\u{fffd}");
    }
}
