//! Models, as chains and as JSON, with a few small tensors.

#![no_main]

use std::collections::BTreeMap;

use gradprobe::{
    network::{Handed, Model, Network},
    tensor::{Dtype, Tensor},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let tensor = |shape: &[usize]| {
        let values = vec![0.5; shape.iter().product()];
        Tensor::from_f64(shape, &values)
    };
    let shapes: [(&str, &[usize]); 7] = [
        ("input", &[2, 3, 4]),
        ("target", &[2, 3, 4]),
        ("grad_output", &[2, 3, 4]),
        ("grad.input", &[2, 3, 4]),
        ("a.weight", &[4, 4]),
        ("b.weight", &[4]),
        ("b.bias", &[4]),
    ];
    let tensors = shapes.map(|(name, shape)| (name.to_owned(), tensor(shape)));
    let tensors = BTreeMap::from(tensors);
    let model = if text.starts_with('{') {
        serde_json::from_str(text).ok()
    } else {
        Model::parse(text).ok()
    };
    let Some(model) = model else {
        return;
    };
    match Network::new(&model, &tensors, Dtype::F64) {
        Ok(network) => {
            network.check(0..2, Handed::Given, &mut |_| {}, &mut |_| true);
        }
        Err(error) => assert!(error.to_string().len() < 100_000 + text.len()),
    }
});
