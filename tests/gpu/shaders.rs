//! Every shader parses and validates, and agrees with the host on bindings and layout. Needs no GPU.

use gradprobe::{
    gpu::{Binding, Element, Kernel, Params},
    scheme::Precision,
};
use naga::{
    AddressSpace, Module, StorageAccess, TypeInner,
    valid::{self, Capabilities},
};

/// In f32, which every adapter has, and in f64, which takes two extensions.
const ARITHMETIC: [(Precision, Capabilities); 2] = [
    (Precision::F32, Capabilities::empty()),
    (
        Precision::F64,
        Capabilities::FLOAT64.union(Capabilities::SHADER_INT64),
    ),
];

fn parse(kernel: Kernel, precision: Precision) -> Module {
    let source = kernel.source(precision);
    naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|error| panic!("{}: {}", kernel.name(), error.emit_to_string(source)))
}

#[test]
fn every_shader_is_valid_without_more_extensions_than_its_arithmetic_takes() {
    for kernel in Kernel::ALL {
        for (precision, capabilities) in ARITHMETIC {
            let mut validator = valid::Validator::new(valid::ValidationFlags::all(), capabilities);
            validator
                .validate(&parse(kernel, precision))
                .unwrap_or_else(|error| panic!("{} {precision:?}: {error:?}", kernel.name()));
        }
    }
}

#[test]
fn bindings_are_those_of_the_kernel_table() {
    for kernel in Kernel::ALL {
        let module = parse(kernel, Precision::F32);
        let mut found: Vec<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let place = variable.binding?;
                let binding = match variable.space {
                    AddressSpace::Uniform => Binding::Params,
                    AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
                        Binding::Write
                    }
                    AddressSpace::Storage { .. } => Binding::Read,
                    other => panic!("{}: a binding in {other:?}", kernel.name()),
                };
                assert_eq!(place.group, 0, "{}", kernel.name());
                Some((place.binding, binding))
            })
            .collect();
        found.sort_by_key(|&(index, _)| index);
        let expected: Vec<_> = (0..).zip(kernel.bindings().iter().copied()).collect();
        assert_eq!(found, expected, "{}", kernel.name());
    }
}

/// Each field is read where the shader has it.
fn params_lie_as_in_the_shader<T: Element>() {
    let params = Params {
        steps: [1.0, 2.0, 3.0, 4.0],
        weights: [5.0, 6.0, 7.0, 8.0],
        normalizer: 9.0,
        law_sums: 10.0,
        law_accumulation: 11.0,
        step_begin: 12,
        step_end: 13,
        rows: 14,
        columns: 15,
        classes: 16,
        first: 17,
        tile_begin: 18,
        tile_end: 19,
        class_begin: 20,
        class_end: 21,
        has_linear: 22,
        magnitudes: 23,
    };
    let numbers = [
        ("steps", 1.0),
        ("weights", 5.0),
        ("normalizer", 9.0),
        ("law_sums", 10.0),
        ("law_accumulation", 11.0),
    ];
    let counts = [
        ("step_begin", 12),
        ("step_end", 13),
        ("rows", 14),
        ("columns", 15),
        ("classes", 16),
        ("first", 17),
        ("tile_begin", 18),
        ("tile_end", 19),
        ("class_begin", 20),
        ("class_end", 21),
        ("has_linear", 22),
        ("magnitudes", 23),
        ("zero", 0),
    ];
    let bytes = params.bytes::<T>();
    for kernel in Kernel::ALL {
        let module = parse(kernel, T::PRECISION);
        let mut types = module.types.iter();
        let (_, params) = types
            .find(|(_, ty)| ty.name.as_deref() == Some("Params"))
            .unwrap();
        let TypeInner::Struct { members, span } = &params.inner else {
            panic!("Params is no struct")
        };
        assert_eq!(*span as usize, bytes.len());
        let names: Vec<&str> = members.iter().map(|m| m.name.as_deref().unwrap()).collect();
        let expected = numbers.iter().map(|(name, _)| *name);
        let expected = expected.chain(counts.iter().map(|(name, _)| *name));
        assert_eq!(names, expected.collect::<Vec<_>>());
        for (member, &(name, value)) in members.iter().zip(&numbers) {
            let width = size_of::<T>()
                * if name.ends_with("s") && value < 9.0 {
                    4
                } else {
                    1
                };
            let found: &[T] = bytemuck::cast_slice(&bytes[member.offset as usize..][..width]);
            let expected = (0..found.len()).map(|i| T::of(value + i as f64));
            assert!(found.iter().copied().eq(expected), "{name}");
        }
        for (member, &(name, value)) in members[numbers.len()..].iter().zip(&counts) {
            let found: &[u32] = bytemuck::cast_slice(&bytes[member.offset as usize..][..4]);
            assert_eq!(found, [value], "{name}");
        }
    }
}

#[test]
fn params_lie_in_the_shader_as_on_the_host() {
    params_lie_as_in_the_shader::<f32>();
    params_lie_as_in_the_shader::<f64>();
}

#[test]
fn every_file_in_shaders_belongs_to_a_kernel_or_is_shared() {
    let shared = [
        "f32",
        "f64",
        "common",
        "product",
        "rows",
        "allowance",
        "sums",
    ];
    for entry in std::fs::read_dir("shaders").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let known =
            Kernel::ALL.iter().any(|kernel| kernel.name() == name) || shared.contains(&name);
        assert!(known, "{} is used by no kernel", path.display());
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(
            lines <= 160,
            "{} has {lines} lines: two kernels, perhaps",
            path.display()
        );
    }
}
