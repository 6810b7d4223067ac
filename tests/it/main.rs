//! What doorward does, over real sockets: one binary, a file per room.

mod config;
