//! What pages refer to.

/// The pages' style.
pub const STYLE: &str = include_str!("style.css");

/// The pages' script: it sorts tables and says what a tile is. Nothing needs it.
pub const SCRIPT: &str = include_str!("script.js");

/// The mark in a browser's tab: three layers.
pub const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\">\
    <rect x=\"1\" y=\"10\" width=\"14\" height=\"5\" fill=\"#2f6f9f\"/><rect x=\"1\" y=\"5.5\" width=\"10\" height=\"3.5\" \
    fill=\"#6ea2c6\"/><rect x=\"1\" y=\"1.5\" width=\"6\" height=\"3\" fill=\"#a9c7de\"/></svg>";
