//! Every shader parses and validates, and agrees with the kernel table on bindings, constants and
//! the layout of its parameters. Needs no GPU.

use std::collections::BTreeSet;

use gradprobe::{
    gpu::{
        Element,
        kernel::{
            Binding, KERNELS, Kernel,
            params::{Uniform, Value},
            sample::{Sample, Sampler},
        },
    },
    report::DeviceKind,
    scheme::Precision,
};
use naga::{
    AddressSpace, Module, Scalar, ScalarKind, StorageAccess, TypeInner, VectorSize,
    valid::{self, Capabilities},
};

/// The capabilities that each arithmetic needs: none for f32, two extensions for f64.
const ARITHMETIC: [(Precision, Capabilities); 2] = [
    (Precision::F32, Capabilities::empty()),
    (
        Precision::F64,
        Capabilities::FLOAT64.union(Capabilities::SHADER_INT64),
    ),
];

fn parse(kernel: &Kernel, precision: Precision) -> Module {
    let source = kernel.source(precision);
    naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{}: {}", kernel.name, error.emit_to_string(&source)))
}

fn samples(kernel: &Kernel, precision: Precision) -> Vec<Sample> {
    (kernel.samples)(&mut Sampler::new(0, precision, [3, 5, 70]))
}

#[test]
fn every_shader_is_valid_with_the_capabilities_of_its_arithmetic() {
    for kernel in KERNELS {
        for (precision, capabilities) in ARITHMETIC {
            let mut validator = valid::Validator::new(valid::ValidationFlags::all(), capabilities);
            validator
                .validate(&parse(kernel, precision))
                .unwrap_or_else(|error| panic!("{} {precision:?}: {error:?}", kernel.name));
        }
    }
}

#[test]
fn bindings_are_those_of_the_kernel_table() {
    for kernel in KERNELS {
        let module = parse(kernel, Precision::F32);
        let mut found: Vec<(u32, String, Option<bool>)> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let place = variable.binding?;
                let is_written = match variable.space {
                    AddressSpace::Uniform => None,
                    AddressSpace::Storage { access } => Some(access.contains(StorageAccess::STORE)),
                    other => panic!("{}: a binding in {other:?}", kernel.name),
                };
                assert_eq!(place.group, 0, "{}", kernel.name);
                Some((place.binding, variable.name.clone()?, is_written))
            })
            .collect();
        found.sort_by_key(|&(index, ..)| index);
        let bindings = kernel.bindings.iter();
        let bindings = bindings.map(|Binding { name, is_written }| (*name, Some(*is_written)));
        let bindings = std::iter::once(("params", None)).chain(bindings);
        let expected: Vec<_> = (0..)
            .zip(bindings)
            .map(|(index, (name, is_written))| (index, name.to_owned(), is_written))
            .collect();
        assert_eq!(found, expected, "{}", kernel.name);
    }
}

#[test]
fn samples_have_an_operand_for_each_binding() {
    for kernel in KERNELS {
        for sample in samples(kernel, Precision::F32) {
            assert_eq!(sample.launch().kernel().name, kernel.name);
            let operands = sample.expected(Precision::F32);
            assert_eq!(operands.len(), kernel.bindings.len(), "{}", kernel.name);
        }
    }
}

#[test]
fn constants_are_the_overrides_of_the_shader() {
    for kernel in KERNELS {
        let module = parse(kernel, Precision::F32);
        let overrides = module.overrides.iter();
        let overrides: BTreeSet<&str> = overrides
            .map(|(_, it)| it.name.as_deref().unwrap())
            .collect();
        for kind in [DeviceKind::Software, DeviceKind::Gpu] {
            for sample in samples(kernel, Precision::F32) {
                let constants = sample.launch().constants(kind);
                let names: BTreeSet<&str> = constants.iter().map(|constant| constant.0).collect();
                assert_eq!(names, overrides, "{}", kernel.name);
            }
        }
    }
}

/// Compares names, types and offsets with the shader's, and the bytes there with the values.
fn params_lie_as_in_the_shader<T: Element>() {
    for kernel in KERNELS {
        let module = parse(kernel, T::PRECISION);
        let mut types = module.types.iter();
        let (_, params) = types
            .find(|(_, ty)| ty.name.as_deref() == Some("Params"))
            .unwrap();
        let TypeInner::Struct { members, span } = &params.inner else {
            panic!("Params is not a struct")
        };
        for sample in samples(kernel, T::PRECISION) {
            let uniform = Uniform::new::<T>(sample.launch());
            assert_eq!(*span as usize, uniform.bytes.len(), "{}", kernel.name);
            let offsets: Vec<_> = members
                .iter()
                .map(|member| (member.name.as_deref().unwrap(), member.offset as usize))
                .collect();
            assert_eq!(uniform.offsets, offsets, "{}", kernel.name);
            let mut values = sample.launch().params();
            if kernel.has_zero() {
                values.push(("zero", Value::Count(0)));
            }
            assert_eq!(values.len(), members.len(), "{}", kernel.name);
            for (member, (name, value)) in members.iter().zip(values) {
                let bytes = &uniform.bytes[member.offset as usize..];
                let real = Scalar {
                    kind: ScalarKind::Float,
                    width: size_of::<T>() as u8,
                };
                let (ty, expected) = match value {
                    Value::Number(number) => (TypeInner::Scalar(real), of(&[T::of(number)])),
                    Value::Numbers(numbers) => (
                        TypeInner::Vector {
                            size: VectorSize::Quad,
                            scalar: real,
                        },
                        of(&numbers.map(T::of)),
                    ),
                    Value::Count(count) => (TypeInner::Scalar(Scalar::U32), of(&[count])),
                };
                let what = format!("{} {name}", kernel.name);
                assert_eq!(module.types[member.ty].inner, ty, "{what}");
                assert!(bytes.starts_with(&expected), "{what}");
            }
        }
    }
}

fn of<V: bytemuck::Pod>(values: &[V]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

#[test]
fn params_lie_in_the_shader_as_on_the_host() {
    params_lie_as_in_the_shader::<f32>();
    params_lie_as_in_the_shader::<f64>();
}

#[test]
fn every_file_in_shaders_belongs_to_a_kernel() {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for kernel in KERNELS {
        for (precision, _) in ARITHMETIC {
            used.insert(kernel.source(precision));
        }
    }
    for entry in std::fs::read_dir("shaders").unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let is_used = used.iter().any(|source| source.contains(&text));
        assert!(is_used, "{} is used by no kernel", path.display());
        let (lines, widest) = (
            text.lines().count(),
            text.lines().map(|line| line.chars().count()).max().unwrap(),
        );
        assert!(
            lines <= 120,
            "{} has {lines} lines: two kernels, perhaps",
            path.display()
        );
        assert!(widest <= 100, "{} has {widest} columns", path.display());
    }
}
