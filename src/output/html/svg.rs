//! The little that the pictures share: a frame with two axes, and marks as paths.

use std::fmt::Write;

/// A picture with what it shows in words.
pub(super) struct Figure {
    pub(super) caption: &'static str,
    pub(super) svg: String,
}

/// The frame in the picture's own units: left, top, right, bottom.
pub(super) const FRAME: [f64; 4] = [58.0, 14.0, 468.0, 290.0];
const SIZE: [f64; 2] = [480.0, 340.0];

/// A scale of powers of ten.
#[derive(Clone, Copy)]
pub(super) struct LogAxis {
    /// The exponents at its ends.
    exponents: [f64; 2],
    /// Where they lie.
    ends: [f64; 2],
}

impl LogAxis {
    /// From one exponent to another, whole ones.
    pub(super) fn new(low: i32, high: i32, ends: [f64; 2]) -> Self {
        Self {
            exponents: [f64::from(low), f64::from(high.max(low + 1))],
            ends,
        }
    }

    /// Where a value lies; what is off the scale lies at its end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let ([low, high], [begin, end]) = (self.exponents, self.ends);
        let exponent = value.log10().clamp(low, high);
        // 0 has no logarithm, and NaN none to speak of.
        let exponent = if exponent.is_nan() { low } else { exponent };
        begin + (end - begin) * (exponent - low) / (high - low)
    }

    /// Powers of ten to be marked, at most nine.
    fn ticks(&self) -> impl Iterator<Item = i32> + use<> {
        let [low, high] = self.exponents.map(|exponent| exponent as i32);
        let apart = (high - low) / 9 + 1;
        (low..=high).filter(move |exponent| (exponent - low) % apart == 0)
    }
}

/// A picture in the making.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// Begins one with a name of its own on the page, a title, and a description for those who do not see it.
    pub(super) fn new(name: &str, title: &str, description: &str) -> Self {
        let [width, height] = SIZE;
        let mut svg = Self {
            text: String::new(),
        };
        svg.push(format_args!(
            r#"<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{}</title><desc id="{name}-desc">{}</desc>"#,
            escape(title),
            escape(description)
        ));
        svg
    }

    /// Ends it.
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
            .expect("a string takes everything");
    }

    /// The frame's edge.
    pub(super) fn frame(&mut self) {
        let [left, top, right, bottom] = FRAME;
        let (width, height) = (right - left, bottom - top);
        self.push(format_args!(
            r#"<rect class="frame" x="{left}" y="{top}" width="{width}" height="{height}"/>"#
        ));
    }

    /// Marks and labels along the bottom.
    pub(super) fn x_axis(&mut self, axis: &LogAxis, label: &str) {
        let [_, top, _, bottom] = FRAME;
        for exponent in axis.ticks() {
            let x = axis.at(10f64.powi(exponent));
            self.line("grid", [x, top], [x, bottom]);
            self.label([x, bottom + 15.0], "middle", &power(exponent));
        }
        self.x_label(label);
    }

    /// What the horizontal says.
    pub(super) fn x_label(&mut self, label: &str) {
        let [left, _, right, bottom] = FRAME;
        self.label([(left + right) / 2.0, bottom + 36.0], "middle", label);
    }

    /// Marks and labels along the left.
    pub(super) fn y_axis(&mut self, axis: &LogAxis, label: &str) {
        let [left, _, right, _] = FRAME;
        for exponent in axis.ticks() {
            let y = axis.at(10f64.powi(exponent));
            self.line("grid", [left, y], [right, y]);
            self.label([left - 6.0, y + 4.0], "end", &power(exponent));
        }
        self.y_label(label);
    }

    /// What the vertical says.
    pub(super) fn y_label(&mut self, label: &str) {
        let [_, top, _, bottom] = FRAME;
        let middle = (top + bottom) / 2.0;
        self.push(format_args!(
            r#"<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{}</text>"#,
            escape(label)
        ));
    }

    /// A text at a place, with its start, middle or end there.
    pub(super) fn label(&mut self, [x, y]: [f64; 2], anchor: &str, text: &str) {
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{}</text>"#,
            escape(text)
        ));
    }

    /// A straight line.
    pub(super) fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        self.push(format_args!(
            r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
        ));
    }

    /// A line through points.
    pub(super) fn polyline(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}"));
        let points = points.collect::<Vec<_>>().join(" ");
        self.push(format_args!(
            r#"<polyline class="{class}" points="{points}"/>"#
        ));
    }

    /// A closed shape.
    pub(super) fn polygon(&mut self, class: &str, points: &[[f64; 2]]) {
        let points = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}"));
        let points = points.collect::<Vec<_>>().join(" ");
        self.push(format_args!(
            r#"<polygon class="{class}" points="{points}"/>"#
        ));
    }

    /// Many rectangles of one class: left, top, width and height each.
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

    /// Names of classes, side by side above the frame.
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

/// 10 to the power, with digits raised.
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
