//! Pages as HTML. maud escapes every text and attribute; what a registry or a person wrote goes through `words` as well,
//! so that no character of it is invisible or turns the direction of the text around it.

mod compare;
mod files;
mod frame;
mod image;
mod overview;
mod pictures;
mod repository;
mod search;
mod tables;
mod treemap;
mod words;

pub(super) use compare::{compare, compare_form};
pub use files::{ICON, SCRIPT, STYLE};
pub(super) use frame::{Frame, missing};
pub(super) use image::image;
pub(super) use overview::overview;
pub(super) use repository::repository;
pub(super) use search::search;
