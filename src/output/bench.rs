//! Timings of one check on several devices, as a table or as JSON, schema `gradprobe/bench/1`.

use serde_json::json;

use crate::bench::{Bench, Run};

/// The columns of the table, and how wide each is.
const COLUMNS: [(&str, usize); 8] = [
    ("entries/s", 11),
    ("GB/s", 8),
    ("of memory", 11),
    ("total", 11),
    ("kernels", 11),
    ("transfer", 11),
    ("host", 11),
    ("error", 10),
];

/// The table, with a line break at its end.
pub(crate) fn render(bench: &Bench) -> String {
    let sizes = bench.sizes;
    let mut text = format!(
        "A right f32 gradient of {} x {} x {}: {} entries, {:.3} GB of input and gradient; memory is read at {:.1} GB/s\n\n",
        sizes.n,
        sizes.d,
        sizes.k,
        sizes.entries(),
        sizes.bytes() as f64 * 1e-9,
        bench.bandwidth * 1e-9
    );
    let heads = COLUMNS.map(|(head, width)| format!("{head:>width$}"));
    text += &format!("{}\n", heads.concat());
    for run in &bench.runs {
        let device = &run.device;
        text += &format!("{} ({}; {})\n", device.name, device.kind, device.driver);
        let cells = COLUMNS.iter().zip(cells(bench, run));
        let cells: String = cells
            .map(|((_, width), cell)| format!("{cell:>width$}"))
            .collect();
        text += &format!("{cells}  {}\n", run.verdict);
    }
    text + "\ntotal is a whole check, tensors in memory to finished report; kernels run while the host compares, so the parts may add up to\nmore; error is |numeric - exact|/|exact|, the exact gradient by the chain rule in f64\n"
}

fn cells(bench: &Bench, run: &Run) -> [String; 8] {
    let milliseconds = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
    let or_none = |seconds: Option<f64>| seconds.map_or("-".to_owned(), milliseconds);
    let bytes = bench.sizes.bytes() as f64 / run.seconds;
    [
        format!("{:.2e}", bench.sizes.entries() as f64 / run.seconds),
        format!("{:.2}", bytes * 1e-9),
        format!("{:.1} %", 100.0 * bytes / bench.bandwidth),
        milliseconds(run.seconds),
        or_none(run.kernels),
        or_none(run.transfer),
        milliseconds(run.host),
        format!("{:.1e}", run.error),
    ]
}

/// The same as JSON, indented, with a line break at its end.
pub(crate) fn json(bench: &Bench) -> String {
    let sizes = bench.sizes;
    let runs = bench.runs.iter().map(|run| {
        let bytes = sizes.bytes() as f64 / run.seconds;
        json!({
            "device": run.device,
            "verdict": run.verdict,
            "entries_per_second": sizes.entries() as f64 / run.seconds,
            "bytes_per_second": bytes,
            "share_of_bandwidth": bytes / bench.bandwidth,
            "seconds": {
                "total": run.seconds,
                "kernels": run.kernels,
                "transfer": run.transfer,
                "host": run.host,
            },
            "error": run.error,
        })
    });
    let document = json!({
        "schema": "gradprobe/bench/1",
        "version": env!("CARGO_PKG_VERSION"),
        "problem": { "n": sizes.n, "d": sizes.d, "k": sizes.k, "dtype": "f32" },
        "bytes": sizes.bytes(),
        "memory_bytes_per_second": bench.bandwidth,
        "runs": runs.collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}
