//! Looking at what happened: a capture for Wireshark, and a page that replays the ways through the rooms.

mod bytes;
mod capture;
mod page;

pub(crate) use capture::Capture;
pub(crate) use page::page;
