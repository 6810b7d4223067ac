//! A program for each session: real ones, over sockets, and nothing left of them afterwards.

mod ends;
mod kept;
mod scene;
mod talks;
