//! The table that the demonstration ends with.

use std::time::Duration;

use crate::load::Report;

const HEADS: [&str; 11] = [
    "policy",
    "req/s",
    "TTFT mean",
    "p50",
    "p99",
    "cached",
    "busiest/mean",
    "lost",
    "cut",
    "retried",
    "requests",
];

/// One aligned line per run.
pub(crate) fn render(rows: &[(&str, Report)]) -> String {
    let mut lines = vec![HEADS.map(str::to_owned)];
    lines.extend(rows.iter().map(|(name, report)| cells(name, report)));
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        text.push_str(&aligned(line, &widths));
        if number == 0 {
            text.push_str(&aligned(&rule, &widths));
        }
    }
    text.push_str(
        "\nTTFT: time to first token, in milliseconds, measured at the client. cached: share of prompt tokens \
         that the\nengines had in their prefix cache. lost: requests without an answer. cut: answers that the \
         killed worker broke\noff after their first token, when no gateway can retry; the user asked again. retried: sent to a second\nworker before the \
         first byte.\n",
    );
    for (name, report) in rows {
        if let Some(error) = &report.last_error {
            text.push_str(&format!("{name}: last error: {error}\n"));
        }
    }
    text
}

fn cells(name: &str, report: &Report) -> [String; HEADS.len()] {
    [
        name.to_owned(),
        format!("{:.0}", report.requests_per_second),
        millis(report.mean),
        millis(report.p50),
        millis(report.p99),
        format!("{:.1}%", report.cached_share * 100.0),
        format!("{:.2}", report.busiest_over_mean),
        report.lost.to_string(),
        report.cut.to_string(),
        report.retried.map_or("-".to_owned(), |retried| retried.to_string()),
        report.answered.to_string(),
    ]
}

/// The first column to the left, figures to the right.
fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        match column {
            0 => line.push_str(&format!("{cell:<width$}")),
            _ => line.push_str(&format!("  {cell:>width$}")),
        }
    }
    line.push('\n');
    line
}

fn millis(time: Duration) -> String {
    format!("{:.0}", time.as_secs_f64() * 1_000.0)
}
