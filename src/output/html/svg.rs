//! The parts that all figures share: a frame with two axes, marks, a legend, and the texts under
//! the pointer.

use std::fmt::{self, Write};

/// A figure with its title and caption.
pub(super) struct Figure {
    pub(super) title: &'static str,
    pub(super) caption: String,
    /// The drawing. `None` if the caption holds all that it would show.
    pub(super) svg: Option<String>,
}

impl Figure {
    /// Returns a figure whose drawing would show no more than a sentence.
    pub(super) fn sentence(title: &'static str, caption: String) -> Self {
        let svg = None;
        Self {
            title,
            caption,
            svg,
        }
    }
}

/// The frame in units of the figure: left, top, right, bottom.
pub(super) const FRAME: [f64; 4] = [52.0, 26.0, 392.0, 252.0];
/// The width and height of a figure in its own units. They are pixels on a narrow phone, so text of
/// 12 units is readable there.
const SIZE: [f64; 2] = [400.0, 294.0];
/// The mean width of a character of the legend, in units of the figure. Measured.
const CHARACTER: f64 = 6.1;

/// A logarithmic axis.
#[derive(Clone, Copy)]
pub(super) struct LogAxis {
    /// The powers of ten at its ends.
    exponents: [f64; 2],
    /// The coordinates of its ends.
    ends: [f64; 2],
}

impl LogAxis {
    /// Returns an axis from 10^low to 10^high, at least one power of ten long.
    pub(super) fn new(low: i32, high: i32, ends: [f64; 2]) -> Self {
        Self {
            exponents: [f64::from(low), f64::from(high.max(low + 1))],
            ends,
        }
    }

    /// Returns the coordinate of a value; values beyond an end are moved to it.
    pub(super) fn at(&self, value: f64) -> f64 {
        let ([low, high], [begin, end]) = (self.exponents, self.ends);
        let exponent = value.log10().clamp(low, high);
        // NaN is shown at the low end, as 0 is.
        let exponent = if exponent.is_nan() { low } else { exponent };
        begin + (end - begin) * (exponent - low) / (high - low)
    }

    /// Returns the powers of ten to mark, at most nine of them.
    fn ticks(&self) -> impl Iterator<Item = i32> + use<> {
        let [low, high] = self.exponents.map(|exponent| exponent as i32);
        let apart = (high - low) / 9 + 1;
        (low..=high).filter(move |exponent| (exponent - low) % apart == 0)
    }
}

/// A coordinate, to a tenth of a unit.
struct Coordinate(f64);

impl fmt::Display for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (10.0 * self.0).round() as i64;
        let sign = if tenths < 0 { "-" } else { "" };
        match (tenths.abs() / 10, tenths.abs() % 10) {
            (whole, 0) => write!(f, "{sign}{whole}"),
            (whole, tenth) => write!(f, "{sign}{whole}.{tenth}"),
        }
    }
}

/// A figure under construction.
pub(super) struct Svg {
    title: &'static str,
    text: String,
}

impl Svg {
    /// Begins a figure. `name` is unique on the page; screen readers read `title` and
    /// `description`.
    pub(super) fn new(name: &str, title: &'static str, description: &str) -> Self {
        let [width, height] = SIZE;
        let mut svg = Self {
            title,
            text: String::new(),
        };
        // A <title> would appear under the pointer everywhere, before the texts of the parts.
        svg.push(format_args!(
            concat!(
                r#"<svg viewBox="0 0 {} {}" role="img" aria-label="{}" "#,
                r#"aria-describedby="{name}-desc"><desc id="{name}-desc">{}</desc>"#
            ),
            width,
            height,
            escape(title),
            escape(description),
            name = name
        ));
        svg
    }

    /// Ends the figure.
    pub(super) fn figure(mut self, caption: impl Into<String>) -> Figure {
        self.text.push_str("</svg>");
        Figure {
            title: self.title,
            caption: caption.into(),
            svg: Some(self.text),
        }
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        self.text
            .write_fmt(text)
            .expect("writing to a string does not fail");
    }

