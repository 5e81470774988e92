//! Cases in many files: whatever the split and the order, parts merge to the report of the whole.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use gradprobe::{
    check::Options,
    device::Device,
    io::{self, Request},
    parts::{Case, Index, Partial},
    problem::Wrt,
    report::{Code, Report, Verdict},
    tensor::{Dtype, Tensor},
};
use proptest::prelude::*;

use crate::model::Model;

const N: usize = 60;
const CPU: Device = Device::Cpu { note: None };

/// Writes the rows of a model to files of these lengths, and what they share to one more. The
/// gradient of the input is multiplied by `factor`.
fn write(folder: &Path, model: &Model, lengths: &[usize], factor: f64) -> (Vec<PathBuf>, PathBuf) {
    let mut gradients = model.backward(&model.logits_gradient());
    gradients[0].iter_mut().for_each(|value| *value *= factor);
    let mut shared = BTreeMap::from([("weight".to_owned(), model.problem().weight().clone())]);
    let mut by_row = BTreeMap::from([
        ("input".to_owned(), model.problem().input().clone()),
        ("target".to_owned(), model.target.clone()),
    ]);
    for (wrt, tensor) in model.tensors(&gradients) {
        match wrt {
            // The layer has no bias.
            Wrt::Bias => None,
            Wrt::Weight => shared.insert(wrt.grad_name().to_owned(), tensor),
            _ => by_row.insert(wrt.grad_name().to_owned(), tensor),
        };
    }
    let layer = folder.join("layer.safetensors");
    io::save_tensors(&layer, &shared, &[]).unwrap();
    let mut first = 0;
    let files = lengths.iter().enumerate().map(|(file, length)| {
        let of_rows = |tensor: &Tensor| tensor.slice(first..first + length);
        let rows = by_row
            .iter()
            .map(|(name, tensor)| (name.clone(), of_rows(tensor)));
        let path = folder.join(format!("step-{file}.safetensors"));
        io::save_tensors(&path, &rows.collect(), &[]).unwrap();
        first += length;
        path
    });
    (files.collect(), layer)
}

fn case(files: &[PathBuf], layer: &Path, unit_rows: usize) -> Case {
    let request = Request::default();
    let index = Index::of_files(files.to_vec(), Some(layer.to_owned())).unwrap();
    let index = Index { unit_rows, ..index };
    Case::new(index, request, Options::default()).unwrap()
}

/// Checks some units on a machine that knows their files alone, and sends the result as JSON.
fn sent(case: &Case, units: Range<usize>) -> Partial {
    let index = case.extract(units.clone()).to_json();
    let index = Index::from_json(&index, Path::new("sent")).unwrap();
    let there = Case::new(index, Request::default(), Options::default()).unwrap();
    let partial = there.run(units, &CPU, &mut ()).unwrap();
    let read = Partial::from_json(&partial.to_json(), Path::new("sent")).unwrap();
    assert_eq!(read, partial);
    read
}

fn merged(partials: impl IntoIterator<Item = Partial>) -> Partial {
    let mut all = partials.into_iter();
    let first = all.next().unwrap();
    let mut merged = all.fold(first, |merged, partial| merged.merge(partial).unwrap());
    merged.seconds = 0.0;
    merged
}

fn finished(case: &Case, partial: Partial) -> Report {
    let mut report = case.finish(partial, &CPU).unwrap();
    report.seconds = Default::default();
    report
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_split_in_any_order_merges_to_the_same_bits(
        seed in 0..1000u64,
        cuts in prop::collection::vec(1..N, 0..6),
        unit_rows in 1..24usize,
        ends in prop::collection::vec(0..64usize, 0..8),
        order in any::<u64>(),
        half in any::<bool>(),
        is_wrong in any::<bool>(),
    ) {
        let dtype = if half { Dtype::BF16 } else { Dtype::F32 };
        let model = Model::random(seed, dtype, (N, 5, 4));
        let folder = tempfile::tempdir().unwrap();
        let mut cuts = [cuts, vec![0, N]].concat();
        cuts.sort_unstable();
        cuts.dedup();
        let lengths: Vec<usize> = cuts.windows(2).map(|cut| cut[1] - cut[0]).collect();
        let factor = if is_wrong { 3.0 } else { 1.0 };
        let (files, layer) = write(folder.path(), &model, &lengths, factor);
        let case = case(&files, &layer, unit_rows);
        let whole = merged([case.run(0..case.units(), &CPU, &mut ()).unwrap()]);

        let mut ends: Vec<usize> = ends.iter().map(|end| end % (case.units() + 1)).collect();
        ends.extend([0, case.units()]);
        ends.sort_unstable();
        ends.dedup();
        let parts = ends.windows(2).map(|end| sent(&case, end[0]..end[1]));
        let mut parts: Vec<Partial> = parts.collect();
        for (place, turn) in (0..parts.len()).zip(0..) {
            let other = (order >> (turn % 60)) as usize % parts.len();
            parts.swap(place, other);
        }
        // As a tree, and one after the other.
        let middle = parts.len() / 2;
        let tree = (middle > 0).then(|| {
            let (left, right) = parts.split_at(middle);
            merged([merged(left.to_vec()), merged(right.to_vec())])
        });
        let line = merged(parts);
        prop_assert!(line == whole, "one after the other");
        prop_assert!(tree.is_none_or(|tree| tree == whole), "as a tree");
        let report = finished(&case, line);
        let verdict = |wrt: Wrt| {
            let check = report.checks.iter().find(|check| check.wrt == wrt);
            check.unwrap().verdict
        };
        prop_assert!(!report.interrupted);
        prop_assert_eq!(verdict(Wrt::Input) == Verdict::Fail, is_wrong);
        prop_assert!(verdict(Wrt::Logits) != Verdict::Fail);
        prop_assert!(verdict(Wrt::Weight) != Verdict::Fail);
        prop_assert!(report == finished(&case, whole), "the reports differ");
    }
}

