//! What the tests stand on: a registry that does as it is told, and what is pushed to it.

pub(crate) mod configured;

pub(crate) mod daemon;

pub(crate) mod files;

pub(crate) mod images;

pub(crate) mod registry;

pub(crate) mod tar;

pub(crate) mod tls;
