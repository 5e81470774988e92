//! Data flows one way: a module imports only from those to its left.

use std::{fs, path::Path};

/// The modules of src/, left to right.
const ORDER: [&str; 24] = [
    "error", "tensor", "loss", "scheme", "problem", "plan", "budget", "rounding", "engine", "cpu",
    "report", "gpu", "device", "diagnose", "check", "sweep", "bench", "io", "settings", "output",
    "demo", "serve", "cli", "main",
];

fn sources(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The modules that a file names after `crate::`, one by one or in braces.
fn imports(code: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (place, _) in code.match_indices("crate::") {
        let rest = &code[place + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (i, character) in list.char_indices() {
                    match character {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && c.is_alphanumeric() => {
                            found.push(word(&list[i..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap()
}

fn position(module: &str) -> Option<usize> {
    ORDER.iter().position(|&name| name == module)
}

#[test]
fn modules_import_only_from_their_left() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    let mut checked = 0;
    for path in files {
        let inside = path.strip_prefix("src").unwrap();
        let module = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let here =
            position(module).unwrap_or_else(|| panic!("{} is not in the table", path.display()));
        let text = fs::read_to_string(&path).unwrap();
        // Tests and documentation may look anywhere.
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code: Vec<&str> = code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        for import in imports(&code.join("\n")) {
            let there = position(import).unwrap_or_else(|| {
                panic!("{}: crate::{import} is not in the table", path.display())
            });
            assert!(
                there <= here,
                "{} imports {import}, which stands to its right",
                path.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} imports were seen");
}

#[test]
fn only_gpu_names_wgpu() {
    let mut files = Vec::new();
    sources(Path::new("src"), &mut files);
    for path in files
        .iter()
        .filter(|path| !path.starts_with("src/gpu") && !path.ends_with("src/gpu.rs"))
    {
        let text = fs::read_to_string(path).unwrap();
        assert!(!text.contains("wgpu::"), "{} names wgpu", path.display());
    }
}

#[test]
fn imports_are_read_from_braces_too() {
    let text = "use crate::{\n    error::{Error, Result},\n    tensor::Tensor,\n};\nlet x = crate::loss::Reduction::Mean;";
    assert_eq!(imports(text), ["error", "tensor", "loss"]);
}
