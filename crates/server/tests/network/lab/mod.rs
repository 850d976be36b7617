//! A small network of its own for every test: namespaces on a switch, some of them behind a bad line.

pub mod frame;
pub mod lan;
pub mod line;
pub mod namespace;
