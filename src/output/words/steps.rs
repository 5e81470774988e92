//! The explanation of the errors over step sizes.

use super::short;
use crate::{report::Verdict, sweep::Sweep};

/// The ratio of two errors from which one is much larger. Chosen.
const MUCH: f64 = 3.0;

/// Returns the explanation of a sweep over the steps of a gradient with this verdict.
pub fn steps(sweep: &Sweep, verdict: Verdict) -> String {
    let points = &sweep.points;
    let errors = points.iter().map(|point| point.difference);
    let error = short(errors.fold(f64::INFINITY, f64::min));
    if verdict == Verdict::Fail {
        let conclusion = sweep.conclusion();
        return conclusion.unwrap_or_else(|| format!("No step brings the error below {error}."));
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
            distance: 1.0,
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
        let text = steps(&flat, Verdict::Fail);
        assert!(
            text.ends_with("at every step: the gradient is wrong, not the step."),
            "{text}"
        );
        // Entries of a right gradient that cancel have large relative errors at every step.
        let text = steps(&flat, Verdict::Pass);
        assert!(!text.contains("the gradient is wrong"), "{text}");
    }

    #[test]
    fn the_curves_of_a_right_gradient_are_compared() {
        let right = sweep([[0.1, 0.1], [1e-6, 1e-4], [1e-6, 0.5]]);
        let text = steps(&right, Verdict::Pass);
        assert!(text.starts_with("The difference that gradprobe uses comes within 1.0e-6."));
        assert!(text.contains("worse from eps = 1e-2 down"), "{text}");
    }
}
