//! Numbers over time, as static SVG. What has more intervals than a chart has points is joined, and the extremes stay.

use std::fmt::Write;
use std::ops::Range;

use maud::{Markup, html};

use super::facts::Facts;
use super::scale::{self, WIDTH};
use super::timeline;

/// Points of a line.
const POINTS: usize = 240;
/// Units of a chart's height; of one that is mirrored, of each half.
const HEIGHT: f64 = 100.0;

/// Numbers of all intervals; an interval without one is a gap.
pub(super) struct Line<'a> {
    pub(super) class: &'a str,
    pub(super) numbers: Vec<Option<f64>>,
}

/// What is drawn into one frame.
pub(super) struct Chart<'a> {
    /// What it shows, and of what: for those who hear it.
    pub(super) title: String,
    pub(super) description: String,
    /// The number at the upper edge, and its words; those of the lower edge of a mirrored chart.
    pub(super) top: (f64, String),
    pub(super) bottom: String,
    /// Filled down to the middle or to the lower edge.
    pub(super) areas: Vec<Line<'a>>,
    pub(super) lines: Vec<Line<'a>>,
    /// The same downwards.
    pub(super) mirrored_areas: Vec<Line<'a>>,
    pub(super) mirrored_lines: Vec<Line<'a>>,
    /// Letters of the series: times in which it was down have another ground.
    pub(super) states: &'a str,
    /// Between the first and the second.
    pub(super) band: Option<[Line<'a>; 2]>,
    /// From the lower edge, one for each interval that has any.
    pub(super) bars: Option<Line<'a>>,
}

impl Chart<'_> {
    /// One with nothing in it.
    pub(super) fn new(title: String, description: String, top: (f64, String)) -> Self {
        Self {
            title,
            description,
            top,
            bottom: "0".to_owned(),
            areas: Vec::new(),
            lines: Vec::new(),
            mirrored_areas: Vec::new(),
            mirrored_lines: Vec::new(),
            states: "",
            band: None,
            bars: None,
        }
    }

    /// The chart with what stands at its edges.
    pub(super) fn draw(&self, facts: &Facts<'_>) -> Markup {
        let mirrored = !self.mirrored_areas.is_empty();
        let height = if mirrored { 2.0 * HEIGHT } else { HEIGHT };
        let up = Frame {
            facts,
            scale: -HEIGHT / self.top.0.max(f64::MIN_POSITIVE),
            zero: HEIGHT,
        };
        let down = Frame {
            scale: -up.scale,
            ..up
        };
        html! {
            div class={ "chart" @if mirrored { " mirrored" } } {
                span class="top" aria-hidden="true" { (self.top.1) }
                span class="bottom" aria-hidden="true" { (self.bottom) }
                svg viewBox={ "0 0 " (WIDTH) " " (height) } preserveAspectRatio="none" role="img" {
                    title { (self.title) }
                    desc { (self.description) }
                    (timeline::shades(facts, self.states, height as u64))
                    (scale::grid(facts, height as u64))
                    @for area in &self.areas { (up.area(area)) }
                    @for area in &self.mirrored_areas { (down.area(area)) }
                    @if let Some(band) = &self.band { (up.band(band)) }
                    @if let Some(bars) = &self.bars { (up.bars(bars)) }
                    @for line in &self.lines { (up.line(line)) }
                    @for line in &self.mirrored_lines { (down.line(line)) }
                    path class="axis" d={ "M0 " (HEIGHT) "H" (WIDTH) } {}
                }
            }
            (scale::ticks(facts))
        }
    }
}

/// Where numbers are.
#[derive(Clone, Copy)]
struct Frame<'a> {
    facts: &'a Facts<'a>,
    scale: f64,
    zero: f64,
}

/// A point of a line: its interval's middle, and the number.
type Point = (f64, f64);

