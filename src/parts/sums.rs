//! Sums over the samples of units, added up in an order that depends on neither the split of the
//! units nor the order in which they are done.

use serde::{Deserialize, Serialize};

use crate::check::Sums;

/// Sums over aligned runs of units, as nodes of a binary tree. Two nodes become their parent once
/// both are there, so the sums of all units are always added in the same pairs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct SumTree(Vec<Node>);

/// The sums over the units from `first` on, `count` of them: a power of two that divides `first`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    first: usize,
    count: usize,
    /// The sums of each parameter.
    sums: Vec<Sums>,
}

impl SumTree {
    /// Returns the sums of one unit.
    pub(super) fn leaf(unit: usize, sums: Vec<Sums>) -> Self {
        if sums.is_empty() {
            return Self::default();
        }
        Self(vec![Node {
            first: unit,
            count: 1,
            sums,
        }])
    }

    /// Adds the sums of other units. Returns `None` if they are not parts of the same gradients.
    pub(super) fn merge(mut self, other: Self) -> Option<Self> {
        for node in other.0 {
            self.add(node)?;
        }
        Some(self)
    }

    fn add(&mut self, mut node: Node) -> Option<()> {
        while let Some(at) = self.0.iter().position(|other| node.is_sibling(other)) {
            let other = self.0.remove(at);
            let (left, right) = if other.first < node.first {
                (other, node)
            } else {
                (node, other)
            };
            node = left.parent(&right)?;
        }
        let place = self.0.partition_point(|other| other.first < node.first);
        self.0.insert(place, node);
        Some(())
    }

    /// Returns the sums over all units. Returns `None` if they do not belong together.
    pub(super) fn total(self) -> Option<Vec<Sums>> {
        let mut nodes = self.0.into_iter();
        let first = nodes.next().map_or_else(Vec::new, |node| node.sums);
        nodes.try_fold(first, |total, node| add_all(total, &node.sums))
    }
}

impl Node {
    fn is_sibling(&self, other: &Self) -> bool {
        self.count == other.count && self.first ^ other.first == self.count
    }

    fn parent(self, right: &Self) -> Option<Self> {
        Some(Self {
            first: self.first,
            count: 2 * self.count,
            sums: add_all(self.sums, &right.sums)?,
        })
    }
}

fn add_all(sums: Vec<Sums>, next: &[Sums]) -> Option<Vec<Sums>> {
    if sums.len() != next.len() {
        return None;
    }
    let pairs = sums.into_iter().zip(next);
    pairs.map(|(sums, next)| sums.plus(next)).collect()
}
