//! Keys and certificates: how they are read, and where they will be made.

pub mod keyfile;
