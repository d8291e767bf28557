//! The report as one HTML file: tables and pictures, nothing loaded from elsewhere.

use std::fmt::Write as _;

use anyhow::Result;

use super::look;
use super::plot::{self, Axis, Line};
use super::strips::{self, Strips};
use crate::experiments::Measurements;
use crate::grid::Measured;
use crate::policies::Policy;
use crate::scenario::Scenario;

/// Cells per row of a timeline.
const TIMELINE_CELLS: usize = 150;
/// Points of a distribution between two markers.
const CURVE_MARKERS: usize = 24;
/// Bands of a timeline; the first policy of a run that has none of them.
const TIMELINE_POLICIES: [Policy; 4] =
    [Policy::LeastWork, Policy::Smg, Policy::LlmD, Policy::PowerOfTwo];

/// Everything measured on one trace.
pub(crate) struct Study<'a> {
    /// The trace in one line.
    pub(crate) trace: String,
    /// What was measured.
    pub(crate) measured: &'a Measurements,
    /// The scenario of the pictures that show only one.
    pub(crate) reference: &'a Scenario,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:960px;\
margin:2em auto;padding:0 1em}h1{font-size:1.6em}h2{font-size:1.25em;margin-top:2em}\
figure{margin:1.2em 0;overflow-x:auto}figcaption{color:#555;font-size:.9em}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.88em}\
th,td{padding:.2em .6em;text-align:right;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}td.best{font-weight:bold}\
caption{text-align:left;padding:.6em 0;color:#555}svg{max-width:100%;height:auto}";

/// The page.
pub(crate) fn render(studies: &[Study<'_>]) -> Result<String> {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Routing policies on a simulated cluster</title><style>{STYLE}</style></head><body>\
         <h1>Routing policies on a simulated cluster</h1>\
         <p>Load is the share of the time that prefill work fills if one cache of all workers' \
         size is shared by them. Cache is all workers' KV capacity as a share of the trace's \
         distinct prompt blocks. Every time is simulated.</p>"
    );
    for study in studies {
        study.render(&mut page)?;
    }
    page.push_str("</body></html>\n");
    Ok(page)
}

/// One picture of a report.
pub(crate) struct Picture {
    /// What it is called in a file name.
    pub(crate) name: &'static str,
    /// What it shows.
    pub(crate) caption: String,
    /// The picture.
    pub(crate) svg: String,
}

