//! Renders the timings of `gradprobe bench` as a table or as JSON, schema `gradprobe/bench/1`.

use serde_json::json;

use super::words::group;
use crate::bench::{Bench, Run};

/// Titles and widths of the table's columns.
const COLUMNS: [(&str, usize); 8] = [
    ("entries/s", 9),
    ("GB/s", 7),
    ("memory", 8),
    ("total", 11),
    ("kernels", 11),
    ("transfer", 10),
    ("host", 10),
    ("error", 8),
];

/// Renders the table, with a line break at the end.
pub(crate) fn render(bench: &Bench) -> String {
    let sizes = bench.sizes;
    let mut text = format!(
        "Check of a correct f32 gradient, {} x {} x {} (samples x features x classes)\n\
         {} entries, {:.3} GB of input and gradient; memory bandwidth {:.1} GB/s\n\n",
        sizes.n,
        sizes.d,
        sizes.k,
        group(sizes.entries() as u64),
        sizes.bytes() as f64 * 1e-9,
        bench.bandwidth * 1e-9
    );
    let titles = COLUMNS.map(|(title, width)| format!("{title:>width$}"));
    text += &format!("{}\n", titles.concat());
    for run in &bench.runs {
        let device = &run.device;
        text += &format!("{} ({}; {})\n", device.name, device.kind, device.driver);
        let cells = COLUMNS.iter().zip(cells(bench, run));
        let cells: String = cells
            .map(|((_, width), cell)| format!("{cell:>width$}"))
            .collect();
        text += &format!("{cells}  {}\n", run.verdict);
    }
    text + "\n\
        memory: share of the host's memory bandwidth.\n\
        total: from tensors in memory to the finished report. Kernels run while the host\n\
        compares, so the parts may add up to more.\n\
        error: |numeric - exact|/|exact|, with the exact gradient by the chain rule\n\
        in f64.\n"
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

/// Renders indented JSON, with a line break at the end.
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
