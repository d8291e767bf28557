//! Line charts and heat strips as SVG text.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::TextStyle;

use super::look::{Look, Marker};

const WIDTH: u32 = 900;
const HEIGHT: u32 = 430;
const LEGEND_WIDTH: u32 = 210;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

fn note(size: i32) -> TextStyle<'static> {
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
fn number(value: f64) -> String {
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

fn nice_step(step: f64) -> f64 {
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

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn std::error::Error>>;

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

/// Rows of cells, the darker the more.
pub(crate) struct Strips {
    /// What the rows belong to.
    pub(crate) name: String,
    /// Per row its cells.
    pub(crate) rows: Vec<Vec<f64>>,
}

const STRIP_ROW: i32 = 15;
const STRIP_LEFT: i32 = 62;
const STRIP_TITLE: i32 = 30;

/// One band of rows per entry over `seconds`, with a common scale from 0 to `most`.
pub(crate) fn strips(bands: &[Strips], seconds: f64, most: f64) -> Result<String> {
    let band = |strips: &Strips| STRIP_TITLE + strips.rows.len() as i32 * STRIP_ROW + 6;
    let height = bands.iter().map(band).sum::<i32>() + 60;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut top = 0;
        for strips in bands {
            draw_band(&root, strips, top, most).map_err(|error| anyhow!("{error}"))?;
            top += band(strips);
        }
        draw_time(&root, seconds, top).map_err(|error| anyhow!("{error}"))?;
        draw_scale(&root, most).map_err(|error| anyhow!("{error}"))?;
        root.present()?;
    }
    Ok(svg)
}

fn strips_width() -> i32 {
    (WIDTH - LEGEND_WIDTH) as i32 - STRIP_LEFT - 20
}

/// White over blue to near black: one hue, so that order survives a print.
fn shade(share: f64) -> RGBColor {
    let share = share.clamp(0.0, 1.0).sqrt();
    let mix = |from: f64, to: f64| (from + (to - from) * share) as u8;
    RGBColor(mix(246.0, 3.0), mix(249.0, 20.0), mix(252.0, 60.0))
}

fn draw_band(area: &Area<'_>, strips: &Strips, top: i32, most: f64) -> Drawn {
    let width = strips_width();
    area.draw(&Text::new(strips.name.clone(), (STRIP_LEFT, top + 8), note(14)))?;
    for (row, cells) in strips.rows.iter().enumerate() {
        let y = top + STRIP_TITLE + row as i32 * STRIP_ROW;
        area.draw(&Text::new(format!("worker {row}"), (4, y + 1), note(11)))?;
        let edge = |index: usize| STRIP_LEFT + width * index as i32 / cells.len().max(1) as i32;
        for (index, &cell) in cells.iter().enumerate() {
            let corners = [(edge(index), y), (edge(index + 1), y + STRIP_ROW - 2)];
            let color = shade(cell / most.max(1e-9));
            area.draw(&Rectangle::new(corners, color.filled()))?;
        }
    }
    Ok(())
}

fn draw_time(area: &Area<'_>, seconds: f64, top: i32) -> Drawn {
    let width = strips_width();
    let step = nice_step(seconds / 7.0);
    for index in 0..=(seconds / step) as i32 {
        let at = STRIP_LEFT + (f64::from(width) * f64::from(index) * step / seconds) as i32;
        area.draw(&PathElement::new(vec![(at, top), (at, top + 6)], INK))?;
        area.draw(&Text::new(number(f64::from(index) * step), (at - 10, top + 10), note(13)))?;
    }
    area.draw(&Text::new("simulated time, s", (STRIP_LEFT + width / 2 - 50, top + 30), note(15)))?;
    Ok(())
}

fn draw_scale(area: &Area<'_>, most: f64) -> Drawn {
    let left = (WIDTH - LEGEND_WIDTH) as i32;
    area.draw(&Text::new("requests before", (left, 10), note(13)))?;
    area.draw(&Text::new("their first token", (left, 26), note(13)))?;
    const STEPS: i32 = 24;
    for step in 0..STEPS {
        let share = f64::from(step) / f64::from(STEPS - 1);
        let y = 50 + (STEPS - 1 - step) * 6;
        area.draw(&Rectangle::new([(left, y), (left + 18, y + 6)], shade(share).filled()))?;
    }
    for share in [0.0, 0.25, 0.5, 1.0] {
        let y = 50 + ((1.0 - share) * f64::from(STEPS - 1) * 6.0) as i32;
        area.draw(&Text::new(number((most * share).round()), (left + 24, y - 4), note(13)))?;
    }
    Ok(())
}
