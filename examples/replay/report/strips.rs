//! Heat strips as SVG text.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::plot::{Area, Drawn, INK, LEGEND_WIDTH, WIDTH, nice_step, note, number};

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
pub(crate) fn render(bands: &[Strips], seconds: f64, most: f64) -> Result<String> {
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
