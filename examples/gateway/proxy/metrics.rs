//! The gateway's own figures, beside the library's: requests, retries, time to the first byte.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use pointsman::Outcome;

/// Upper bounds of the histogram's buckets, in milliseconds.
const BUCKETS: [u64; 12] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000];

#[derive(Default)]
pub(crate) struct Metrics {
    requests: AtomicU64,
    in_flight: AtomicU64,
    retries: AtomicU64,
    unread: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
    disconnects: AtomicU64,
    first_byte: [AtomicU64; BUCKETS.len() + 1],
    first_byte_micros: AtomicU64,
}

/// A request under way; its drop is its end.
pub(crate) struct InFlight {
    metrics: Arc<Metrics>,
    begun: Instant,
    answered: bool,
}

impl Metrics {
    pub(crate) fn enter(self: &Arc<Self>) -> InFlight {
        self.requests.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
        InFlight { metrics: self.clone(), begun: Instant::now(), answered: false }
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn unread(&self) {
        self.unread.fetch_add(1, Relaxed);
    }

    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Writes all families in the OpenMetrics text format, without its final line.
    pub(crate) fn write_families(&self, out: &mut String) {
        let single: [(&str, &str, &str, &AtomicU64); 7] = [
            ("requests", "counter", "Requests from clients.", &self.requests),
            ("in_flight", "gauge", "Requests under way.", &self.in_flight),
            ("retries", "counter", "Requests sent to a second worker.", &self.retries),
            (
                "unread",
                "counter",
                "Requests routed by load: their bodies are no JSON.",
                &self.unread,
            ),
            ("refused", "counter", "Requests that no worker answered.", &self.refused),
            ("cut", "counter", "Answers that a worker broke off.", &self.cut),
            ("disconnects", "counter", "Requests that the client gave up.", &self.disconnects),
        ];
        for (name, kind, help, value) in single {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let _ = writeln!(out, "# TYPE gateway_{name} {kind}");
            let _ = writeln!(out, "# HELP gateway_{name} {help}");
            let _ = writeln!(out, "gateway_{name}{suffix} {}", value.load(Relaxed));
        }
        self.write_histogram(out);
    }

    fn write_histogram(&self, out: &mut String) {
        const NAME: &str = "gateway_first_byte_seconds";
        let _ = writeln!(out, "# TYPE {NAME} histogram");
        let _ = writeln!(out, "# HELP {NAME} Time from a request to the first byte of its answer.");
        let mut sum = 0;
        for (count, bound) in self.first_byte.iter().zip(BUCKETS) {
            sum += count.load(Relaxed);
            let _ = writeln!(out, "{NAME}_bucket{{le=\"{:?}\"}} {sum}", bound as f64 / 1_000.0);
        }
        sum += self.first_byte[BUCKETS.len()].load(Relaxed);
        let _ = writeln!(out, "{NAME}_bucket{{le=\"+Inf\"}} {sum}");
        let seconds = self.first_byte_micros.load(Relaxed) as f64 / 1e6;
        let _ = writeln!(out, "{NAME}_sum {seconds:?}");
        let _ = writeln!(out, "{NAME}_count {sum}");
    }

    fn saw_first_byte(&self, after: Duration) {
        let bucket =
            BUCKETS.iter().take_while(|&&bound| after > Duration::from_millis(bound)).count();
        self.first_byte[bucket].fetch_add(1, Relaxed);
        self.first_byte_micros.fetch_add(after.as_micros() as u64, Relaxed);
    }
}

impl InFlight {
    pub(crate) fn first_byte(&self) {
        self.metrics.saw_first_byte(self.begun.elapsed());
    }

    /// No worker answered.
    pub(crate) fn refused(mut self) {
        self.answered = true;
        self.metrics.refused.fetch_add(1, Relaxed);
    }

    /// The answer came to its end, or to a worker's failure.
    pub(crate) fn ended(&mut self, outcome: Outcome) {
        self.answered = true;
        if outcome == Outcome::WorkerError {
            self.metrics.cut.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.in_flight.fetch_sub(1, Relaxed);
        if !self.answered {
            self.metrics.disconnects.fetch_add(1, Relaxed);
        }
    }
}