    /// Draws the frame.
    pub(super) fn frame(&mut self) {
        let [left, top, right, bottom] = FRAME;
        let (width, height) = (right - left, bottom - top);
        self.push(format_args!(
            r#"<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}"/>"#
        ));
    }

    /// Draws the horizontal axis below the frame.
    pub(super) fn x_axis(&mut self, axis: &LogAxis, label: &str) {
        let [_, top, _, bottom] = FRAME;
        for exponent in axis.ticks() {
            let x = axis.at(10f64.powi(exponent));
            self.line("grid", [x, top], [x, bottom]);
            self.x_tick(x, &power(exponent));
        }
        self.x_label(label);
    }

    /// Writes the text of a tick of the horizontal axis. It stays within the figure.
    pub(super) fn x_tick(&mut self, x: f64, text: &str) {
        let [_, _, right, bottom] = FRAME;
        let anchor = if x > right - 8.0 { "end" } else { "middle" };
        let x = if x > right - 8.0 { right + 7.0 } else { x };
        self.label([x, bottom + 15.0], anchor, text);
    }

    /// Writes the label of the horizontal axis.
    pub(super) fn x_label(&mut self, label: &str) {
        let [left, _, right, bottom] = FRAME;
        self.label([(left + right) / 2.0, bottom + 35.0], "middle", label);
    }

    /// Draws the vertical axis left of the frame.
    pub(super) fn y_axis(&mut self, axis: &LogAxis, label: &str) {
        for exponent in axis.ticks() {
            self.y_tick(axis.at(10f64.powi(exponent)), &power(exponent));
        }
        self.y_label(label);
    }

    /// Draws a tick of the vertical axis.
    pub(super) fn y_tick(&mut self, y: f64, text: &str) {
        let [left, _, right, _] = FRAME;
        self.line("grid", [left, y], [right, y]);
        self.label([left - 5.0, y + 4.0], "end", text);
    }

    /// Writes the label of the vertical axis.
    pub(super) fn y_label(&mut self, label: &str) {
        let [_, top, _, bottom] = FRAME;
        let middle = (top + bottom) / 2.0;
        self.push(format_args!(
            concat!(
                r#"<text x="12" y="{middle}" text-anchor="middle" "#,
                r#"transform="rotate(-90 12 {middle})">{}</text>"#
            ),
            escape(label),
            middle = middle
        ));
    }

    /// Writes a text whose start, middle or end (the `anchor`) is at a point.
    pub(super) fn label(&mut self, [x, y]: [f64; 2], anchor: &str, text: &str) {
        let [x, y] = [x, y].map(Coordinate);
        self.push(format_args!(
            r#"<text x="{x}" y="{y}" text-anchor="{anchor}">{}</text>"#,
            escape(text)
        ));
    }