impl Frame<'_> {
    fn y(&self, number: f64) -> f64 {
        (self.zero + number * self.scale).clamp(0.0, 2.0 * HEIGHT)
    }

    fn line(&self, line: &Line<'_>) -> Markup {
        let pieces = self.pieces(&line.numbers);
        let path: String = pieces.iter().map(|piece| path_of(piece)).collect();
        html! { path class=(line.class) d=(path) {} }
    }

    fn area(&self, line: &Line<'_>) -> Markup {
        let mut path = String::new();
        for piece in self.pieces(&line.numbers) {
            if let (Some(first), Some(last)) = (piece.first(), piece.last()) {
                let (begin, end) = (first.0, last.0);
                // From the base to the line and back.
                let _ = write!(path, "{}L{end:.0} {:.0}", path_of(&piece), self.zero);
                let _ = write!(path, "L{begin:.0} {:.0}Z", self.zero);
            }
        }
        html! { path class=(line.class) d=(path) {} }
    }

    fn band(&self, [low, high]: &[Line<'_>; 2]) -> Markup {
        let (low_pieces, high_pieces) = (self.pieces(&low.numbers), self.pieces(&high.numbers));
        let mut path = String::new();
        for (below, above) in low_pieces.iter().zip(&high_pieces) {
            path += &path_of(above);
            for (x, y) in below.iter().rev() {
                let _ = write!(path, "L{x:.0} {y:.0}");
            }
            path.push('Z');
        }
        html! { path class=(low.class) d=(path) {} }
    }

    fn bars(&self, line: &Line<'_>) -> Markup {
        let mut path = String::new();
        for range in joined(line.numbers.len()) {
            let most = line.numbers[range.clone()].iter().flatten();
            let most = most.copied().fold(0.0, f64::max);
            if most > 0.0 {
                let (from, to) = (self.x(range.start), self.x(range.end));
                let y = self.y(most);
                let to = to.max(from + 3.0);
                let _ = write!(path, "M{from:.1} {HEIGHT}V{y:.0}H{to:.1}V{HEIGHT}Z");
            }
        }
        html! { path class=(line.class) d=(path) {} }
    }

    fn x(&self, interval: usize) -> f64 {
        scale::place(self.facts, self.facts.begin_of(interval))
    }

    /// The points between two gaps each.
    fn pieces(&self, numbers: &[Option<f64>]) -> Vec<Vec<Point>> {
        let mut pieces = vec![Vec::new()];
        for range in joined(numbers.len()) {
            let known = numbers[range.clone()].iter().flatten();
            let most = known.copied().reduce(f64::max);
            let last = pieces.len() - 1;
            match most {
                Some(number) => {
                    let y = self.y(number);
                    let piece = &mut pieces[last];
                    piece.push((self.x(range.start), y));
                    piece.push((self.x(range.end), y));
                }
                None if !pieces[last].is_empty() => pieces.push(Vec::new()),
                None => {}
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

/// Intervals that are one point each.
fn joined(intervals: usize) -> Vec<Range<usize>> {
    let step = intervals.div_ceil(POINTS).max(1);
    let starts = (0..intervals).step_by(step);
    starts
        .map(|start| start..(start + step).min(intervals))
        .collect()
}

/// A line through points, without those that lie between two of the same height.
fn path_of(points: &[Point]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in points.iter().enumerate() {
        let same = |other: Option<&Point>| {
            other.is_some_and(|other| format!("{:.0}", other.1) == format!("{y:.0}"))
        };
        let before = at.checked_sub(1).and_then(|before| points.get(before));
        if at == 0 {
            let _ = write!(path, "M{x:.0} {y:.0}");
        } else if !(same(before) && same(points.get(at + 1))) {
            let _ = write!(path, "L{x:.0} {y:.0}");
        }
    }
    path
}

/// A round number that is not less, so that an edge has words that people read, and the chart uses its height.
pub(super) fn round_up(number: f64) -> f64 {
    if number <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(number.log10().floor());
    let steps = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let fits = steps
        .into_iter()
        .find(|step| step * power >= number * 0.999_999);
    fits.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_round() {
        for (number, edge) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (1.1, 1.2),
            (3.1, 4.0),
            (7e6, 8e6),
            (0.041, 0.05),
        ] {
            assert!((round_up(number) - edge).abs() < edge / 1e6, "{number}");
        }
    }

    #[test]
    fn every_interval_is_in_one_point_and_there_are_not_too_many() {
        for intervals in [0, 1, 2, 240, 241, 1441] {
            let ranges = joined(intervals);
            assert!(ranges.len() <= POINTS);
            let all: Vec<usize> = ranges.into_iter().flatten().collect();
            assert_eq!(all, (0..intervals).collect::<Vec<_>>());
        }
    }

    #[test]
    fn points_of_one_height_are_one_line() {
        let points = [(0.0, 5.0), (1.0, 5.0), (2.0, 5.2), (3.0, 9.0), (4.0, 9.0)];
        assert_eq!(path_of(&points), "M0 5L2 5L3 9L4 9");
        assert_eq!(path_of(&points[..1]), "M0 5");
    }
}
