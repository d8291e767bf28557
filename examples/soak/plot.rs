//! The samples as panels one above the other.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::Plan;
use crate::sample::Sample;

const WIDTH: u32 = 900;
const PANEL: u32 = 210;
const FONT: &str = "sans-serif";
// Okabe and Ito's palette, which colour-blind readers can tell apart.
const COLORS: [RGBColor; 3] = [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115)];
const MIB: f64 = 1_048_576.0;

/// A line's name and value.
type Line<'a> = (String, Box<dyn Fn(&Sample) -> f64 + 'a>);

pub(crate) fn draw(title: &str, plan: &Plan, samples: &[Sample]) -> Result<String> {
    let panels = panels(plan);
    let mut svg = String::new();
    {
        let height = PANEL * panels.len() as u32 + 30;
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let broken = |error: &dyn std::fmt::Display| anyhow!("drawing: {error}");
        root.fill(&WHITE).map_err(|e| broken(&e))?;
        let root = root.titled(title, (FONT, 18)).map_err(|e| broken(&e))?;
        for (area, (axis, lines)) in root.split_evenly((panels.len(), 1)).iter().zip(&panels) {
            panel(area, axis, lines, samples).map_err(|e| broken(&e))?;
        }
        root.present().map_err(|e| broken(&e))?;
    }
    Ok(svg)
}

fn panels(plan: &Plan) -> Vec<(&'static str, Vec<Line<'static>>)> {
    fn line<'a>(name: impl Into<String>, of: impl Fn(&Sample) -> f64 + 'a) -> Line<'a> {
        (name.into(), Box::new(of))
    }
    let percentile = |i: usize| move |sample: &Sample| sample.latency[i] as f64 / 1000.0;
    let budget = plan.budget as f64 / MIB;
    vec![
        ("latency, µs", vec![line("p50", percentile(0)), line("p99", percentile(1))]),
        ("latency, µs", vec![line("p99.9", percentile(2))]),
        ("CPU per request, µs", vec![line("all of a request", |s| s.cpu / 1000.0)]),
        (
            "memory, MiB",
            vec![
                line("process", |s| s.resident as f64 / MIB),
                line("heap", |s| s.heap as f64 / MIB),
                line(format!("tree (budget {budget:.0})"), |s| s.tree as f64 / MIB),
            ],
        ),
        ("turnovers of the budget", vec![line("turnovers", |s| s.turnovers)]),
        ("matched, % of tokens", vec![line("matched", |s| 100.0 * s.matched)]),
    ]
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    axis: &str,
    lines: &[Line<'_>],
    samples: &[Sample],
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let end = samples.last().map_or(1.0, |sample| sample.at);
    let top = lines.iter().map(|(_, of)| top(samples, of)).fold(1e-3, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    chart
        .configure_mesh()
        .y_desc(axis)
        .x_desc("seconds")
        .y_labels(5)
        .max_light_lines(0)
        .label_style((FONT, 12))
        .draw()?;
    for ((name, of), color) in lines.iter().zip(COLORS) {
        let points = samples.iter().map(|sample| (sample.at, of(sample).min(top)));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(1)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 12))
        .draw()
}

/// Where the scale ends: above all but the few windows in which other programs had the processor, whose
/// points are cut off.
fn top(samples: &[Sample], of: &dyn Fn(&Sample) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let most = values.last().copied().unwrap_or(0.0);
    let usual = values.get(values.len() * 9 / 10).copied().unwrap_or(0.0);
    most.min(2.0 * usual) * 1.15
}
