//! The page that Prometheus reads: its own text format, and `OpenMetrics`, which differ in a few words.

use std::fmt::{Display, Write as _};

use super::Counts;
use super::histogram::BOUNDS;

/// Which of the two formats is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text, version 0.0.4.
    Prometheus,
    /// `OpenMetrics` text, version 1.0.0.
    OpenMetrics,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is always 1; its labels are what it tells.
    Info,
    /// How long things took.
    Histogram,
}

/// A page while it is written.
#[derive(Debug)]
pub struct Page {
    format: Format,
    text: String,
    name: &'static str,
    kind: Kind,
}

impl Format {
    /// The format that a reader asks for.
    #[must_use]
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Format::OpenMetrics
        } else {
            Format::Prometheus
        }
    }

    /// What it is called in HTTP.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Page {
    /// An empty page.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self { format, text: String::new(), name: "", kind: Kind::Gauge }
    }

    /// Begins a metric. `name` is without the ending that its kind has.
    pub fn family(&mut self, kind: Kind, name: &'static str, help: &str) {
        (self.name, self.kind) = (name, kind);
        let (title, word) = match (self.format, kind) {
            (_, Kind::Gauge) => (name.to_owned(), "gauge"),
            (_, Kind::Histogram) => (name.to_owned(), "histogram"),
            (Format::OpenMetrics, Kind::Counter) => (name.to_owned(), "counter"),
            (Format::OpenMetrics, Kind::Info) => (name.to_owned(), "info"),
            (Format::Prometheus, Kind::Counter) => (format!("{name}_total"), "counter"),
            (Format::Prometheus, Kind::Info) => (format!("{name}_info"), "gauge"),
        };
        self.write(format_args!("# HELP {title} {help}\n# TYPE {title} {word}\n"));
    }

    /// A row of the metric.
    pub fn row(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let ending = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.sample(ending, labels, value);
    }

    /// The rows of a histogram, in seconds.
    pub fn histogram(&mut self, counts: &Counts) {
        let mut number = 0_u64;
        let bounds = BOUNDS.iter().map(|bound| format!("{:?}", bound.as_secs_f64()));
        for (count, bound) in counts.buckets.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            number = number.saturating_add(*count);
            self.sample("_bucket", &[("le", &bound)], number);
        }
        let seconds =
            format!("{}.{:06}", counts.microseconds / 1_000_000, counts.microseconds % 1_000_000);
        self.sample("_sum", &[], seconds);
        self.sample("_count", &[], number);
    }

    /// The whole page.
    #[must_use]
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn sample(&mut self, ending: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let name = self.name;
        self.write(format_args!("{name}{ending}{labels} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.text.write_fmt(text).ok();
    }
}

/// A label's value as both formats quote it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;
    use std::time::Duration;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.family(Kind::Counter, "x", "How many.");
        page.row(&[("name", "a\"b\\c\nd")], 1);
        page.family(Kind::Info, "y", "What.");
        page.row(&[("version", "1")], 1);
        page.family(Kind::Gauge, "z", "Now.");
        page.row(&[], 2);
        page.finish()
    }

    #[test]
    fn both_formats_are_written_as_they_are_defined() {
        let rows = "x_total{name=\"a\\\"b\\\\c\\nd\"} 1\n";
        assert_eq!(
            page(Format::Prometheus),
            format!(
                "# HELP x_total How many.\n# TYPE x_total counter\n{rows}# HELP y_info What.\n\
                 # TYPE y_info gauge\ny_info{{version=\"1\"}} 1\n# HELP z Now.\n# TYPE z gauge\nz 2\n"
            )
        );
        assert_eq!(
            page(Format::OpenMetrics),
            format!(
                "# HELP x How many.\n# TYPE x counter\n{rows}# HELP y What.\n# TYPE y info\n\
                 y_info{{version=\"1\"}} 1\n# HELP z Now.\n# TYPE z gauge\nz 2\n# EOF\n"
            )
        );
    }

    #[test]
    fn a_histogram_adds_its_buckets_up() {
        let histogram = Histogram::default();
        histogram.count(Duration::from_millis(700));
        histogram.count(Duration::from_secs(70));
        let mut page = Page::new(Format::Prometheus);
        page.family(Kind::Histogram, "x", "How long.");
        page.histogram(&histogram.counts());
        let text = page.finish();
        for row in [
            "x_bucket{le=\"0.5\"} 0",
            "x_bucket{le=\"1.0\"} 1",
            "x_bucket{le=\"+Inf\"} 2",
            "x_sum 70.700000",
            "x_count 2",
        ] {
            assert!(text.lines().any(|line| line == row), "{row}\n{text}");
        }
    }
}
