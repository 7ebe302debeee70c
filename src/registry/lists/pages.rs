//! The entries of a list as its pages are read, and the names of pages in errors.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;

use url::Url;

use super::page::Page;
use crate::oci::json::problem as json_problem;
use crate::registry::error::RegistryError;
use crate::registry::transport::{Response, redirect};

/// So many entries of a list are remembered, to tell pages that bring nothing new. In a longer list the later ones count
/// as new.
const REMEMBERED_MAX: usize = 1 << 18;

/// Pages of one list.
pub(super) const PAGES_MAX: usize = 1000;

/// The kept entries of a list, and how far it was read.
pub(super) struct Pages<T> {
    pub(super) kept: Vec<T>,
    pub(super) seen: HashSet<T>,
    /// The number of the last page read.
    pub(super) number: usize,
    /// Entries of all pages so far.
    pub(super) entries: usize,
    pub(super) fingerprints: HashSet<u64>,
    /// The hashes of entries, selected or not.
    remembered: HashSet<u64>,
    pub(super) addresses: HashSet<Url>,
    pub(super) stopped: Option<RegistryError>,
    pub(super) cut: bool,
}

/// What a page brings beyond those before.
pub(super) enum Judged {
    LeadsOn,
    /// It is empty.
    Ends,
    /// Only entries of pages before, or it is no list.
    Repeats,
}

/// A page, as errors call it.
pub(super) struct PageName<'a> {
    pub(super) list: &'a (dyn fmt::Display + Sync),
    pub(super) number: usize,
    pub(super) url: &'a Url,
    /// Of a host that the registry redirects to, only the host may be shown.
    pub(super) other_host: bool,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            seen: HashSet::new(),
            number: 0,
            entries: 0,
            fingerprints: HashSet::new(),
            remembered: HashSet::new(),
            addresses: HashSet::new(),
            stopped: None,
            cut: false,
        }
    }
}

impl<T> Pages<T> {
    /// What a page brings, without taking it in.
    pub(super) fn judge(&self, response: &Response) -> Judged {
        let mut brings_new = false;
        match Page::read(&response.body, &mut |_, hash| brings_new |= !self.remembered.contains(&hash)) {
            Ok(page) if page.entries == 0 => Judged::Ends,
            Ok(_) if brings_new => Judged::LeadsOn,
            Ok(_) | Err(_) => Judged::Repeats,
        }
    }
}

impl<T: Clone + Eq + Hash> Pages<T> {
    /// Adds a page. Errors say what is wrong with it.
    pub(super) fn read(
        &mut self,
        response: &Response,
        links_on: bool,
        max: usize,
        keep: &mut (dyn FnMut(&str) -> Option<T> + Send),
    ) -> Result<(), String> {
        self.number += 1;
        self.addresses.insert(response.url.clone());
        let before = self.kept.len();
        let Self { kept, seen, cut, remembered, .. } = self;
        let mut brings_new = false;
        let read = Page::read(&response.body, &mut |text, hash| {
            if !remembered.contains(&hash) {
                brings_new = true;
                if remembered.len() < REMEMBERED_MAX {
                    remembered.insert(hash);
                }
            }
            let Some(entry) = keep(text).filter(|entry| !seen.contains(entry)) else { return };
            if kept.len() == max {
                *cut = true;
            } else {
                seen.insert(entry.clone());
                kept.push(entry);
            }
        });
        let page = read.map_err(|error| {
            self.kept.truncate(before);
            self.cut = false;
            format!("it is not a list ({})", json_problem(&error))
        })?;
        self.entries += page.entries;
        let is_new = self.fingerprints.insert(page.fingerprint);
        if page.entries == 0 && links_on {
            return Err("it is empty and links to another page".to_owned());
        }
        if page.entries > 0 && !is_new {
            return Err("it has the same entries as an earlier page".to_owned());
        }
        if !brings_new && links_on {
            return Err("it has only entries of earlier pages and links to another page".to_owned());
        }
        Ok(())
    }

    /// Ends early, with what was read so far.
    pub(super) fn stop(mut self, error: RegistryError) -> Self {
        self.stopped = Some(error);
        self
    }
}

impl fmt::Display for PageName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.other_host { "" } else { self.url.path() };
        write!(f, "{}: page {} of the list ({}{path})", self.list, self.number, redirect::authority(self.url))
    }
}

/// Resolves a link on the host of its page. A link may name another host, since behind a proxy a registry may not know
/// its own name; that host is ignored, since credentials must go nowhere else.
pub(super) fn on_the_same_host(from: &Url, target: &str) -> Option<Url> {
    let resolved = from.join(target).ok()?;
    let mut next = from.clone();
    // Not by `join`: a path that begins with `//` would name another host.
    next.set_path(resolved.path());
    next.set_query(resolved.query());
    Some(next)
}

/// The problem of a `Link` that gives no next page.
pub(super) fn not_understood(problem: impl fmt::Display) -> String {
    format!("its `Link` header is not understood: {problem}")
}
