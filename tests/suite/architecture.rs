//! The direction of imports. A module of src/ imports only from modules to its left in [`ORDER`],
//! and the files of one folder do not import each other in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The modules of src/, left to right.
const ORDER: [&str; 28] = [
    "error", "number", "tensor", "loss", "scheme", "problem", "plan", "budget", "rounding",
    "engine", "cpu", "network", "report", "gpu", "device", "diagnose", "check", "sweep", "bench",
    "io", "case", "parts", "settings", "output", "demo", "serve", "cli", "main",
];

/// A file of src/, as a module.
struct Module {
    file: PathBuf,
    /// Its path from the crate's root: `["cli", "check", "arguments"]`.
    path: Vec<String>,
    /// Its text without comments and tests, which may import from anywhere.
    code: String,
}

fn modules() -> Vec<Module> {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    files.retain(|file| !file.ends_with("lib.rs"));
    let modules = files.into_iter().map(|file| {
        let inside = file.strip_prefix("src").unwrap().with_extension("");
        let path = inside.iter().map(|it| it.to_str().unwrap().to_owned());
        let text = fs::read_to_string(&file).unwrap();
        Module {
            path: path.collect(),
            code: code(&text),
            file,
        }
    });
    modules.collect()
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn code(text: &str) -> String {
    let code = text.split("\nmod tests {").next().unwrap();
    let lines = code.lines();
    let lines: Vec<&str> = lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    lines.join("\n")
}

/// Returns the paths that a text begins with `root`, `crate` or `super`, one for each name in
/// braces: `crate::{a::B, c}` gives `["a", "B"]` and `["c"]`.
fn paths(code: &str, root: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let root = format!("{root}::");
    for (start, _) in code.match_indices(&root) {
        // `my_crate::` and the second half of `super::super::` are no roots.
        let before = code[..start].chars().next_back();
        if before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':') {
            tree(&code[start + root.len()..], &[], &mut found);
        }
    }
    found
}

/// Reads a tree of paths, such as `a::{B, c::D}`, into `found`, each behind `prefix`. Returns the
/// text that follows it.
fn tree<'a>(mut text: &'a str, prefix: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = prefix.to_vec();
    loop {
        if let Some(mut list) = text.strip_prefix('{') {
            while !list.trim_start().is_empty() && !list.trim_start().starts_with('}') {
                let rest = tree(list.trim_start(), &path, found).trim_start();
                // Anything else, such as ` as Name`, is skipped.
                let end = rest.find([',', '}']).unwrap_or(rest.len());
                list = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
            }
            return list.trim_start().strip_prefix('}').unwrap_or(list);
        }
        let end = text
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        if end > 0 {
            path.push(text[..end].to_owned());
        }
        match text[end..].strip_prefix("::") {
            Some(rest) if end > 0 => text = rest,
            _ => {
                found.push(path);
                return &text[end..];
            }
        }
    }
}

/// Returns what a module imports, as paths from the crate's root.
fn imports(module: &Module) -> Vec<Vec<String>> {
    let mut found = paths(&module.code, "crate");
    for mut path in paths(&module.code, "super") {
        let mut parent = module.path.clone();
        parent.pop();
        while path.first().is_some_and(|name| name == "super") {
            path.remove(0);
            parent.pop();
        }
        found.push([parent, path].concat());
    }
    found
}

/// Returns the names that a module takes from its own children, each with the child: in cli.rs,
/// `use stdout::print` gives `print` and `stdout`.
fn from_children(module: &Module, children: &BTreeSet<&str>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (start, _) in module.code.match_indices("use ") {
        let rest = module.code[start + "use ".len()..].trim_start_matches("self::");
        let mut trees = Vec::new();
        tree(rest, &[], &mut trees);
        for path in trees {
            if let [child, .., name] = path.as_slice()
                && children.contains(child.as_str())
            {
                found.insert(name.clone(), child.clone());
            }
        }
    }
    found
}

fn position(module: &str) -> Option<usize> {
    ORDER.iter().position(|&name| name == module)
}

#[test]
fn modules_import_only_from_their_left() {
    for name in ORDER {
        let file = format!("src/{name}.rs");
        assert!(Path::new(&file).is_file(), "{file} is in the table only");
    }
    let mut checked = 0;
    for module in modules() {
        let file = module.file.display();
        let here = position(&module.path[0]);
        let here = here.unwrap_or_else(|| panic!("{file} is not in the table"));
        for import in imports(&module) {
            let there = position(&import[0]);
            let there =
                there.unwrap_or_else(|| panic!("{file}: crate::{} is not in the table", import[0]));
            assert!(
                there <= here,
                "{file} imports {}, which stands to its right",
                import[0]
            );
            checked += 1;
        }
    }
    assert!(checked > 500, "only {checked} imports were seen");
}

