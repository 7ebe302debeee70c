//! `retain`: which tags a policy keeps, what the registry is rid of without the others, and what to delete for it.
//!
//! Nothing is deleted. The schema of `--format json` is [`Retention`]. More is read than the daemon reads: every tag of a
//! repository, all platforms, attestations and the tags of referrers, since each of them may hold what is to be deleted.
//! Exit codes: those of `inspect`. What could be read is printed whatever the exit code.

mod arguments;

mod read;

mod decide;
mod retain_report;

mod table;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::columns::Terminal;
use super::inspect::progress::Progress;
use super::output::{CommandFailure, print_error, print_warnings, unless_closed};
use super::{inspect, logging::LogFormat, units};
use crate::clock;
use crate::config::{Config, Scan};
use crate::image::Timestamp;
use crate::oci::{PlatformFilter, Reason, Registry};
use crate::registry::Registries;
use crate::retention::RetentionPolicy;
use crate::sources;
use crate::sources::{Sorted, SourceError};
use crate::tag::Running;
use crate::target::{Detail, Listing, Repositories, Selection, Target, TargetName, Uncompressed};

pub use arguments::{Arguments, RetainFormat};
pub use retain_report::{
    DeletedDigest, DeletedFor, Fate, FateReason, PolicyRetention, RegistryRetention, RepositoryRetention, Retention,
    TagFate,
};

/// The name of the policy that flags describe.
const AD_HOC: &str = "command line";

/// Prints what the policies of a configuration keep, or those of the flags.
pub(super) async fn run(
    config_file: &Path,
    arguments: &Arguments,
    log_format: LogFormat,
) -> Result<(), CommandFailure> {
    let config = if arguments.repositories.is_empty() {
        Some(Config::load(config_file).map_err(CommandFailure::configuration)?)
    } else {
        inspect::configuration(config_file)?
    };
    if let Some(config) = &config {
        print_warnings(config, log_format);
    }
    let registries = inspect::registries(config.as_ref())?;
    let configured = config.as_ref().map_or(&[][..], |config| &config.targets);
    let policies = policies(config.as_ref(), arguments)?;
    if policies.len() > 1 && arguments.wanted_format() == RetainFormat::Digests {
        let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
        let message = format!(
            "one policy may keep what another one does not: choose whose digests to print with `--policy`, of {}",
            names.join(", ")
        );
        return Err(CommandFailure::configuration(message));
    }
    let targets = [configured, &named(&arguments.repositories)].concat();
    let running = running(config.as_ref(), &policies).await?;
    let terminal = Terminal { whole: arguments.no_trunc, ..Terminal::here() };
    let now = clock::unix_now();
    let retention = retention(&registries, &targets, &policies, &running, now, terminal, &mut io::stderr()).await;
    for failure in &retention.errors {
        print_error(&units::plain(&failure.message));
    }
    unless_closed(write(&retention, arguments, terminal, &mut io::stdout().lock()))?;
    match retention.errors.first() {
        None => Ok(()),
        Some(failure) => Err(CommandFailure {
            message: format!("not everything could be read ({}): {}", failure.reason, unknown(&retention)),
            exit_code: failure.reason.exit_code(),
        }),
    }
}

fn unknown(retention: &Retention) -> &'static str {
    let registries = || retention.policies.iter().flat_map(|policy| &policy.registries);
    if registries().any(|registry| registry.freed_bytes.is_none()) {
        "what is unread may share blobs with what goes, so that no freed bytes are shown there"
    } else {
        "nothing of it is on a registry with a policy"
    }
}

/// The policies that are asked for.
fn policies(config: Option<&Config>, arguments: &Arguments) -> Result<Vec<Arc<RetentionPolicy>>, CommandFailure> {
    if arguments.has_rule() {
        let targets = arguments.repositories.iter().map(target_name).collect::<Vec<_>>();
        return Ok(vec![Arc::new(RetentionPolicy {
            name: AD_HOC.into(),
            targets: (!targets.is_empty()).then_some(targets),
            keep_newest: arguments.keep_newest,
            keep_match: arguments.keep_match.clone(),
            keep_younger: arguments.keep_younger,
            keep_running: false,
        })]);
    }
    let refuse = |message: String| Err(CommandFailure::configuration(message));
    if !arguments.repositories.is_empty() {
        return refuse(
            "a repository needs a rule: add `--keep-newest`, `--keep-match` or `--keep-younger`; a policy of the configuration names its targets"
                .to_owned(),
        );
    }
    let all = config.map_or(&[][..], |config| &config.policies);
    if all.is_empty() {
        return refuse(
            "the configuration has no [[policies]]: add one, or write `--keep-newest`, `--keep-match` or `--keep-younger`"
                .to_owned(),
        );
    }
    let names: Vec<&str> = all.iter().map(|policy| &*policy.name).collect();
    if let Some(unknown) = arguments.policy.iter().find(|name| !names.contains(&name.as_str())) {
        return refuse(format!("no policy is named `{unknown}`: there are {}", names.join(", ")));
    }
    let is_wanted = |policy: &&Arc<RetentionPolicy>| {
        arguments.policy.is_empty() || arguments.policy.iter().any(|name| **name == *policy.name)
    };
    Ok(all.iter().filter(is_wanted).cloned().collect())
}

