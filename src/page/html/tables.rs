//! Parts of tables and lists of figures.

use maud::{Markup, html};

use crate::page::address::{Address, Sort};

/// A column's head.
pub(super) struct Column<'a> {
    pub(super) title: &'a str,
    /// A figure stands right, a text left.
    pub(super) is_figure: bool,
    /// Whether it is left out on a narrow screen.
    pub(super) is_wide: bool,
    /// How the server sorts by it, if it does.
    pub(super) sort: Option<Sort>,
}

pub(super) const fn words(title: &str) -> Column<'_> {
    Column { title, is_figure: false, is_wide: false, sort: None }
}

pub(super) const fn figure(title: &str) -> Column<'_> {
    Column { title, is_figure: true, is_wide: false, sort: None }
}

impl Column<'_> {
    pub(super) const fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    pub(super) const fn by(mut self, sort: Sort) -> Self {
        self.sort = Some(sort);
        self
    }

    fn class(&self) -> Option<&'static str> {
        match (self.is_figure, self.is_wide) {
            (true, true) => Some("n wide"),
            (true, false) => Some("n"),
            (false, true) => Some("wide"),
            (false, false) => None,
        }
    }
}

/// A table. The script sorts it where all of its rows are there, else the server does.
pub(super) fn table(name: &str, columns: &[Column], address: Option<&Address>, rows: &Markup) -> Markup {
    whole_table(name, columns, address, address.is_none(), rows)
}

/// A table whose rows have an order of their own.
pub(super) fn fixed_table(name: &str, columns: &[Column], rows: &Markup) -> Markup {
    whole_table(name, columns, None, false, rows)
}

fn whole_table(name: &str, columns: &[Column], address: Option<&Address>, is_sortable: bool, rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label=(name) tabindex="0" {
            table.sortable[is_sortable] {
                thead {
                    tr {
                        @for column in columns {
                            th.(column.class().unwrap_or_default()) scope="col" aria-sort=[sorted(column, address)] {
                                @match (column.sort, address) {
                                    (Some(sort), Some(address)) => a href=(address.clone().sorted(sort).link()) { (column.title) },
                                    _ => (column.title),
                                }
                            }
                        }
                    }
                }
                tbody { (rows) }
            }
        }
    }
}

fn sorted(column: &Column, address: Option<&Address>) -> Option<&'static str> {
    let is_sorted = column.sort? == address?.sort;
    is_sorted.then_some(if column.sort == Some(Sort::Name) { "ascending" } else { "descending" })
}

/// Links to the other pages of a list.
pub(super) fn pages(address: &Address, page: usize, pages: usize) -> Markup {
    let to = |page: usize| address.clone().at_page(page).link();
    html! {
        @if pages > 1 {
            nav.pages aria-label="Pages of the list" {
                @if page > 1 { a rel="prev" href=(to(page - 1)) { "← Previous" } }
                span { "Page " (page) " of " (pages) }
                @if page < pages { a rel="next" href=(to(page + 1)) { "Next →" } }
            }
        }
    }
}

/// Figures with their names, as at the top of a page.
pub(super) fn figures(all: &[(&str, Markup)]) -> Markup {
    html! {
        dl.figures {
            @for (name, value) in all {
                div { dt { (name) } dd { (value) } }
            }
        }
    }
}