    /// Draws a straight line.
    pub(super) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(Coordinate);
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
        ));
    }

    /// Draws a line through points.
    pub(super) fn polyline(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = listed(points);
        self.push(format_args!(
            r#"<polyline class="{class}" points="{points}"/>"#
        ));
    }

    /// Draws a filled polygon.
    pub(super) fn polygon(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = listed(points);
        self.push(format_args!(
            r#"<polygon class="{class}" points="{points}"/>"#
        ));
    }

    /// Draws rectangles of one class as one path: left, top, width and height each.
    pub(super) fn rectangles(&mut self, class: &str, rectangles: &[[f64; 4]]) {
        if rectangles.is_empty() {
            return;
        }
        self.push(format_args!(r#"<path class="{class}" d=""#));
        for rectangle in rectangles {
            let [x, y, width, height] = rectangle.map(Coordinate);
            self.push(format_args!("M{x} {y}h{width}v{height}h-{width}z"));
        }
        self.text.push_str(r#""/>"#);
    }

    /// Draws horizontal strokes of one class as one path: the left end, the middle of the height,
    /// and the length each.
    pub(super) fn strokes(&mut self, class: &str, strokes: &[[f64; 3]], thickness: f64) {
        if strokes.is_empty() {
            return;
        }
        let thickness = Coordinate(thickness);
        self.push(format_args!(
            r#"<path class="stroke {class}" stroke-width="{thickness}" d=""#
        ));
        for stroke in strokes {
            let [x, y, length] = stroke.map(Coordinate);
            self.push(format_args!("M{x} {y}h{length}"));
        }
        self.text.push_str(r#""/>"#);
    }

    /// Draws runs of cells of one class as one path. A cell is a unit wide and high, in a grid of
    /// `bins` cells down and across the frame: the row, the first column, and the number of cells.
    pub(super) fn cells(&mut self, class: &str, bins: [usize; 2], runs: &[[usize; 3]]) {
        if runs.is_empty() {
            return;
        }
        let [left, top, right, bottom] = FRAME;
        let [down, across] = bins.map(|count| count as f64);
        let (width, height) = ((right - left) / across, (bottom - top) / down);
        let top = top + height / 2.0;
        self.push(format_args!(
            concat!(
                r#"<path class="stroke cell {class}" "#,
                r#"transform="translate({left} {top:.2}) scale({width:.4} {height:.4})" d=""#
            ),
            class = class,
            left = left,
            top = top,
            width = width,
            height = height
        ));
        for [row, column, length] in runs {
            self.push(format_args!("M{column} {row}h{length}"));
        }
        self.text.push_str(r#""/>"#);
    }

    /// Adds texts that appear while the pointer is in a rectangle.
    pub(super) fn hovers(&mut self, hovers: &[([f64; 4], String)]) {
        self.text.push_str(r#"<g class="hover">"#);
        for (rectangle, text) in hovers {
            let [x, y, width, height] = rectangle.map(Coordinate);
            self.push(format_args!(
                concat!(
                    r#"<rect x="{x}" y="{y}" width="{width}" height="{height}">"#,
                    r#"<title>{}</title></rect>"#
                ),
                escape(text),
                x = x,
                y = y,
                width = width,
                height = height
            ));
        }
        self.text.push_str("</g>");
    }

    /// Draws a legend of classes and their names above the frame.
    pub(super) fn legend(&mut self, names: &[(String, String)]) {
        let [left, _, right, _] = FRAME;
        let width = |name: &str| 25.0 + CHARACTER * name.chars().count() as f64;
        let all: f64 = names.iter().map(|(_, name)| width(name)).sum();
        let mut x = left.min(right + 10.0 - all).max(0.0);
        for (class, name) in names {
            self.rectangles(class, &[[x, 5.0, 9.0, 9.0]]);
            self.label([x + 13.0, 14.0], "start", name);
            x += width(name);
        }
    }
}

/// Returns points as an attribute.
fn listed(points: &[[f64; 2]]) -> String {
    let points = points.iter().map(|point| {
        let [x, y] = point.map(Coordinate);
        format!("{x},{y}")
    });
    points.collect::<Vec<_>>().join(" ")
}

/// Returns a power of ten with a superscript exponent, or as digits from 1 to 100.
pub(super) fn power(exponent: i32) -> String {
    if (0..=2).contains(&exponent) {
        return 10i32.pow(exponent as u32).to_string();
    }
    let raised = exponent.to_string().chars().map(raise).collect::<String>();
    format!("10{raised}")
}

fn raise(character: char) -> char {
    match character {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        digit => char::from_u32('⁰' as u32 + digit.to_digit(10).unwrap_or(0)).unwrap_or(digit),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_short() {
        let text = |value| Coordinate(value).to_string();
        assert_eq!(text(12.04), "12");
        assert_eq!(text(-0.26), "-0.3");
        assert_eq!(text(-0.01), "0");
        assert_eq!(text(99.96), "100");
    }

    #[test]
    fn powers_of_ten_are_raised() {
        assert_eq!(power(1), "10");
        assert_eq!(power(-12), "10⁻¹²");
    }
}
