//! The log: one line for each event that matters to an operator, on stderr, in logfmt or JSON, with the flags of
//! Prometheus programs (`--log.level`, `--log.format`). Scrapes are not logged.

use std::fmt::{self, Write as _};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Severities, least severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// `ts=… level=… msg=…`
    Logfmt,
    /// One object a line.
    Json,
}

/// Flags of the log.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LogFlags {
    /// Only log messages of at least this severity
    #[arg(long = "log.level", value_name = "LEVEL", value_enum, ignore_case = true, default_value_t = LogLevel::Info)]
    pub log_level: LogLevel,
    /// Its format.
    #[command(flatten)]
    pub format: LogFormatFlag,
}

/// The format of the log, and of the error that ends the program.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct LogFormatFlag {
    /// Format of log messages; `json` also of the error that ends the program
    #[arg(long = "log.format", value_name = "FORMAT", value_enum, ignore_case = true, default_value_t = LogFormat::Logfmt)]
    pub log_format: LogFormat,
}

/// Starts logging to stderr. A second call has no effect.
pub fn init(level: LogLevel, format: LogFormat) {
    let started = subscriber(level, format, std::io::stderr).try_init();
    if let Err(error) = started {
        tracing::debug!(%error, "logging was already set up");
    }
}

/// The line that stands for a panic in a log in JSON.
pub fn panic_as_json(panic: &std::panic::PanicHookInfo<'_>) -> String {
    let payload = panic.payload_as_str().unwrap_or_default();
    let location = panic.location().map(ToString::to_string);
    let line = serde_json::json!({
        "ts": now(), "level": "error", "msg": "panicked and is exiting; this is a bug, please report it",
        "panic": payload, "location": location,
    });
    line.to_string()
}

fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

/// Libraries that warn about single connections: clients could flood the log with these warnings.
const ABOUT_CONNECTIONS: [&str; 3] = ["h2", "hyper", "rustls"];

/// What speaks to a cluster logs answers that it cannot read, with the pods in them. Its failures are this program's to say.
const ABOUT_PODS: [&str; 2] = ["kube_client", "kube_runtime"];

/// Below warnings only this program's own events: libraries log each request.
fn subscriber<W>(level: LogLevel, format: LogFormat, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let ours = match level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let targets = Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_targets(ABOUT_CONNECTIONS.map(|library| (library, LevelFilter::ERROR)))
        .with_targets(ABOUT_PODS.map(|library| (library, LevelFilter::OFF)))
        .with_target(env!("CARGO_CRATE_NAME"), ours);
    let lines = tracing_subscriber::fmt::layer().event_format(Lines(format)).with_writer(writer);
    Box::new(tracing_subscriber::registry().with(targets).with(lines))
}

/// Writes an event as one line. tracing-logfmt and tracing's own JSON call the message by other names than Prometheus.
struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'l> LookupSpan<'l>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG | Level::TRACE => "debug",
        };
        let head = [("ts", now().into()), ("level", level.into()), ("msg", fields.message)];
        let pairs = head.into_iter().chain(fields.others);
        match self.0 {
            LogFormat::Logfmt => logfmt(&mut writer, pairs),
            LogFormat::Json => json(&mut writer, pairs),
        }
    }
}

fn logfmt(writer: &mut Writer<'_>, pairs: impl Iterator<Item = (&'static str, Value)>) -> fmt::Result {
    for (position, (key, value)) in pairs.enumerate() {
        let separator = if position == 0 { "" } else { " " };
        match value {
            Value::String(text) if is_bare(&text) => write!(writer, "{separator}{key}={text}")?,
            // Quoted as in JSON, which every logfmt parser reads.
            value => write!(TerminalSafe(writer), "{separator}{key}={value}")?,
        }
    }
    writeln!(writer)
}

fn is_bare(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c <= ' ' || matches!(c, '"' | '=' | '\\') || is_interpreted(c))
}

fn json(writer: &mut Writer<'_>, pairs: impl Iterator<Item = (&'static str, Value)>) -> fmt::Result {
    let mut separator = '{';
    for (key, value) in pairs {
        write!(TerminalSafe(writer), "{separator}{}:{value}", Value::from(key))?;
        separator = ',';
    }
    writeln!(writer, "}}")
}

