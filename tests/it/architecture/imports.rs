//! The imports of the program's files, read from their text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One file of `src/`: its module path, and its code without tests and comments.
pub(crate) struct Source {
    pub(crate) module: Vec<String>,
    pub(crate) code: String,
}

impl Source {
    /// The first part of its module path.
    pub(crate) fn room(&self) -> &str {
        &self.module[0]
    }

    /// Its path below `src/`.
    pub(crate) fn name(&self) -> String {
        format!("{}.rs", self.module.join("/"))
    }

    /// Every path that it names and that may be the program's own, from the crate's root.
    fn paths(&self) -> Vec<Vec<String>> {
        let used = uses(&self.code).into_iter().map(|(_, path)| path);
        used.chain(inline_paths(&self.code)).filter_map(|path| self.absolute(&path)).collect()
    }

    /// What it re-exports: the name, and the path from the crate's root.
    fn exports(&self) -> BTreeMap<String, Vec<String>> {
        let public = uses(&self.code).into_iter().filter(|(is_public, _)| *is_public);
        public.filter_map(|(_, path)| Some((path.last()?.clone(), self.absolute(&path)?))).collect()
    }

    /// A path from the crate's root; none of another crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|part| *part == "super").count();
        match path.first()?.as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([&self.module[..], &path[1..]].concat()),
            "super" => Some([&self.module[..self.module.len().checked_sub(supers)?], &path[supers..]].concat()),
            first if self.declares(first) => Some([&self.module[..], path].concat()),
            _ => None,
        }
    }

    fn declares(&self, child: &str) -> bool {
        self.code.lines().any(|line| line.trim().ends_with(&format!("mod {child};")))
    }
}

/// Which file imports from which, by their places in `sources`.
pub(crate) fn edges(sources: &[Source]) -> BTreeSet<(usize, usize)> {
    let files: BTreeMap<&[String], usize> =
        sources.iter().enumerate().map(|(at, source)| (&source.module[..], at)).collect();
    let exports: Vec<_> = sources.iter().map(Source::exports).collect();
    let target = |path: &[String]| {
        let mut path = path.to_vec();
        // A re-export may name another one; four are more than the program has.
        for _ in 0..4 {
            let depth = (1..=path.len()).rev().find(|depth| files.contains_key(&path[..*depth]))?;
            let at = files[&path[..depth]];
            match path.get(depth).and_then(|name| exports[at].get(name)) {
                Some(exported) => path = [exported, &path[depth + 1..]].concat(),
                None => return Some(at),
            }
        }
        None
    };
    let all = sources.iter().enumerate();
    all.flat_map(|(at, source)| source.paths().into_iter().map(move |path| (at, path)))
        .filter_map(|(from, path)| Some((from, target(&path)?)))
        .filter(|(from, to)| from != to)
        .collect()
}

/// The files that import each other, directly or through others. A room's front, which names the files of its folder,
/// is in no circle with them: they may use what it declares.
pub(crate) fn circles(sources: &[Source]) -> Vec<Vec<usize>> {
    let is_front = |front: usize, file: usize| sources[file].module.starts_with(&sources[front].module);
    let edges: Vec<(usize, usize)> =
        edges(sources).into_iter().filter(|(from, to)| !is_front(*from, *to) && !is_front(*to, *from)).collect();
    let reached = |from: usize| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(at) = open.pop() {
            let next = edges.iter().filter(|(from, _)| *from == at).map(|(_, to)| *to);
            open.extend(next.filter(|to| seen.insert(*to)));
        }
        seen
    };
    let reached: Vec<BTreeSet<usize>> = (0..sources.len()).map(reached).collect();
    let mut circles = BTreeSet::new();
    for at in (0..sources.len()).filter(|at| reached[*at].contains(at)) {
        circles.insert(reached[at].iter().copied().filter(|other| reached[*other].contains(&at)).collect::<Vec<_>>());
    }
    circles.into_iter().collect()
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of `src/` but those of tests.
pub(crate) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    assert!(files.len() > 20, "src was not found");
    files.retain(|path| path.components().all(|part| part.as_os_str() != "tests" && part.as_os_str() != "tests.rs"));
    files.sort();
    files.iter().map(|path| source(path)).collect()
}

fn source(path: &Path) -> Source {
    let relative = path.strip_prefix(root().join("src")).unwrap().with_extension("");
    let module = relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    Source { module, code: code.join("\n") }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The paths of all `use` declarations, and whether each is a re-export.
fn uses(code: &str) -> Vec<(bool, Vec<String>)> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        let after = &rest[at + 4..];
        rest = after;
        let is_public = before.starts_with("pub");
        if (before.is_empty() || is_public && !before.contains(';'))
            && let Some((tree, _)) = after.split_once(';')
        {
            let mut paths = Vec::new();
            expand(&[], tree, &mut paths);
            found.extend(paths.into_iter().map(|path| (is_public, path)));
        }
    }
    found
}

/// The paths of a use tree, `self` and `*` left out and `as` ignored.
fn expand(prefix: &[String], tree: &str, paths: &mut Vec<Vec<String>>) {
    let (head, group) = tree.split_once('{').map_or((tree, None), |(head, group)| (head, Some(group)));
    let head = head.split(" as ").next().unwrap();
    let parts = head.split("::").map(str::trim).filter(|part| !["", "*"].contains(part)).map(str::to_owned);
    let mut path: Vec<String> = prefix.iter().cloned().chain(parts).collect();
    let Some(group) = group else {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        paths.push(path);
        return;
    };
    let (mut depth, mut member) = (0, String::new());
    for c in group.chars() {
        match c {
            ',' if depth == 0 => expand(&path, &std::mem::take(&mut member), paths),
            '}' if depth == 0 => break,
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                member.push(c);
            }
        }
    }
    if !member.trim().is_empty() {
        expand(&path, &member, paths);
    }
}

/// The paths in other code that begin with `crate`, `self` or `super`.
fn inline_paths(code: &str) -> Vec<Vec<String>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = code.split(|c: char| !is_name(c) && c != ':');
    let paths =
        words.map(|word| word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>());
    paths.filter(|path| path.len() > 1 && ["crate", "self", "super"].contains(&path[0].as_str())).collect()
}
