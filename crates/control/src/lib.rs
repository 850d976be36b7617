//! The slow side of funnel: what the operator writes, reads and looks up.
//!
//! [`config`] turns a TOML file into a typed [`config::Config`] or into every fault of the file at once, [`directory`] finds a channel
//! by the path a player sent, [`startup`] writes the screen shown at start, [`pages`] what browsers and playlists show, [`access`] the
//! lines about what players report.
//! Knows neither rings nor shards nor protocols; nothing here is on the data path.

#![forbid(unsafe_code)]

pub mod access;
pub mod config;
pub mod directory;
pub mod links;
mod nearest;
pub mod pages;
pub mod startup;
