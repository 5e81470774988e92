//! The parts that all figures share: a frame with two axes, marks, and a legend.

use std::fmt::Write;

/// A figure with its caption.
pub(super) struct Figure {
    pub(super) caption: &'static str,
    pub(super) svg: String,
}

/// The frame in units of the figure: left, top, right, bottom.
pub(super) const FRAME: [f64; 4] = [58.0, 14.0, 468.0, 290.0];
/// The width and height of a figure in its own units.
const SIZE: [f64; 2] = [480.0, 340.0];

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

/// A figure under construction.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// Begins a figure. `name` is unique on the page; screen readers read `title` and
    /// `description`.
    pub(super) fn new(name: &str, title: &str, description: &str) -> Self {
        let [width, height] = SIZE;
        let mut svg = Self {
            text: String::new(),
        };
        svg.push(format_args!(
            concat!(
                r#"<svg viewBox="0 0 {} {}" role="img" "#,
                r#"aria-labelledby="{name}-title {name}-desc">"#,
                r#"<title id="{name}-title">{}</title><desc id="{name}-desc">{}</desc>"#
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
    pub(super) fn figure(mut self, caption: &'static str) -> Figure {
        self.text.push_str("</svg>");
        Figure {
            caption,
            svg: self.text,
        }
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
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
            self.label([x, bottom + 15.0], "middle", &power(exponent));
        }
        self.x_label(label);
    }

    /// Writes the label of the horizontal axis.
    pub(super) fn x_label(&mut self, label: &str) {
        let [left, _, right, bottom] = FRAME;
        self.label([(left + right) / 2.0, bottom + 36.0], "middle", label);
    }

    /// Draws the vertical axis left of the frame.
    pub(super) fn y_axis(&mut self, axis: &LogAxis, label: &str) {
        let [left, _, right, _] = FRAME;
        for exponent in axis.ticks() {
            let y = axis.at(10f64.powi(exponent));
            self.line("grid", [left, y], [right, y]);
            self.label([left - 6.0, y + 4.0], "end", &power(exponent));
        }
        self.y_label(label);
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
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            escape(text)
        ));
    }

    /// Draws a straight line.
    pub(super) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    /// Draws a line through points.
    pub(super) fn polyline(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}"));
        let points = points.collect::<Vec<_>>().join(" ");
        self.push(format_args!(
            r#"<polyline class="{class}" points="{points}"/>"#
        ));
    }

    /// Draws a filled polygon.
    pub(super) fn polygon(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}"));
        let points = points.collect::<Vec<_>>().join(" ");
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
        for [x, y, width, height] in rectangles {
            self.push(format_args!(
                "M{x:.1} {y:.1}h{width:.1}v{height:.1}h-{width:.1}z"
            ));
        }
        self.text.push_str(r#""/>"#);
    }

    /// Draws a legend of classes and their names above the frame.
    pub(super) fn legend(&mut self, names: &[(&str, &str)]) {
        let [left, top, _, _] = FRAME;
        let mut x = left;
        for (class, name) in names {
            self.rectangles(class, &[[x, top - 11.0, 8.0, 8.0]]);
            self.label([x + 12.0, top - 3.5], "start", name);
            x += 26.0 + 6.2 * name.chars().count() as f64;
        }
    }
}

/// Returns a power of ten with a superscript exponent, or as digits from 1 to 100.
fn power(exponent: i32) -> String {
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
