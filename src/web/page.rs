//! The landing page: the version, the state of each target, and links. No scripts, no external resources.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use super::state::ServerState;
use crate::metrics::own::{BUILD, TargetState};

const STYLE: &str = "
:root { color-scheme: light dark; --good: #060; --bad: #b00; --dim: #666; }
@media (prefers-color-scheme: dark) { :root { --good: #6c6; --bad: #f77; --dim: #aaa; } }
body { font-family: system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; }
nav a { display: inline-block; margin: 0 1.5em .3em 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3em .8em .3em 0; border-bottom: 1px solid #8886; }
td:first-child { overflow-wrap: anywhere; }
.up { color: var(--good); }
.failing { color: var(--bad); font-weight: bold; }
.waiting { color: var(--dim); }
";

/// Allows the page's own style, by its hash, and nothing else (Content Security Policy Level 3, section 6.6).
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 and the rest are visible ASCII")
});

const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>image-size-exporter</title>
<style>"#;

pub(super) fn page(state: &ServerState) -> String {
    let mut page = format!("{HEAD}{STYLE}</style>\n</head>\n<body>\n");
    let series = state.rendered.borrow().series();
    let metrics = HtmlEscaped(&state.options.telemetry_path);
    write!(
        page,
        "<h1>image-size-exporter</h1>\n<p>Sizes of container images for Prometheus. Version {}, revision {}.</p>\n\
         <nav><a href=\"{metrics}\">Metrics</a><a href=\"/config\">Configuration</a><a href=\"/-/healthy\">Health</a>\
         <a href=\"/-/ready\">Readiness</a></nav>\n<p>{series} series of images are published.</p>\n<h2>Targets</h2>\n",
        BUILD.version, BUILD.revision
    )
    .expect("writing into a string does not fail");
    table(&mut page, &state.telemetry.target_states(), Timestamp::now());
    page.push_str("</body>\n</html>\n");
    page
}

fn table(page: &mut String, targets: &[TargetState], now: Timestamp) {
    if targets.is_empty() {
        page.push_str("<p>The configuration has no targets.</p>\n");
        return;
    }
    page.push_str(
        "<table>\n<thead><tr><th>Target</th><th>State</th><th>Last scan</th><th>Took</th><th>Every</th></tr></thead>\n<tbody>\n",
    );
    for target in targets {
        row(page, target, now).expect("writing into a string does not fail");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn row(page: &mut String, target: &TargetState, now: Timestamp) -> std::fmt::Result {
    let (class, state) = match target.last {
        None => ("waiting", "not scanned yet"),
        Some(end) if end.up => ("up", "up"),
        Some(_) => ("failing", "failing: see the log"),
    };
    write!(page, "<tr><td>{}</td><td class=\"{class}\">{state}</td>", HtmlEscaped(&target.name.0))?;
    match target.last {
        None => page.push_str("<td></td><td></td>"),
        Some(end) => {
            write!(page, "<td>{}</td><td>{}</td>", moment(end.at, now), rounded(end.duration))?;
        }
    }
    writeln!(page, "<td>{}</td></tr>", humantime::format_duration(target.interval))
}

/// A time and how long ago it was.
fn moment(at: crate::image::Timestamp, now: Timestamp) -> String {
    let parsed = SignedDuration::try_from_secs_f64(at).ok().and_then(|since| Timestamp::from_duration(since).ok());
    let Some(at) = parsed else { return String::new() };
    let ago = now.duration_since(at).as_secs().unsigned_abs();
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    format!("{at} ({} ago)", humantime::format_duration(Duration::from_secs(ago)))
}

/// Milliseconds below ten seconds, seconds above.
fn rounded(duration: Duration) -> humantime::FormattedDuration {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    humantime::format_duration(if millis < 10_000 {
        Duration::from_millis(millis)
    } else {
        Duration::from_secs(millis / 1000)
    })
}

/// Escapes text for HTML and its attributes.
struct HtmlEscaped<'a>(&'a str);

impl std::fmt::Display for HtmlEscaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::own::ScanEnd;
    use crate::target::TargetName;

    fn target(name: &str, last: Option<ScanEnd>) -> TargetState {
        TargetState { name: TargetName(name.into()), interval: Duration::from_mins(5), last, selected: None }
    }

    #[test]
    fn every_target_has_a_row_with_its_state() {
        let end = ScanEnd { at: 1_700_000_000.25, duration: Duration::from_micros(1_234_567), up: true };
        let targets = [
            target("backend", Some(end)),
            target("<script>\"&'", Some(ScanEnd { up: false, duration: Duration::from_millis(61_500), ..end })),
            target("new", None),
        ];
        let mut page = String::new();
        table(&mut page, &targets, Timestamp::from_second(1_700_000_090).unwrap());
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("<tr><td>")).collect();
        assert_eq!(
            rows,
            [
                "<tr><td>backend</td><td class=\"up\">up</td><td>2023-11-14T22:13:20Z (1m 29s ago)</td><td>1s 234ms</td><td>5m</td></tr>",
                "<tr><td>&lt;script&gt;&quot;&amp;&#39;</td><td class=\"failing\">failing: see the log</td><td>2023-11-14T22:13:20Z (1m 29s ago)</td><td>1m 1s</td><td>5m</td></tr>",
                "<tr><td>new</td><td class=\"waiting\">not scanned yet</td><td></td><td></td><td>5m</td></tr>",
            ]
        );
    }
}
