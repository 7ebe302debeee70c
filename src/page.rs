//! Pages for people, and the same figures as JSON: a snapshot in, text out. Pure.
//!
//! A page is made when it is asked for, from the snapshot that `/metrics` shows; nothing here can cause a request to a
//! registry. Each page is a value that is serialized as JSON, and that `html` writes for people. Every list on it has a
//! limit, so that a page stays small however much is watched.

mod address;
mod answer;
mod chart;
mod compare;
mod find;
mod html;
mod image;
mod layer_commands;
mod overview;
mod releases;
mod repository;
mod running;
mod search;
mod sharing;
mod stack;
mod top;
mod tops;
mod treemap;
mod world;

pub use answer::{Answer, answer, is_page};
pub use html::{ICON, SCRIPT, STYLE};
pub use treemap::{Rect, squarify};
pub use world::World;
