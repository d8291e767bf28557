//! Line charts as SVG text.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::TextStyle;

use super::look::{Look, Marker};

pub(super) const WIDTH: u32 = 900;
const HEIGHT: u32 = 430;
pub(super) const LEGEND_WIDTH: u32 = 210;
const FONT: &str = "sans-serif";
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

pub(super) fn note(size: i32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// A named line.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) look: Look,
    pub(crate) points: Vec<(f64, f64)>,
    /// One point in so many carries the marker.
    pub(crate) marker_every: usize,
}

/// One axis.
pub(crate) struct Axis {
    /// What it measures, with its unit.
    pub(crate) title: &'static str,
    /// Logarithmic; must then be positive.
    pub(crate) logarithmic: bool,
    /// Starts at 0 when linear.
    pub(crate) from_zero: bool,
    /// Ticks; made from the data when empty.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    pub(crate) fn logarithmic(title: &'static str) -> Self {
        Self { title, logarithmic: true, from_zero: false, ticks: Vec::new() }
    }

    pub(crate) fn linear(title: &'static str) -> Self {
        Self { title, logarithmic: false, from_zero: true, ticks: Vec::new() }
    }

    /// A logarithmic axis with just these ticks.
    pub(crate) fn at(title: &'static str, ticks: &[f64]) -> Self {
        Self { title, logarithmic: true, from_zero: false, ticks: ticks.to_vec() }
    }

    fn scale(&self, values: impl Iterator<Item = f64>) -> Scale {
        let usable = values.filter(|value| !self.logarithmic || *value > 0.0);
        let (least, most) = usable
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            });
        let (least, most) = if least <= most { (least, most) } else { (0.1, 1.0) };
        if self.logarithmic { self.log_scale(least, most) } else { self.linear_scale(least, most) }
    }

    fn log_scale(&self, least: f64, most: f64) -> Scale {
        let ticks = if self.ticks.is_empty() { log_ticks(least, most) } else { self.ticks.clone() };
        let room = 1.08;
        let low = ticks.first().copied().unwrap_or(least).min(least) / room;
        let high = ticks.last().copied().unwrap_or(most).max(most) * room;
        Scale { low: low.ln(), high: high.ln(), ticks, logarithmic: true }
    }

    fn linear_scale(&self, least: f64, most: f64) -> Scale {
        let least = if self.from_zero { 0.0 } else { least };
        let step = nice_step((most - least).max(1e-9) / 6.0);
        let first = (least / step).floor() as i64;
        let last = (most / step).ceil() as i64;
        let ticks: Vec<f64> = (first..=last).map(|index| index as f64 * step).collect();
        let low = first as f64 * step;
        Scale { low, high: last as f64 * step, ticks, logarithmic: false }
    }
}

/// A range in drawing units: logarithms where the axis is logarithmic.
struct Scale {
    low: f64,
    high: f64,
    ticks: Vec<f64>,
    logarithmic: bool,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic { value.max(1e-9).ln() } else { value }
    }

    fn range(&self) -> Ticked {
        Ticked {
            range: self.low..self.high,
            ticks: self.ticks.iter().map(|&tick| self.place(tick)).collect(),
            logarithmic: self.logarithmic,
        }
    }
}

/// A coordinate whose ticks are given.
#[derive(Clone)]
struct Ticked {
    range: std::ops::Range<f64>,
    ticks: Vec<f64>,
    logarithmic: bool,
}

impl Ranged for Ticked {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start).max(1e-12);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<H: plotters::coord::ranged1d::KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Ticked {
    fn format_ext(&self, value: &f64) -> String {
        number(if self.logarithmic { value.exp() } else { *value })
    }
}

