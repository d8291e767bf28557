//! The table on the terminal.

use std::fmt::Write as _;

use crate::grid::Measured;

/// One block per scenario, policies by mean time to first token.
pub(crate) fn render(measured: &[Measured]) -> String {
    let mut text = String::new();
    let mut rest = measured;
    while let Some(first) = rest.first() {
        let same = |run: &&Measured| run.cell.scenario == first.cell.scenario;
        let count = rest.iter().take_while(same).count();
        let (block, tail) = rest.split_at(count);
        rest = tail;
        let _ = writeln!(
            text,
            "{}\n  oracle hit share: {:.1}% with one shared cache of that size, {:.1}% without a limit\n",
            first.cell.scenario.describe(),
            first.oracle * 100.0,
            first.infinite * 100.0
        );
        text.push_str(&rows(block));
        text.push('\n');
    }
    text
}

fn rows(block: &[Measured]) -> String {
    let mut text = format!(
        "  {:<24} {:>6} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6}\n",
        "policy",
        "hits",
        "of oracle",
        "mean s",
        "p50 s",
        "p90 s",
        "p99 s",
        "e2e p50 s",
        "imbalance",
        "failed"
    );
    let mut sorted: Vec<&Measured> = block.iter().collect();
    sorted.sort_by(|a, b| a.summary.mean.total_cmp(&b.summary.mean));
    for run in sorted {
        let summary = &run.summary;
        let _ = writeln!(
            text,
            "  {:<24} {:>5.1}% {:>8.1}% {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>9.2} {:>9.2} {:>6}",
            run.cell.policy.name(),
            summary.hit_share * 100.0,
            summary.hit_share / run.oracle.max(f64::MIN_POSITIVE) * 100.0,
            summary.mean,
            summary.p50,
            summary.p90,
            summary.p99,
            summary.end_to_end_p50,
            summary.imbalance,
            summary.failed
        );
    }
    text
}