impl Study<'_> {
    fn render(&self, page: &mut String) -> Result<()> {
        let _ = write!(page, "<h2>{}</h2>", escape(&self.trace));
        for picture in self.pictures()? {
            let (svg, caption) = (&picture.svg, escape(&picture.caption));
            let _ = write!(page, "<figure>{svg}<figcaption>{caption}</figcaption></figure>");
        }
        for part in self.measured.parts() {
            page.push_str(&tables(part));
        }
        Ok(())
    }

    /// All pictures that the measures allow.
    pub(crate) fn pictures(&self) -> Result<Vec<Picture>> {
        let reference = self.reference.describe();
        let cache = format!("cache {:.0}%", self.reference.cache_share * 100.0);
        let load = format!("load {:.2}", self.reference.load);
        let mean = self.against_load("mean time to first token, s", |run| run.summary.mean)?;
        let p99 = self.against_load("99th percentile, s", |run| run.summary.p99)?;
        let mut pictures = vec![
            picture("load", format!("Mean time to first token against load; {cache}."), mean),
            picture("p99", format!("99th percentile of the time to first token; {cache}."), p99),
            picture(
                "hits",
                format!("Prompt tokens served from a worker's cache; {load}."),
                self.hit_share()?,
            ),
            picture(
                "distribution",
                format!("Distribution of the time to first token; {reference}."),
                self.distribution()?,
            ),
            picture(
                "timeline",
                format!("Each worker's queue over time, darker is longer; {reference}."),
                self.timeline()?,
            ),
        ];
        if !self.measured.replicas.is_empty() {
            let caption =
                format!("Gateways that share nothing in front of the same workers; {reference}.");
            pictures.push(picture("gateways", caption, self.gateways()?));
        }
        Ok(pictures)
    }

    fn against_load(&self, title: &'static str, value: fn(&Measured) -> f64) -> Result<String> {
        let runs =
            self.along(|scenario| Scenario { load: scenario.load, ..self.reference.clone() });
        let lines = per_policy(&runs, |run| (run.cell.scenario.load, value(run)));
        let loads = ticks(&runs, |scenario| scenario.load);
        plot::lines(&Axis::at("load", &loads), &Axis::logarithmic(title), &lines)
    }

    fn hit_share(&self) -> Result<String> {
        let runs =
            self.along(|of| Scenario { cache_share: of.cache_share, ..self.reference.clone() });
        let percent = |run: &Measured| run.cell.scenario.cache_share * 100.0;
        let mut lines = per_policy(&runs, |run| (percent(run), run.summary.hit_share * 100.0));
        let limit = |name: &str, look, value: fn(&Measured) -> f64| {
            let mut points: Vec<(f64, f64)> =
                runs.iter().map(|run| (percent(run), value(run) * 100.0)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            points.dedup_by(|a, b| a.0 == b.0);
            Line { name: name.to_owned(), look, points, marker_every: 1 }
        };
        lines.push(limit("oracle: one cache", look::ORACLE, |run| run.oracle));
        lines.push(limit("oracle: no limit", look::NO_LIMIT, |run| run.infinite));
        let caches = ticks(&runs, |scenario| scenario.cache_share * 100.0);
        let x = Axis::at("cache, % of the distinct prompt blocks", &caches);
        plot::lines(&x, &Axis::linear("prompt tokens from cache, %"), &lines)
    }

    /// Runs that differ from the reference only by what `vary` takes from them.
    fn along(&self, vary: impl Fn(&Scenario) -> Scenario) -> Vec<&Measured> {
        let here = |run: &&Measured| run.cell.scenario == vary(&run.cell.scenario);
        self.measured.grid.iter().filter(here).collect()
    }

    fn at_reference(&self) -> Vec<&Measured> {
        self.measured.grid.iter().filter(|run| run.cell.scenario == *self.reference).collect()
    }

    fn distribution(&self) -> Result<String> {
        let mut lines = Vec::new();
        for run in self.at_reference() {
            let last = run.curve.len().saturating_sub(1).max(1) as f64;
            let point = |(rank, &time): (usize, &f64)| (time, rank as f64 * 100.0 / last);
            let points = run.curve.iter().enumerate().map(point).collect();
            let name = run.cell.policy.name().to_owned();
            let look = look::of(run.cell.policy);
            lines.push(Line { name, look, points, marker_every: CURVE_MARKERS });
        }
        let x = Axis::logarithmic("time to first token, s");
        plot::lines(&x, &Axis::linear("requests served within that time, %"), &lines)
    }

    fn timeline(&self) -> Result<String> {
        let runs = self.at_reference();
        let has_timeline = |run: &&&Measured| !run.timeline.is_empty();
        let of = |policy| runs.iter().find(|run| run.cell.policy == policy);
        let preferred = TIMELINE_POLICIES.into_iter().filter_map(of).filter(has_timeline);
        let chosen: Vec<&Measured> = match preferred.clone().next() {
            Some(_) => preferred.copied().collect(),
            None => runs.iter().filter(has_timeline).take(1).copied().collect(),
        };
        let end = |run: &&Measured| run.timeline[0].last().map_or(0.0, |sample| sample.0);
        let seconds = chosen.iter().map(end).fold(1.0, f64::max);
        let bands: Vec<Strips> = chosen
            .iter()
            .map(|run| Strips {
                name: format!("{}, mean {:.2} s", run.cell.policy.name(), run.summary.mean),
                rows: run.timeline.iter().map(|line| cells(line, seconds)).collect(),
            })
            .collect();
        let all = bands.iter().flat_map(|band| &band.rows).flatten();
        strips::render(&bands, seconds, all.copied().fold(1.0, f64::max))
    }

    fn gateways(&self) -> Result<String> {
        let runs: Vec<&Measured> = self.measured.replicas.iter().collect();
        let count = |scenario: &Scenario| scenario.replicas as f64;
        let lines = per_policy(&runs, |run| (count(&run.cell.scenario), run.summary.mean));
        let x = Axis::at("gateways", &ticks(&runs, count));
        plot::lines(&x, &Axis::logarithmic("mean time to first token, s"), &lines)
    }
}

