//! Who is linked to whom: a ring of each syncgroup's members, and one random chord for each of them.

use driftless::{Event, LinkId};

use super::Scale;

/// Credit that no link uses up.
const CREDIT: u64 = 1 << 50;

/// A link of the topology.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) ends: [u32; 2],
    /// How often it was made.
    pub(super) life: u32,
    pub(super) up: bool,
}

impl Scale {
    pub(super) fn group_of(&self, at: u32) -> usize {
        (at / self.scenario.group) as usize
    }

    pub(super) fn members(&self, group: usize) -> std::ops::Range<u32> {
        let first = group as u32 * self.scenario.group;
        first..(first + self.scenario.group).min(self.scenario.replicas)
    }

    pub(super) fn lay_edges(&mut self) {
        let add = |edges: &mut Vec<Edge>, from: usize, a: u32, b: u32| {
            let ends = [a.min(b), a.max(b)];
            if a != b && !edges[from..].iter().any(|edge| edge.ends == ends) {
                edges.push(Edge { ends, life: 0, up: false });
            }
        };
        for group in 0..self.groups.len() {
            let from = self.edges.len();
            self.first_edge.push(from as u32);
            let mut members: Vec<u32> = self.members(group).collect();
            for at in 0..members.len() {
                add(&mut self.edges, from, members[at], members[(at + 1) % members.len()]);
            }
            self.dice.shuffle(&mut members);
            members.as_chunks::<2>().0.iter().for_each(|[a, b]| add(&mut self.edges, from, *a, *b));
        }
    }

    /// The edges of a replica's syncgroup.
    pub(super) fn edges_near(&self, at: u32) -> std::ops::Range<u32> {
        let group = self.group_of(at);
        let end = self.first_edge.get(group + 1).copied().unwrap_or(self.edges.len() as u32);
        self.first_edge[group]..end
    }

    pub(super) fn edges_of(&self, at: u32) -> Vec<u32> {
        self.edges_near(at).filter(|edge| self.edges[*edge as usize].ends.contains(&at)).collect()
    }

    pub(super) fn link_all(&mut self) -> Result<(), String> {
        (0..self.edges.len() as u32).try_for_each(|edge| self.link(edge))
    }

    /// Links the ends of an edge, if both are there.
    pub(super) fn link(&mut self, at: u32) -> Result<(), String> {
        let edge = self.edges[at as usize];
        let key = |end: u32| self.nodes[end as usize].core.as_ref().map(|core| core.keys().clone());
        let (Some(a), Some(b)) = (key(edge.ends[0]), key(edge.ends[1])) else { return Ok(()) };
        if edge.up {
            return Ok(());
        }
        let edge = Edge { life: edge.life + 1, up: true, ..edge };
        self.edges[at as usize] = edge;
        let link = name(at, edge.life);
        for (end, peer, initiated) in [(edge.ends[0], b, true), (edge.ends[1], a, false)] {
            self.event(end, Event::LinkUp { link, peer, initiated, address: None })?;
            self.event(end, Event::Writable { link, credit: CREDIT })?;
        }
        Ok(())
    }

    /// Takes a link away from both ends, with all that is on its way.
    pub(super) fn unlink(&mut self, at: u32) -> Result<(), String> {
        let edge = self.edges[at as usize];
        if edge.up {
            self.edges[at as usize].up = false;
            let link = name(at, edge.life);
            for end in edge.ends {
                self.event(end, Event::LinkDown { link })?;
            }
        }
        Ok(())
    }
}

/// Both ends give a link the same name: the edge, and how often it was made.
pub(super) fn name(edge: u32, life: u32) -> LinkId {
    LinkId(u64::from(edge) << 32 | u64::from(life))
}

pub(super) fn edge_of(link: LinkId) -> u32 {
    (link.0 >> 32) as u32
}

pub(super) fn life_of(link: LinkId) -> u32 {
    link.0 as u32
}
