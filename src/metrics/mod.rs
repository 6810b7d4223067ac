//! Numbers about the server: how they are counted, remembered for an hour, and written for Prometheus.

mod histogram;
mod history;
mod text;

pub use histogram::{Counts, Histogram};
pub(crate) use history::Summary;
pub use history::{History, Sample};
pub use text::{Format, Kind, Page};