fn picture(name: &'static str, caption: String, svg: String) -> Picture {
    Picture { name, caption, svg }
}

/// One line per policy, in the order of tables.
fn per_policy(runs: &[&Measured], point: impl Fn(&Measured) -> (f64, f64)) -> Vec<Line> {
    let mut lines = Vec::new();
    for policy in Policy::ALL {
        let own = runs.iter().filter(|run| run.cell.policy == policy);
        let mut points: Vec<(f64, f64)> = own.map(|run| point(run)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if !points.is_empty() {
            lines.push(Line {
                name: policy.name().to_owned(),
                look: look::of(policy),
                points,
                marker_every: 1,
            });
        }
    }
    lines
}

fn ticks(runs: &[&Measured], value: impl Fn(&Scenario) -> f64) -> Vec<f64> {
    let mut ticks: Vec<f64> = runs.iter().map(|run| value(&run.cell.scenario)).collect();
    ticks.sort_by(f64::total_cmp);
    ticks.dedup();
    ticks
}

/// The mean of a sampled line in each of the timeline's cells.
fn cells(line: &[(f64, f64)], seconds: f64) -> Vec<f64> {
    let mut sums = vec![(0.0, 0u32); TIMELINE_CELLS];
    for &(time, value) in line {
        let cell = ((time / seconds * TIMELINE_CELLS as f64) as usize).min(TIMELINE_CELLS - 1);
        sums[cell].0 += value;
        sums[cell].1 += 1;
    }
    sums.into_iter().map(|(sum, count)| sum / f64::from(count.max(1))).collect()
}

fn tables(measured: &[Measured]) -> String {
    let mut html = String::new();
    let mut rest = measured;
    while let Some(first) = rest.first() {
        let same = |run: &&Measured| run.cell.scenario == first.cell.scenario;
        let (block, tail) = rest.split_at(rest.iter().take_while(same).count());
        rest = tail;
        html.push_str(&table(first, block));
    }
    html
}

fn table(first: &Measured, block: &[Measured]) -> String {
    let mut html = format!(
        "<table><caption>{}; one shared cache of that size: {:.1}% hits</caption><tr><th>policy</th>\
         <th>hits</th><th>of the oracle's</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th>\
         <th>end to end p50</th><th>imbalance</th><th>failed</th></tr>",
        escape(&first.cell.scenario.describe()),
        first.oracle * 100.0
    );
    let mut sorted: Vec<&Measured> = block.iter().collect();
    sorted.sort_by(|a, b| a.summary.mean.total_cmp(&b.summary.mean));
    for (rank, run) in sorted.iter().enumerate() {
        let summary = &run.summary;
        let best = if rank == 0 { " class=\"best\"" } else { "" };
        let _ = write!(
            html,
            "<tr><td{best}>{}</td><td>{:.1}%</td><td>{:.1}%</td><td{best}>{:.2} s</td>\
             <td>{:.2} s</td><td>{:.2} s</td><td>{:.2} s</td><td>{:.2} s</td><td>{:.2}</td>\
             <td>{}</td></tr>",
            escape(run.cell.policy.name()),
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
    html.push_str("</table>");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
