//! The cause of a wrong tensor of a network.

use crate::{
    check::{Options, Subject},
    device::Device,
    network::{Network, Tested},
    problem::Wrt,
    report::{Code, Comparison, Finding},
    tensor::Dtype,
};

/// Returns the causes of a wrong tensor: those of the cross-entropy for the gradient of its logits,
/// else what the two arrays show. `mistake` names one of the layer that gives the whole tensor.
pub(super) fn findings(
    network: &Network,
    tested: &Tested,
    comparison: &Comparison,
    mistake: Option<&str>,
) -> Vec<Finding> {
    let of_loss = of_cross_entropy(network, tested);
    of_loss.unwrap_or_else(|| vec![of_arrays(network, tested, comparison, mistake)])
}

/// Returns the causes that the diagnosis of one layer with cross-entropy finds, if the tensor is
/// the gradient of the logits, or of a last linear layer through the loss.
fn of_cross_entropy(network: &Network, tested: &Tested) -> Option<Vec<Finding>> {
    let (problem, wrt) = if tested.node == network.loss_name() {
        (network.problem_of_logits()?, Wrt::Logits)
    } else {
        let (problem, layer, input) = network.problem_of_tail()?;
        let is_through = network.suspects(tested) == [layer, network.loss_name()];
        let name = tested.name.strip_prefix("grad.").filter(|_| is_through)?;
        let wrt = match name.strip_prefix(layer) {
            Some(".weight") => Wrt::Weight,
            Some(".bias") => Wrt::Bias,
            _ if name == input => Wrt::Input,
            _ => return None,
        };
        (problem, wrt)
    };
    let subject = Subject {
        wrt,
        gradient: Some(tested.tensor.clone()),
    };
    let (options, device) = (Options::default(), Device::Cpu { note: None });
    let report = crate::check::check(&problem, &[subject], &options, &device, &mut ()).ok()?;
    let mut findings = report.checks.into_iter().next()?.findings;
    if findings.first()?.code == Code::Unknown {
        return None;
    }
    for finding in &mut findings {
        for text in [&mut finding.message, &mut finding.fix] {
            *text = in_a_model(text, wrt.grad_name(), &tested.name);
        }
    }
    Some(findings)
}

/// Returns a text on one layer with the name of the tensor, and with settings as a model has them.
fn in_a_model(text: &str, grad_name: &str, name: &str) -> String {
    let words = text
        .split(' ')
        .map(|word| match word.strip_prefix(grad_name) {
            Some(rest) if !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') => {
                format!("{name}{rest}")
            }
            _ => word.to_owned(),
        });
    let text = words.collect::<Vec<_>>().join(" ");
    let settings = ["label-smoothing", "reduction", "ignore-index", "normalizer"];
    settings.into_iter().fold(text, |text, setting| {
        let in_model = format!("{}=", setting.replace('-', "_"));
        text.replace(&format!("--{setting} "), &in_model)
    })
}

/// Largest remainder of a gradient that is a multiple of the right one, relative to it.
const REMAINDER: f64 = 0.01;

/// Returns the cause that the two arrays show.
fn of_arrays(
    network: &Network,
    tested: &Tested,
    comparison: &Comparison,
    mistake: Option<&str>,
) -> Finding {
    let Tested { name, node, .. } = tested;
    let (what, pass) = if tested.is_gradient() {
        ("the derivative", "backward")
    } else {
        ("the value of this layer", "forward")
    };
    let (place, fix) = match network.suspects(tested).as_slice() {
        [] | [_] => (node.clone(), format!("look at the {pass} pass of {node}")),
        [first, .., last] => (
            format!("{first} to {last}"),
            format!(
                "save the gradients of values between {first} and {last}: then the layer is named"
            ),
        ),
    };
    if let Some(mistake) = mistake {
        let message = format!("{place}: {name} is what {node} gives if {mistake}");
        return Finding::new(Code::LayerTermMissing, message, fix);
    }
    let sums = &comparison.tally.sums;
    let products = [
        &sums.analytic_analytic,
        &sums.analytic_numeric,
        &sums.numeric_numeric,
    ];
    let [aa, ag, gg] = products.map(|sum| sum.value());
    let (factor, remainder) = (ag / gg, (1.0 - ag * ag / (aa * gg)).max(0.0).sqrt());
    if aa == 0.0 {
        let message = format!("{place}: {name} is zero, and {what} is not");
        return Finding::new(Code::AllZero, message, fix);
    }
    let allowed = REMAINDER.max(roundings(network.dtype()));
    if remainder <= allowed && (factor - 1.0).abs() > allowed {
        let (code, because) = named(factor, network.normalizer(), allowed);
        let message = format!("{place}: {name} is {factor:.4} times {what}{because}");
        let fix = match code {
            Code::SumInsteadOfMean => format!(
                "divide by {}, or set reduction=sum in the model",
                network.normalizer()
            ),
            _ => fix,
        };
        return Finding {
            factor: Some(factor),
            ..Finding::new(code, message, fix)
        };
    }
    let message = format!(
        "{place}: {name} is not {what} (cosine {:.3})",
        ag / (aa * gg).sqrt()
    );
    Finding {
        confidence: 0.0,
        ..Finding::new(Code::Unknown, message, fix)
    }
}

/// Returns the remainder that some roundings explain.
fn roundings(dtype: Dtype) -> f64 {
    8.0 * dtype.unit_roundoff()
}

/// Returns the name of a factor, and a clause that explains it.
fn named(factor: f64, normalizer: f64, allowed: f64) -> (Code, String) {
    let is = |expected: f64| (factor / expected - 1.0).abs() < allowed;
    if is(-1.0) {
        (Code::SignFlipped, String::new())
    } else if normalizer != 1.0 && is(normalizer) {
        let because = format!(", and the loss is divided by {normalizer}");
        (Code::SumInsteadOfMean, because)
    } else if normalizer != 1.0 && is(1.0 / normalizer) {
        let because = format!(", and the loss is divided by {normalizer} once");
        (Code::MeanInsteadOfSum, because)
    } else {
        (Code::Scaled, String::new())
    }
}

/// Returns the finding on entries that take another slope than PyTorch on a kink.
pub(super) fn other_subgradient(tested: &Tested, count: usize) -> Finding {
    let Tested { name, node, .. } = tested;
    let entries = match count {
        1 => "an entry".to_owned(),
        _ => format!("{count} entries"),
    };
    let message = format!(
        "{node}: {name} takes another slope than PyTorch in {entries} exactly on a kink of {node}, \
         between those on both sides"
    );
    let fix = "none is needed, unless the gradient is to be PyTorch's".to_owned();
    Finding::new(Code::OtherSubgradient, message, fix)
}