/// Three significant digits at most, without trailing zeros.
pub(super) fn number(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-9).log10().floor() as i32).clamp(0, 4) as usize;
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// 1, 2 and 5 times the powers of ten from below `least` to above `most`.
fn log_ticks(least: f64, most: f64) -> Vec<f64> {
    let first = least.log10().floor() as i32;
    let last = most.log10().ceil() as i32;
    let steps: &[f64] = if last - first > 4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all: Vec<f64> = (first..=last)
        .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)))
        .collect();
    let from = all.iter().rposition(|&tick| tick <= least * 1.0001).unwrap_or(0);
    let to = all.iter().position(|&tick| tick >= most * 0.9999).unwrap_or(all.len() - 1);
    all[from..=to.max(from)].to_vec()
}

pub(super) fn nice_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let nice = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().find(|nice| nice * power >= step * 0.999);
    nice.unwrap_or(10.0) * power
}

/// A chart of `lines`.
pub(crate) fn lines(x: &Axis, y: &Axis, lines: &[Line]) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        // A page in dark colours would swallow the ink.
        root.fill(&WHITE)?;
        let (chart, legend) = root.split_horizontally(WIDTH - LEGEND_WIDTH);
        let all = || lines.iter().flat_map(|line| &line.points);
        let x_scale = x.scale(all().map(|point| point.0));
        let y_scale = y.scale(all().map(|point| point.1));
        draw_chart(&chart, (x, &x_scale), (y, &y_scale), lines)
            .map_err(|error| anyhow!("{error}"))?;
        draw_legend(&legend, lines).map_err(|error| anyhow!("{error}"))?;
        root.present()?;
    }
    Ok(svg)
}

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_chart(
    area: &Area<'_>,
    (x, x_scale): (&Axis, &Scale),
    (y, y_scale): (&Axis, &Scale),
    lines: &[Line],
) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(20)
        .x_label_area_size(46)
        .y_label_area_size(62)
        .build_cartesian_2d(x_scale.range(), y_scale.range())?;
    chart
        .configure_mesh()
        .x_desc(x.title)
        .y_desc(y.title)
        .axis_desc_style((FONT, 15, &INK))
        .label_style((FONT, 13, &INK))
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .x_labels(20)
        .y_labels(20)
        .draw()?;
    for line in lines {
        let place = |&(x, y): &(f64, f64)| (x_scale.place(x), y_scale.place(y));
        let points: Vec<(f64, f64)> = line.points.iter().map(place).collect();
        let stroke = line.look.color.stroke_width(line.look.width);
        match line.look.dash {
            None => chart.draw_series(LineSeries::new(points.iter().copied(), stroke))?,
            Some((on, off)) => {
                let points = points.clone().into_iter();
                chart.draw_series(DashedLineSeries::new(points, on, off, stroke))?
            }
        };
        let outline = line.look.marker.outline();
        if !outline.is_empty() {
            let mark = |&at: &(f64, f64)| {
                EmptyElement::at(at) + Polygon::new(outline.clone(), line.look.color.filled())
            };
            let skip = line.marker_every.max(1);
            chart.draw_series(points.iter().skip(skip / 2).step_by(skip).map(mark))?;
        }
    }
    Ok(())
}

fn draw_legend(area: &Area<'_>, lines: &[Line]) -> Drawn {
    for (row, line) in lines.iter().enumerate() {
        let y = 26 + row as i32 * 24;
        let stroke = line.look.color.stroke_width(line.look.width);
        let ends = vec![(2, y), (40, y)];
        match line.look.dash {
            None => area.draw(&PathElement::new(ends, stroke))?,
            Some((on, off)) => {
                area.draw(&DashedPathElement::new(ends, on, off, stroke))?;
            }
        }
        if !matches!(line.look.marker, Marker::None) {
            let place = |(dx, dy): (i32, i32)| (21 + dx, y + dy);
            let outline: Vec<(i32, i32)> =
                line.look.marker.outline().into_iter().map(place).collect();
            area.draw(&Polygon::new(outline, line.look.color.filled()))?;
        }
        area.draw(&Text::new(line.name.clone(), (48, y - 7), note(14)))?;
    }
    Ok(())
}
