//! How each policy is drawn: a colour of Okabe and Ito's palette, which colour-blind readers can
//! tell apart, a dash pattern and a marker, which survive a black-and-white print.

use plotters::style::RGBColor;

use crate::policies::Policy;

/// Colour, dash and marker of a line.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) color: RGBColor,
    /// Pixels drawn and left out; solid when none.
    pub(crate) dash: Option<(u32, u32)>,
    pub(crate) marker: Marker,
    /// Stroke width, pixels.
    pub(crate) width: u32,
}

/// The shape of a point.
#[derive(Clone, Copy)]
pub(crate) enum Marker {
    Disc,
    Square,
    Diamond,
    Up,
    Down,
    Cross,
    None,
}

const BLACK: RGBColor = RGBColor(0, 0, 0);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const SKY: RGBColor = RGBColor(86, 180, 233);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const GRAY: RGBColor = RGBColor(120, 120, 120);

/// One shared cache of the cluster's size.
pub(crate) const ORACLE: Look = look(BLACK, Some((2, 4)), Marker::None, 2);
/// One shared cache without a limit.
pub(crate) const NO_LIMIT: Look = look(GRAY, Some((14, 6)), Marker::None, 2);

const fn look(color: RGBColor, dash: Option<(u32, u32)>, marker: Marker, width: u32) -> Look {
    Look { color, dash, marker, width }
}

/// The look of a policy: the library's own lines are solid, the others dashed.
pub(crate) fn of(policy: Policy) -> Look {
    match policy {
        Policy::LeastWork => look(BLUE, None, Marker::Disc, 3),
        Policy::Threshold => look(BLACK, None, Marker::Square, 2),
        Policy::PowerOfTwo => look(GRAY, None, Marker::Up, 2),
        Policy::RoundRobin => look(GRAY, None, Marker::Diamond, 2),
        Policy::Random => look(GRAY, None, Marker::Cross, 2),
        Policy::AsWritten => look(SKY, Some((2, 3)), Marker::Cross, 2),
        Policy::Smg => look(VERMILION, Some((8, 3)), Marker::Square, 2),
        Policy::Dynamo => look(GREEN, Some((8, 3)), Marker::Down, 2),
        Policy::LlmD => look(PURPLE, Some((8, 3)), Marker::Diamond, 2),
        Policy::Greedy => look(ORANGE, Some((4, 3)), Marker::Up, 2),
        Policy::Variant(_) => look(BLUE, Some((2, 3)), Marker::Cross, 2),
    }
}

impl Marker {
    /// The outline around (0, 0), pixels.
    pub(crate) fn outline(self) -> Vec<(i32, i32)> {
        match self {
            Marker::Disc => {
                let at = |step: i32| {
                    let angle = f64::from(step) * std::f64::consts::TAU / 16.0;
                    ((angle.cos() * 4.5).round() as i32, (angle.sin() * 4.5).round() as i32)
                };
                (0..16).map(at).collect()
            }
            Marker::Square => vec![(-4, -4), (4, -4), (4, 4), (-4, 4)],
            Marker::Diamond => vec![(0, -6), (5, 0), (0, 6), (-5, 0)],
            Marker::Up => vec![(0, -5), (5, 4), (-5, 4)],
            Marker::Down => vec![(0, 5), (5, -4), (-5, -4)],
            Marker::Cross => vec![
                (-5, -3),
                (-3, -5),
                (0, -2),
                (3, -5),
                (5, -3),
                (2, 0),
                (5, 3),
                (3, 5),
                (0, 2),
                (-3, 5),
                (-5, 3),
                (-2, 0),
            ],
            Marker::None => Vec::new(),
        }
    }
}
