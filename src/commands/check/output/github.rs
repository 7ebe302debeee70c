//! Annotations of GitHub Actions (its "Workflow commands"), which it shows beside a run and in a pull request.

use std::io::{self, Write};

use crate::commands::check::check_report::{Baseline, Check, Verdict};
use crate::commands::units;

/// An error for each rule that fails, a warning for one that could not be judged, and else a notice.
pub(super) fn write(check: &Check, exact: bool, out: &mut impl Write) -> io::Result<()> {
    let reference = &check.new.reference;
    for platform in &check.platforms {
        for judged in platform.rules.iter().filter(|judged| judged.passed != Some(true)) {
            let (level, blame) = match judged.passed {
                None => ("warning", Vec::new()),
                Some(_) => ("error", super::blame(check, platform, judged.rule, exact)),
            };
            let text = [vec![platform.named(&judged.message)], blame, vec![super::subject(check)]].concat().join("\n");
            command(out, level, &format!("{reference}: {}", judged.rule.word()), &text)?;
        }
    }
    for failed in &check.failed {
        command(out, "warning", reference, &format!("{} cannot be read ({})", failed.platform, failed.reason))?;
    }
    if let Baseline::Missing { message, .. } = &check.baseline {
        command(out, "notice", reference, &format!("nothing to compare with: {message}"))?;
    }
    if check.verdict == Verdict::Fine {
        let sizes = check.platforms.iter().map(|platform| {
            let shown =
                |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| units::bytes(bytes, exact));
            let old = if platform.compared { format!("{} → ", shown(platform.old_bytes)) } else { String::new() };
            platform.named(&format!("{old}{}", shown(platform.new_bytes)))
        });
        let lines: Vec<String> = sizes.chain([super::subject(check)]).collect();
        command(out, "notice", &format!("{reference}: fine"), &lines.join("\n"))?;
    }
    Ok(())
}

fn command(out: &mut impl Write, level: &str, title: &str, text: &str) -> io::Result<()> {
    writeln!(out, "::{level} title={}::{}", escaped(title).replace(':', "%3A").replace(',', "%2C"), escaped(text))
}

/// As its toolkit escapes data: a line break would end the command.
fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_one_line() {
        let mut out = Vec::new();
        command(&mut out, "error", "a:b,c", "10 %\nRUN x::y\r").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "::error title=a%3Ab%2Cc::10 %25%0ARUN x::y%0D\n");
    }
}