/// Characters beyond ASCII's controls that a terminal or editor interprets instead of showing them: DEL and the C1
/// controls, line and paragraph separators, bidirectional marks.
fn is_interpreted(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Escapes characters in JSON that a terminal would interpret and that JSON itself leaves unescaped.
struct TerminalSafe<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for TerminalSafe<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(position) = rest.find(is_interpreted) {
            let (before, from) = rest.split_at(position);
            let mut characters = from.chars();
            self.0.write_str(before)?;
            if let Some(character) = characters.next() {
                write!(self.0, "\\u{:04x}", u32::from(character))?;
            }
            rest = characters.as_str();
        }
        self.0.write_str(rest)
    }
}

/// An event's message and its other fields, in their order.
#[derive(Default)]
struct Fields {
    message: Value,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn logged(level: LogLevel, format: LogFormat, log: impl FnOnce()) -> Vec<String> {
        let written = Written::default();
        tracing::subscriber::with_default(subscriber(level, format, written.clone()), log);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_of_logfmt_has_time_level_message_and_fields() {
        let lines = logged(LogLevel::Info, LogFormat::Logfmt, || {
            tracing::warn!(registry = "quay.io", tags = 3, error = %"a \"b\"\nc", "cannot list tags");
        });
        let (time, rest) = lines[0].split_once(' ').unwrap();
        assert!(time.strip_prefix("ts=").unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(rest, r#"level=warn msg="cannot list tags" registry=quay.io tags=3 error="a \"b\"\nc""#);
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_line_of_json_has_the_same() {
        let lines = logged(LogLevel::Info, LogFormat::Json, || {
            tracing::info!(registry = "quay.io", tags = 3, error = %"a \"b\"\nc", "cannot list tags");
        });
        let value: Value = serde_json::from_str(&lines[0]).unwrap();
        assert!(value["ts"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        assert_eq!(value["level"], "info");
        assert_eq!(value["msg"], "cannot list tags");
        assert_eq!(value["registry"], "quay.io");
        assert_eq!(value["tags"], 3);
        assert_eq!(value["error"], "a \"b\"\nc");
    }

    #[test]
    fn whatever_a_registry_invents_stays_in_its_value() {
        let hostile = [
            "a\nts=2000-01-01T00:00:00Z level=error msg=forged",
            "\r\u{1b}[2K\u{1b}[31mred",
            "csi \u{9b}31m del \u{7f} nel \u{85}",
            "separators \u{2028}\u{2029}, turned \u{202e}around\u{2066}",
            "\u{9b}bare",
            "\" level=error \\",
            "k=v",
            "",
            "\0\t",
            "大きさ",
        ];
        for value in hostile {
            for format in [LogFormat::Logfmt, LogFormat::Json] {
                let lines = logged(LogLevel::Info, format, || tracing::warn!(error = %value, more = ?value, "said"));
                let [line] = &lines[..] else { panic!("{value:?} makes {} lines", lines.len()) };
                assert!(!line.contains(|c: char| c.is_control() || is_interpreted(c)), "{line:?}");
                let read: Value = match format {
                    LogFormat::Json => serde_json::from_str::<Value>(line).unwrap()["error"].clone(),
                    LogFormat::Logfmt => {
                        let (_, rest) = line.split_once("msg=said error=").unwrap();
                        let (text, _) = rest.rsplit_once(" more=").unwrap();
                        serde_json::from_str(text).unwrap_or_else(|_| text.into())
                    }
                };
                assert_eq!(read, value);
            }
        }
    }

    #[test]
    fn only_the_wanted_levels_are_logged_and_of_libraries_only_warnings() {
        let log = || {
            tracing::debug!("ours");
            tracing::info!("ours");
            tracing::error!("ours");
            tracing::debug!(target: "redb", "theirs");
            tracing::info!(target: "redb", "theirs");
            tracing::warn!(target: "redb", "theirs");
            tracing::warn!(target: "h2::proto", "about a connection");
            tracing::error!(target: "kube_client::client", "a list with a password in it");
        };
        let count = |level| logged(level, LogFormat::Logfmt, log).len();
        assert_eq!(count(LogLevel::Debug), 4);
        assert_eq!(count(LogLevel::Info), 3);
        assert_eq!(count(LogLevel::Warn), 2);
        assert_eq!(count(LogLevel::Error), 1);
    }
}