/// The name of the target that stands for a repository of the command line. No target of a configuration has it.
fn target_name(repositories: &Repositories) -> TargetName {
    TargetName(format!("\u{0}{repositories}").into())
}

/// Targets of all tags of these repositories.
fn named(repositories: &[Repositories]) -> Vec<Arc<Target>> {
    let target = |repositories: &Repositories| Target {
        name: target_name(repositories),
        repositories: repositories.clone(),
        selection: Selection { tags: Vec::new(), listing: Some(Listing::default()) },
        newest: None,
        platforms: PlatformFilter::all(),
        interval: Duration::ZERO,
        uncompressed: Uncompressed::Off,
        detail: Detail::Images,
        budget_bytes: None,
        labels: std::collections::BTreeMap::new(),
        grouping: None,
        tags_max: Scan::default().tags_max,
    };
    repositories.iter().map(|one| Arc::new(target(one))).collect()
}

/// What each source sees, if a policy asks for that. Without a whole answer nothing is judged: what runs would go.
async fn running(config: Option<&Config>, policies: &[Arc<RetentionPolicy>]) -> Result<Vec<Running>, CommandFailure> {
    let mut running = Vec::new();
    if !policies.iter().any(|policy| policy.keep_running) {
        return Ok(running);
    }
    for source in config.iter().flat_map(|config| &config.sources) {
        let name = &source.target.name;
        let failed = |error: &SourceError, what: &str| CommandFailure {
            message: format!("source {name} does not say {what}: {error}"),
            exit_code: error.reason.exit_code(),
        };
        let answer = sources::ask(source).await.map_err(|error| failed(&error, "what runs"))?;
        if let Some(error) = &answer.error {
            return Err(failed(error, "all that runs"));
        }
        let Sorted { running: seen, first_skipped, .. } = answer.sorted;
        if let Some(why) = first_skipped {
            let skipped = seen.skipped;
            let message = format!(
                "source {name} does not say all that runs: {skipped} of its containers cannot be counted (the first one: {why}); `exclude` leaves out what no policy needs to know"
            );
            return Err(CommandFailure { message, exit_code: Reason::Invalid.exit_code() });
        }
        running.push(seen);
    }
    Ok(running)
}

/// Reads what is on the registries that the policies are about, and judges it. `running`: what sources see, for policies that
/// keep that. Progress goes to `err`.
pub async fn retention(
    registries: &Registries,
    targets: &[Arc<Target>],
    policies: &[Arc<RetentionPolicy>],
    running: &[Running],
    now: Timestamp,
    terminal: Terminal,
    err: &mut impl Write,
) -> Retention {
    let mut progress = Progress::new(err, terminal.progress);
    let is_judged = |target: &&Arc<Target>| policies.iter().any(|policy| policy.judges(&target.name));
    let judged: BTreeSet<&Registry> =
        targets.iter().filter(is_judged).filter_map(|target| target.repositories.registry()).collect();
    let mut errors = Vec::new();
    let mut read_registries = Vec::new();
    for registry in judged {
        let on_it: Vec<Arc<Target>> =
            targets.iter().filter(|target| target.repositories.registry() == Some(registry)).cloned().collect();
        read_registries.push(read::read(registries, registry, &on_it, &mut errors, &mut progress).await);
    }
    progress.end();
    let policies = policies.iter().map(|policy| PolicyRetention {
        policy: policy.name.to_string(),
        registries: read_registries.iter().filter_map(|read| decide::decide(policy, read, running, now)).collect(),
    });
    Retention { policies: policies.collect(), errors }
}

/// Prints it in the wanted format.
fn write(retention: &Retention, arguments: &Arguments, terminal: Terminal, out: &mut impl Write) -> io::Result<()> {
    let mut out = io::BufWriter::new(out);
    match arguments.wanted_format() {
        RetainFormat::Table => table::write(retention, arguments.bytes, terminal, &mut out)?,
        RetainFormat::Json => {
            serde_json::to_writer_pretty(&mut out, retention)?;
            writeln!(out)?;
        }
        RetainFormat::Digests => {
            for line in retention.deleted() {
                writeln!(out, "{line}")?;
            }
        }
    }
    out.flush()
}
