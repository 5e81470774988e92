//! Every shader parses and validates, and agrees with the host on bindings and layout. Needs no GPU.

use std::mem::offset_of;

use gradprobe::gpu::{Binding, Kernel, Params};
use naga::{AddressSpace, Module, StorageAccess, TypeInner, valid};

fn parse(kernel: Kernel) -> Module {
    naga::front::wgsl::parse_str(kernel.source()).unwrap_or_else(|error| {
        panic!(
            "{}: {}",
            kernel.name(),
            error.emit_to_string(kernel.source())
        )
    })
}

#[test]
fn every_shader_is_valid_without_extensions() {
    for kernel in Kernel::ALL {
        let mut validator =
            valid::Validator::new(valid::ValidationFlags::all(), valid::Capabilities::empty());
        validator
            .validate(&parse(kernel))
            .unwrap_or_else(|error| panic!("{}: {error:?}", kernel.name()));
    }
}

#[test]
fn bindings_are_those_of_the_kernel_table() {
    for kernel in Kernel::ALL {
        let module = parse(kernel);
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

#[test]
fn params_lie_in_the_shader_as_on_the_host() {
    let host = [
        ("rows", offset_of!(Params, rows)),
        ("columns", offset_of!(Params, columns)),
        ("classes", offset_of!(Params, classes)),
        ("first", offset_of!(Params, first)),
        ("tile_begin", offset_of!(Params, tile_begin)),
        ("tile_end", offset_of!(Params, tile_end)),
        ("zero", offset_of!(Params, zero)),
        ("step", offset_of!(Params, step)),
        ("normalizer", offset_of!(Params, normalizer)),
        ("has_linear", offset_of!(Params, has_linear)),
        ("law_sums", offset_of!(Params, law_sums)),
        ("law_accumulation", offset_of!(Params, law_accumulation)),
        ("magnitudes", offset_of!(Params, magnitudes)),
        ("class_begin", offset_of!(Params, class_begin)),
        ("class_end", offset_of!(Params, class_end)),
    ];
    for kernel in Kernel::ALL {
        let module = parse(kernel);
        let (_, params) = module
            .types
            .iter()
            .find(|(_, ty)| ty.name.as_deref() == Some("Params"))
            .unwrap();
        let TypeInner::Struct { members, span } = &params.inner else {
            panic!("Params is no struct")
        };
        let shader: Vec<_> = members
            .iter()
            .map(|member| (member.name.as_deref().unwrap(), member.offset as usize))
            .collect();
        assert_eq!(shader, host, "{}", kernel.name());
        assert_eq!(*span as usize, size_of::<Params>());
    }
}

#[test]
fn every_file_in_shaders_belongs_to_a_kernel_or_is_shared() {
    let shared = ["common", "product", "rows"];
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