#[test]
fn files_of_a_folder_import_each_other_in_no_circle() {
    let modules = modules();
    // The children of each module that has any.
    let mut children: BTreeMap<&[String], BTreeSet<&str>> = BTreeMap::new();
    for module in &modules {
        for depth in 1..module.path.len() {
            let (parent, child) = (&module.path[..depth], &module.path[depth]);
            children.entry(parent).or_default().insert(child);
        }
    }
    // For each parent, the imports among its children.
    let mut edges: BTreeMap<&[String], BTreeSet<(String, String)>> = BTreeMap::new();
    for module in &modules {
        for import in imports(module) {
            let common = module.path.iter().zip(&import);
            let common = common.take_while(|(here, there)| here == there).count();
            let (parent, here) = (&module.path[..common], module.path.get(common));
            let (Some(here), Some(there)) = (here, import.get(common)) else {
                continue;
            };
            let Some(siblings) = children.get(parent) else {
                continue;
            };
            let of_parent = modules.iter().find(|it| it.path == parent);
            let there = if siblings.contains(there.as_str()) {
                Some(there.clone())
            } else {
                of_parent.and_then(|it| from_children(it, siblings).remove(there))
            };
            if let Some(there) = there.filter(|there| there != here) {
                let edge = (here.clone(), there);
                edges.entry(parent).or_default().insert(edge);
            }
        }
    }
    let count: usize = edges.values().map(BTreeSet::len).sum();
    assert!(count > 100, "only {count} imports were seen");
    let mut circles = Vec::new();
    for (parent, edges) in &edges {
        if let Some(circle) = circle(edges) {
            circles.push(format!("{}: {}", parent.join("::"), circle.join(" -> ")));
        }
    }
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Returns the modules that import each other in a circle, if any do.
fn circle(edges: &BTreeSet<(String, String)>) -> Option<Vec<&str>> {
    // Modules without imports from the rest cannot be part of a circle. What remains has one.
    let mut left: BTreeSet<&str> = edges.iter().map(|(from, _)| from.as_str()).collect();
    let next = |module: &str, left: &BTreeSet<&str>| -> Option<&str> {
        let mut edges = edges.iter();
        let edge = edges.find(|(from, to)| from == module && left.contains(to.as_str()));
        edge.map(|(_, to)| to.as_str())
    };
    while let Some(leaf) = left.iter().find(|module| next(module, &left).is_none()) {
        let leaf = *leaf;
        left.remove(leaf);
    }
    let mut circle = vec![*left.first()?];
    loop {
        let there = next(circle.last()?, &left)?;
        let met = circle.iter().position(|module| *module == there);
        circle.push(there);
        if let Some(met) = met {
            return Some(circle.split_off(met));
        }
    }
}

#[test]
fn only_gpu_names_wgpu() {
    for module in modules().iter().filter(|module| module.path[0] != "gpu") {
        let text = fs::read_to_string(&module.file).unwrap();
        let file = module.file.display();
        assert!(!text.contains("wgpu::"), "{file} names wgpu");
    }
}

#[test]
fn imports_are_read_from_braces_too() {
    let module = Module {
        file: PathBuf::new(),
        path: ["cli", "check", "single"].map(str::to_owned).into(),
        code: "use crate::{\n    error::{self, Error as E, Result},\n    tensor::Tensor,\n};\n\
               use super::{command::Command, name};\n\
               let x = crate::loss::Reduction::Mean + super::super::stdout::print;"
            .to_owned(),
    };
    let found: Vec<String> = imports(&module).iter().map(|it| it.join("::")).collect();
    assert_eq!(
        found,
        [
            "error::self",
            "error::Error",
            "error::Result",
            "tensor::Tensor",
            "loss::Reduction::Mean",
            "cli::check::command::Command",
            "cli::check::name",
            "cli::stdout::print",
        ]
    );
}

#[test]
fn circles_are_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
            .collect()
    };
    assert_eq!(circle(&edges(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    let closed = edges(&[("a", "b"), ("b", "c"), ("c", "b")]);
    assert_eq!(circle(&closed), Some(vec!["b", "c", "b"]));
}
