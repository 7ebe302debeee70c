//! `[[targets]]` → targets. There is at least one, or a source.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::oci::reference::{is_registry, split_registry};
use crate::oci::{Platform, Tag};
use crate::target::{
    GroupPattern, Grouping, InvalidPattern, Listing, RegistryRepositories, Repositories, Selection, TagPattern, Target,
    TargetName, VersionRange,
};

use super::reader::{Place, Table};
use super::schema::Scan;
use super::values;

const NONE: &str = "no target is configured: write [[targets]] and below it repository = \"docker.io/library/alpine\"";

/// The names that are taken, and where.
pub(super) type Names = BTreeMap<TargetName, Place>;

/// Reads all targets. Their names are added to `names`.
pub(super) fn read(root: &Table<'_>, scan: &Scan, names: &mut Names) -> Vec<Arc<Target>> {
    let there = root.has("targets") || root.has("sources");
    let tables = root.tables("targets").unwrap_or_default();
    if tables.is_empty() && (!there || root.is_empty_list("targets")) {
        root.problem("targets", NONE);
    }
    let mut targets = Vec::new();
    for table in tables {
        let target = read_one(&table, scan);
        if let Some(target) = target {
            if let Some(other) = names.insert(target.name.clone(), table.place()) {
                let key = if table.has("name") { "name" } else { "repository" };
                let (name, place) = (&target.name, table.seen(&other));
                table.problem(key, format!("`{name}` is also the name of {place}: give this target its own `name`"));
            }
            targets.push(Arc::new(target));
        }
        table.finish();
    }
    targets
}

/// Reads one target; `None` without a valid repository.
fn read_one(table: &Table<'_>, scan: &Scan) -> Option<Target> {
    let repositories = read_repositories(table);
    let name = table.text("name", values::name);
    let selection = read_selection(table);
    let newest = table.word("newest");
    let platforms = table.texts("platforms", str::parse::<Platform>).unwrap_or_default();
    let interval = table.duration("interval").unwrap_or(scan.interval);
    let uncompressed = table.word("uncompressed").unwrap_or_default();
    let detail = table.word("detail").unwrap_or_default();
    let budget_bytes = table.text("budget", values::bytes);
    let labels = table.pairs("labels", values::label).into_iter().collect();
    let grouping = read_grouping(table);
    let tags_max = table.count("tags_max").unwrap_or(scan.tags_max);

    let (repositories, written) = repositories?;
    let name = name.or_else(|| written.try_into().ok().map(|[only]: [String; 1]| only));
    if name.is_none() && !table.has("name") {
        table.problem("name", "is missing: a target of several repositories has one, for example name = \"backend\"");
    }
    let name = TargetName(name?.into());
    Some(Target {
        name,
        repositories,
        selection,
        newest,
        platforms: platforms.into(),
        interval,
        uncompressed,
        detail,
        budget_bytes,
        labels,
        grouping,
        tags_max,
    })
}

/// Its repositories, and each as it is written.
fn read_repositories(table: &Table<'_>) -> Option<(Repositories, Vec<String>)> {
    const EXAMPLE: &str = "write for example repository = \"docker.io/library/alpine\"";
    if !table.has("repository") {
        table.problem("repository", format!("is missing: {EXAMPLE}"));
    } else if table.is_empty_list("repository") {
        table.problem("repository", format!("is empty: {EXAMPLE}"));
    }
    let all = table.texts("repository", |text| Ok::<_, String>((repositories(text)?, text.to_owned())))?;
    for (meant, written) in all.iter().filter(|(_, written)| names_no_registry(written)) {
        let meant = meant.written().join(", ");
        table.warn("repository", format!("`{written}` names no registry and is read as `{meant}`: write that"));
    }
    let (all, written): (Vec<RegistryRepositories>, Vec<String>) = all.into_iter().unzip();
    match Repositories::together(all) {
        Ok(together) => together.map(|together| (together, written)),
        Err(error) => {
            table.problem("repository", error);
            None
        }
    }
}

/// The groups of its repositories.
pub(super) fn read_grouping(table: &Table<'_>) -> Option<Grouping> {
    let named = table.text("group", values::name);
    let by = table.text("group_by", str::parse::<GroupPattern>);
    if table.has("group") && table.has("group_by") {
        table.problem("group_by", "conflicts with `group`: keep one of them");
    }
    named.map(|name| Grouping::Named(name.into())).or(by.map(Grouping::By))
}

/// Keys that make a target read the tag list.
const LISTING: [&str; 6] = ["match", "exclude", "semver", "sort", "limit", "newest"];

/// Named tags and the selection of listed ones; `latest` where neither is configured.
fn read_selection(table: &Table<'_>) -> Selection {
    let tags = table.texts("tags", tag);
    let listing = Listing {
        matches: table.texts("match", str::parse::<TagPattern>).unwrap_or_default(),
        exclude: table.texts("exclude", str::parse::<TagPattern>).unwrap_or_default(),
        semver: table.text("semver", str::parse::<VersionRange>),
        sort: table.word("sort").unwrap_or_default(),
        limit: table.count("limit"),
    };
    let lists = LISTING.iter().any(|key| table.has(key));
    if !lists && table.is_empty_list("tags") {
        table.problem("tags", "is empty, so it selects no tag: name one, or leave the key out for `latest`");
    }
    match tags {
        None if !lists => Selection::latest(),
        tags => Selection { tags: tags.unwrap_or_default(), listing: lists.then_some(listing) },
    }
}

/// A tag. Users paste whole references.
fn tag(text: &str) -> Result<Tag, String> {
    if text.contains(['*', '?', '^', '$', '[', '(', '|', '\\']) {
        return Err(format!(
            "`{text}` is a pattern, not a tag: name each tag, or use a regular expression, as in match = ['{}']",
            as_expression(text)
        ));
    }
    match text.rsplit_once([':', '@']) {
        Some((_, rest)) if !rest.is_empty() => Err(format!("`{text}` is more than a tag: write only `{rest}`")),
        _ => text.parse().map_err(|error: crate::oci::reference::InvalidReference| error.to_string()),
    }
}

/// A glob as a regular expression; a regular expression as it is.
pub(super) fn as_expression(text: &str) -> String {
    if text.contains(['^', '$', '[', '(', '|', '\\']) {
        return text.to_owned();
    }
    let expression = format!("^{}$", text.replace('.', r"\.").replace('*', ".*").replace('?', "."));
    expression.replace(".*$", "")
}

/// A value of `repository`. Users paste URLs.
fn repositories(text: &str) -> Result<RegistryRepositories, String> {
    if text.is_empty() {
        return Err("is empty: write for example \"docker.io/library/alpine\"".to_owned());
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        return Err(format!("`{text}` is a URL: write `{rest}`, without `{scheme}://`"));
    }
    if is_registry(text) {
        let host = text.trim_end_matches('/');
        return Err(format!("`{text}` is a registry without a repository: write for example `{host}/acme/app`"));
    }
    text.parse().map_err(|error: InvalidPattern| error.to_string())
}

/// Whether the repository is one of Docker Hub because it names no registry.
fn names_no_registry(text: &str) -> bool {
    split_registry(text).is_ok_and(|(_, name)| name.len() == text.len())
}