#[test]
fn the_cause_is_found_in_a_sample_of_the_parts() {
    let model = Model::random(3, Dtype::F32, (N, 5, 4));
    let folder = tempfile::tempdir().unwrap();
    let (files, layer) = write(folder.path(), &model, &[20, 20, 20], 10.0);
    let case = case(&files, &layer, 8);
    let report = finished(
        &case,
        merged((0..case.units()).map(|unit| sent(&case, unit..unit + 1))),
    );
    let check = &report.checks[0];
    assert_eq!((check.entries, check.wrong), (300, 300));
    assert_eq!(check.findings[0].code, Code::Accumulated);
    assert!(!check.tried.contains(&Code::RowsPermuted));
    let weight = report.checks.iter().find(|check| check.wrt == Wrt::Weight);
    assert_eq!(weight.unwrap().verdict, Verdict::Pass);
    let first = "row 0, the first wrong one of grad, is row 0 of ";
    assert!(
        report.notes.iter().any(|note| note.starts_with(first)),
        "{:?}",
        report.notes
    );
}

#[test]
fn missing_and_repeated_parts_do_not_pass() {
    let model = Model::random(4, Dtype::F32, (N, 5, 4));
    let folder = tempfile::tempdir().unwrap();
    let (files, layer) = write(folder.path(), &model, &[25, 35], 1.0);
    let case = case(&files, &layer, 10);
    assert_eq!(case.units(), 7);
    let whole = || sent(&case, 0..7);
    assert_eq!(finished(&case, whole()).verdict, Verdict::Pass);

    let gap = finished(&case, merged([sent(&case, 0..2), sent(&case, 4..7)]));
    assert!(gap.interrupted);
    assert_eq!(gap.verdict, Verdict::Inconclusive);
    let wrts: Vec<Wrt> = gap.checks.iter().map(|check| check.wrt).collect();
    assert_eq!(wrts, [Wrt::Input, Wrt::Logits]);
    let missing = |rows: &str, file: &str| {
        gap.notes
            .iter()
            .any(|note| note.starts_with(rows) && note.contains(file))
    };
    assert!(missing("rows 20 to 24 of", "step-0"), "{:?}", gap.notes);
    assert!(missing("rows 0 to 9 of", "step-1"), "{:?}", gap.notes);

    let twice = finished(&case, merged([whole(), sent(&case, 3..4)]));
    assert!(twice.interrupted);
    assert_eq!(twice.verdict, Verdict::Inconclusive);
}

#[test]
fn the_loss_is_taken_over_all_files() {
    let mut model = Model::random(5, Dtype::F64, (N, 5, 4));
    // Every sample of the first file is ignored.
    let mut classes = model.target.integers(0..N);
    classes[..20].fill(-100);
    model.target = Tensor::from_classes(&classes);
    let folder = tempfile::tempdir().unwrap();
    let (files, layer) = write(folder.path(), &model, &[20, 10, 30], 1.0);
    let case = case(&files, &layer, 16);
    let summary = case.index().summary.unwrap();
    assert_eq!(
        (summary.rows, summary.counted, summary.normalizer),
        (60, 40, 40.0)
    );
    let report = finished(&case, sent(&case, 0..case.units()));
    // The model divides by all samples.
    assert_eq!(report.checks[0].findings[0].code, Code::DividedByAllRows);
}

#[test]
fn an_index_finds_its_files_beside_it() {
    let model = Model::random(6, Dtype::F32, (N, 5, 4));
    let folder = tempfile::tempdir().unwrap();
    let (mut files, layer) = write(folder.path(), &model, &[30, 30], 1.0);
    files.push(layer.clone());
    // The layer is the only file without a target.
    let mut index = Index::of_files(files, None).unwrap();
    index.summarize(&Request::default()).unwrap();
    assert_eq!(
        (index.files.len(), index.shared.as_ref()),
        (2, Some(&layer))
    );
    let path = folder.path().join("gradprobe.index.json");
    index.write(&path).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"step-1.safetensors\""), "{text}");
    assert_eq!(Index::read(&path).unwrap(), index);
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("index.json");
    index.write(&copy).unwrap();
    assert_eq!(Index::read(&copy).unwrap(), index);
}

#[test]
fn a_checkpoint_in_several_files_is_one_source() {
    let model = Model::random(7, Dtype::F32, (N, 5, 4));
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &model, &[N], 1.0);
    let names = ["input", "target", "grad", "grad_logits"].map(|name| (name, "step-0.safetensors"));
    let shared = ["weight", "grad_weight"].map(|name| (name, "layer.safetensors"));
    let map: BTreeMap<_, _> = names.into_iter().chain(shared).collect();
    let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    let path = folder.path().join("model.safetensors.index.json");
    std::fs::write(&path, index.to_string()).unwrap();
    let inputs = io::load(&io::Source::File(path.clone()), &Request::default()).unwrap();
    assert_eq!((inputs.problem.n(), inputs.subjects.len()), (N, 3));
    std::fs::write(&path, "{}").unwrap();
    let error = io::load(&io::Source::File(path), &Request::default()).unwrap_err();
    assert!(error.to_string().contains("weight_map"), "{error}");
}
