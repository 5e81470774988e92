//! The explanation of the errors over step sizes.

use super::short;
use crate::{report::Verdict, sweep::Sweep};

/// The ratio of the largest to the smallest error of a flat curve. Chosen.
const FLAT: f64 = 2.0;
/// The ratio of two errors from which one is much larger. Chosen.
const MUCH: f64 = 3.0;

/// Returns the explanation of a sweep over the steps of a gradient with this verdict.
pub fn steps(sweep: &Sweep, verdict: Verdict) -> String {
    let points = &sweep.points;
    let errors = points.iter().map(|point| point.difference);
    let least = errors.fold(f64::INFINITY, f64::min);
    let error = short(least);
    if verdict == Verdict::Fail {
        let falling = points.iter().rev();
        let flat = falling.take_while(|point| point.difference <= FLAT * least);
        let which = match flat.last() {
            Some(last) if last.eps < points[0].eps => {
                format!("every step from {:.0e} down", last.eps)
            }
            _ => "every step".to_owned(),
        };
        return format!("The error is {error} at {which}: the gradient is wrong, not the step.");
    }
    let worse = points
        .iter()
        .filter(|it| it.forward_pass > MUCH * it.difference);
    let worse = worse.map(|point| point.eps).fold(0.0, f64::max);
    let forward_pass = match worse {
        0.0 => String::new(),
        eps => format!(
            " Two forward passes are worse from eps = {eps:.0e} down, because rounding of the \
             losses remains when they are subtracted."
        ),
    };
    format!("The difference that gradprobe uses comes within {error}.{forward_pass}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{problem::Wrt, scheme::Precision, sweep::Point};

    fn sweep(errors: [[f64; 2]; 3]) -> Sweep {
        let points = errors.into_iter().zip([1.0, 1e-2, 1e-4]);
        let points = points.map(|([difference, forward_pass], eps)| Point {
            eps,
            difference,
            forward_pass,
            floor: 0.0,
            units: 0.0,
            whole: true,
        });
        Sweep {
            wrt: Wrt::Input,
            precision: Precision::F32,
            rows: 1,
            points: points.collect(),
        }
    }

    #[test]
    fn a_flat_curve_of_a_wrong_gradient_blames_the_gradient() {
        let flat = sweep([[0.93, 0.93], [0.93, 0.93], [0.94, 1.5]]);
        assert_eq!(
            steps(&flat, Verdict::Fail),
            "The error is 0.930 at every step: the gradient is wrong, not the step."
        );
        let falling = sweep([[0.4, 0.4], [0.01, 0.01], [0.01, 1.5]]);
        assert_eq!(
            steps(&falling, Verdict::Fail),
            "The error is 0.010 at every step from 1e-2 down: the gradient is wrong, not the step."
        );
    }

    #[test]
    fn the_curves_of_a_right_gradient_are_compared() {
        let right = sweep([[0.1, 0.1], [1e-6, 1e-4], [1e-6, 0.5]]);
        let text = steps(&right, Verdict::Pass);
        assert!(text.starts_with("The difference that gradprobe uses comes within 1.0e-6."));
        assert!(text.contains("worse from eps = 1e-2 down"), "{text}");
    }
}
