// Shared by all kernels: the size of a workgroup and an invocation's place in the dispatch.

// Threads of a workgroup.
const GROUP = 64u;

// The label of a sample whose target has no dominant class.
const NO_LABEL = 0xffffffffu;

// A dispatch is two-dimensional, because one dimension holds at most 65,535 workgroups. It may
// have a few surplus workgroups.
struct Place {
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
}

fn group_index(place: Place) -> u32 {
    return place.group.y * place.groups.x + place.group.x;
}

// Returns the entry of an invocation, in kernels with one invocation per entry. It may lie past
// the last entry.
fn entry_index(place: Place) -> u32 {
    return group_index(place) * GROUP + place.lane;
}
