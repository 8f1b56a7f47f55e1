//! A model of cache lines that cores take from each other, and of the ways to append on top of it.
//!
//! A line is held by one core to write, or by several to read. Whoever has to fetch or claim it waits
//! until the line is free and then pays for a transfer, near or far; who has it pays next to nothing.
//! That is all there is: no bandwidth, no caches that overflow, no flush. What the model says is how
//! often lines move and which of them is the bottleneck, and not how many nanoseconds an append takes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What accesses cost, in picoseconds, and which cores are near each other.
#[derive(Clone, Copy, Debug)]
pub struct Costs {
    /// A write to a line that the core owns. Reading a line that it has is free.
    pub local: u64,
    /// A line that comes from a core of the same cluster.
    pub near: u64,
    /// A line that comes from another cluster, or has to be claimed from one.
    pub far: u64,
    /// Cores of a cluster: those behind one cache, or one socket.
    pub cluster: usize,
    /// The copy, the checksum, and all else of an append that no other core takes part in.
    pub work: u64,
}

impl Costs {
    /// The cores of a core's cluster, a bit each.
    const fn cluster_of(&self, core: usize) -> u128 {
        let first = core - core % self.cluster;
        let ones = if self.cluster >= MAX_CORES { u128::MAX } else { (1 << self.cluster) - 1 };
        ones << first
    }
}

/// Ways to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    /// The log's own: an addition to the tail, and to one of [`STRIPES`] counts.
    Present,
    /// One count of commits for all.
    OneFill,
    /// The same, with a look at the tail before the addition.
    Look,
    /// One core of a cluster reserves for all of it, and tells them; commits striped.
    Combining,
    /// A ring for each cluster, with a count each, and one shared addition for each [`BATCH`] records
    /// of a ring to keep one order.
    Sharded,
}

impl Design {
    /// All, the present one first.
    pub const ALL: [Self; 5] =
        [Self::Present, Self::OneFill, Self::Look, Self::Combining, Self::Sharded];

    /// Its name in a table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::OneFill => "one fill",
            Self::Look => "look first",
            Self::Combining => "combining",
            Self::Sharded => "sharded",
        }
    }
}

/// Records of a shard that share one addition to the common counter.
pub const BATCH: u64 = 64;
/// Counts of committed bytes that a segment of the log has.
pub const STRIPES: usize = 4;
/// Records of a segment: 512 KiB of 112 bytes each.
const SEGMENT: u64 = 4681;
/// Segments of a ring.
const SLOTS: usize = 8;
/// The most cores, and clusters.
pub const MAX_CORES: usize = 128;
/// Appends before counting begins, so that each segment has been met, and of a core while it lasts.
const WARM: u64 = (SLOTS as u64 + 1) * SEGMENT;
const COUNTED: u64 = 1000;

/// What a simulation has found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Transfers of lines for an append.
    pub transfers: f64,
    /// Nanoseconds for an append of all cores together.
    pub ns: f64,
    /// The nanoseconds of an append for which the hottest line is on its way or being written to.
    pub hottest: f64,
}

#[derive(Clone, Copy)]
enum Step {
    /// Time that nobody else takes part in.
    Work,
    Read(usize),
    /// An atomic addition, or a store.
    Write(usize),
    /// The rest is done for another core of the cluster.
    As(usize),
}

#[derive(Clone, Copy, Default)]
struct Line {
    /// Who may write without asking.
    owner: Option<usize>,
    /// Who may read without asking; the owner, too.
    readers: u128,
    free_at: u64,
    busy: u64,
}

/// Lets `cores` cores append in one of the ways.
///
/// # Panics
///
/// If there are more cores than [`MAX_CORES`], or none.
#[must_use]
pub fn simulate(design: Design, cores: usize, costs: Costs) -> Found {
    assert!((1..=MAX_CORES).contains(&cores));
    let clusters = cores.div_ceil(costs.cluster);
    let mut front = Front::new(design, cores, costs.cluster);
    let mut lines = vec![Line::default(); front.lines()];
    // Combining: a cluster acts as one, since nobody of it can go on before the others.
    let (actors, per_turn) = match design {
        Design::Combining => (clusters, costs.cluster.min(cores) as u64),
        _ => (cores, 1),
    };
    let rings = front.records.len() as u64;
    let (warm, counted) = (WARM * rings, (COUNTED * cores as u64).max(2 * SEGMENT));
    let mut queue: BinaryHeap<_> = (0..actors).map(|actor| Reverse((0u64, actor))).collect();
    let mut plans: Vec<(Vec<Step>, usize, usize)> = vec![(Vec::new(), 0, 0); actors];
    let (mut appended, mut transfers) = (0, 0);
    let (mut began, mut busy, mut now) = (None, Vec::new(), 0);
    while appended < warm + counted {
        let Some(Reverse((at, actor))) = queue.pop() else { break };
        now = at;
        let (plan, next, core) = &mut plans[actor];
        if *next == plan.len() {
            if !plan.is_empty() {
                appended += per_turn;
            }
            if appended >= warm && began.is_none() {
                (began, transfers) = (Some((at, appended)), 0);
                busy = lines.iter().map(|line| line.busy).collect();
            }
            plan.clear();
            front.append(actor, plan);
            (*next, *core) = (0, actor);
        }
        let step = plan[*next];
        *next += 1;
        let done = match step {
            Step::Work => at + costs.work,
            Step::As(other) => {
                *core = other;
                at
            }
            Step::Read(line) => access(&mut lines[line], *core, false, at, &costs, &mut transfers),
            Step::Write(line) => access(&mut lines[line], *core, true, at, &costs, &mut transfers),
        };
        queue.push(Reverse((done, actor)));
    }
    let (start, before) = began.unwrap_or((0, 0));
    let appends = (appended - before).max(1) as f64;
    // A tail is one line after the other, as segments rotate: counted as one.
    let mut spent = vec![0; front.lines()];
    for (index, (line, before)) in lines.iter().zip(&busy).enumerate() {
        spent[front.role(index)] += line.busy - before;
    }
    Found {
        transfers: transfers as f64 / appends,
        ns: (now - start) as f64 / 1000.0 / appends,
        hottest: spent.into_iter().max().unwrap_or(0) as f64 / 1000.0 / appends,
    }
}

/// Has `core` read or write a line, and says when that is done.
fn access(
    line: &mut Line,
    core: usize,
    write: bool,
    at: u64,
    costs: &Costs,
    transfers: &mut u64,
) -> u64 {
    let me = 1u128 << core;
    let has = if write { line.owner == Some(core) } else { line.readers & me != 0 };
    let own = if write { costs.local } else { 0 };
    if has {
        line.busy += own;
        line.free_at = line.free_at.max(at + own);
        return at + own;
    }
    let others = line.readers & !me;
    let near = costs.cluster_of(core);
    // To read, the nearest copy will do; to write, all others have to be given up.
    let near = if write { others & !near == 0 } else { others & near != 0 };
    let cost = match (others, near) {
        // From memory: once for each line.
        (0, _) => costs.local,
        (_, true) => costs.near,
        (_, false) => costs.far,
    };
    *transfers += u64::from(others != 0);
    let done = at.max(line.free_at) + cost + own;
    line.busy += cost + own;
    line.free_at = done;
    if write {
        (line.owner, line.readers) = (Some(core), me);
    } else {
        (line.owner, line.readers) = (None, line.readers | me);
    }
    done
}

/// The lines of a way to append, and what each append does with them.
struct Front {
    design: Design,
    cores: usize,
    cluster: usize,
    clusters: usize,
    /// Records so far, of each ring.
    records: Vec<u64>,
}

impl Front {
    fn new(design: Design, cores: usize, cluster: usize) -> Self {
        let clusters = cores.div_ceil(cluster);
        let rings = if design == Design::Sharded { clusters } else { 1 };
        Self { design, cores, cluster, clusters, records: vec![0; rings] }
    }

    // Of a ring: `current`, then for each slot the tail, what was told at activation, the fill (or,
    // for `Combining`, whether it is sealed), and the stripes. Behind the rings: a line for each core
    // to be told by, and the counter.

    /// How many stripes there are; the fill is one.
    const fn stripes(&self) -> usize {
        match self.design {
            Design::Present => STRIPES,
            Design::Combining => self.clusters,
            Design::OneFill | Design::Look | Design::Sharded => 1,
        }
    }

    const fn per_slot(&self) -> usize {
        3 + self.stripes()
    }

    const fn per_ring(&self) -> usize {
        1 + SLOTS * self.per_slot()
    }

    const fn lines(&self) -> usize {
        self.counter() + 1
    }

    const fn counter(&self) -> usize {
        self.mailbox(self.cores)
    }

    const fn mailbox(&self, core: usize) -> usize {
        self.records.len() * self.per_ring() + core
    }

    const fn current(&self, ring: usize) -> usize {
        ring * self.per_ring()
    }

    const fn slot(&self, ring: usize, sequence: u64) -> usize {
        self.current(ring) + 1 + sequence as usize % SLOTS * self.per_slot()
    }

    /// The line of a ring's first segment that a line is the same to.
    const fn role(&self, line: usize) -> usize {
        let ring = line / self.per_ring();
        match line % self.per_ring() {
            _ if ring >= self.records.len() => line,
            0 => line,
            at => self.current(ring) + 1 + (at - 1) % self.per_slot(),
        }
    }

    /// What the next append, or for `Combining` the next of each core of a cluster, is made of.
    fn append(&mut self, actor: usize, steps: &mut Vec<Step>) {
        if self.design == Design::Combining {
            return self.combine(actor, steps);
        }
        let cluster = actor / self.cluster;
        let ring = if self.design == Design::Sharded { cluster } else { 0 };
        let number = self.records[ring];
        self.records[ring] += 1;
        if number % SEGMENT == SEGMENT - 1 {
            self.rotate(ring, number / SEGMENT, steps);
        }
        let slot = self.slot(ring, self.records[ring] / SEGMENT);
        steps.push(Step::Read(self.current(ring)));
        if self.design == Design::Look {
            steps.push(Step::Read(slot));
        }
        steps.extend([Step::Write(slot), Step::Read(slot + 1), Step::Work]);
        steps.push(Step::Write(slot + 3 + actor % self.stripes()));
        if self.design == Design::Sharded && number.is_multiple_of(BATCH) {
            steps.push(Step::Write(self.counter()));
        }
    }

    /// Seals a segment and activates the next.
    fn rotate(&self, ring: usize, sequence: u64, steps: &mut Vec<Step>) {
        let (this, next) = (self.slot(ring, sequence), self.slot(ring, sequence + 1));
        let stripes = self.stripes();
        // Where it ends, and what follows, is told on the line that writers read.
        steps.extend([Step::Write(this), Step::Write(this + 1), Step::Write(next + 1)]);
        steps.extend((0..stripes).map(|stripe| Step::Write(next + 3 + stripe)));
        steps.extend([Step::Write(next), Step::Write(self.current(ring))]);
        if stripes > 1 {
            steps.extend([Step::Write(next + 2), Step::Write(this + 2)]);
        }
        steps.extend((0..stripes).map(|stripe| Step::Write(this + 3 + stripe)));
    }

    /// The first core of a cluster collects what the others want, reserves, and tells them where.
    fn combine(&mut self, cluster: usize, steps: &mut Vec<Step>) {
        let first = cluster * self.cluster;
        let members = first..(first + self.cluster).min(self.cores);
        let before = self.records[0] / SEGMENT;
        self.records[0] += members.len() as u64;
        steps.push(Step::As(first));
        if self.records[0] / SEGMENT != before {
            self.rotate(0, before, steps);
        }
        let slot = self.slot(0, self.records[0] / SEGMENT);
        steps.extend(members.clone().map(|core| Step::Read(self.mailbox(core))));
        steps.extend([Step::Read(self.current(0)), Step::Write(slot), Step::Read(slot + 1)]);
        steps.extend(members.clone().map(|core| Step::Write(self.mailbox(core))));
        // All copy at once, and leave one after the other; the next wish is on the line already.
        steps.push(Step::Work);
        for core in members {
            let mailbox = self.mailbox(core);
            steps.extend([Step::As(core), Step::Read(mailbox), Step::Write(mailbox)]);
            steps.extend([Step::Write(slot + 3 + cluster), Step::Read(slot + 2)]);
        }
    }
}

/// The least number of `cores` from which on `design` is at least `times` as fast as the present one;
/// `None` if it never is.
#[must_use]
pub fn pays_from(design: Design, cores: &[usize], costs: Costs, times: f64) -> Option<usize> {
    let faster = |&cores: &usize| {
        let ns = |design| simulate(design, cores, costs).ns;
        ns(Design::Present) >= times * ns(design)
    };
    let slow = cores.iter().rposition(|cores| !faster(cores));
    cores.get(slow.map_or(0, |last| last + 1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs =
        Costs { local: 5_000, near: 50_000, far: 150_000, cluster: 8, work: 20_000 };

    #[test]
    fn one_core_keeps_every_line_and_pays_for_its_own_work_only() {
        for design in Design::ALL {
            let found = simulate(design, 1, COSTS);
            assert_eq!(found.transfers, 0.0, "{design:?}");
            // Two additions and the work; combining writes its own mailbox twice.
            let additions = if design == Design::Combining { 4.0 } else { 2.0 };
            assert!((found.ns - additions * 5.0 - 20.0).abs() < 0.5, "{design:?} {found:?}");
        }
    }

    #[test]
    fn two_cores_that_take_turns_move_each_line_they_write_once_an_append() {
        // The look fetches the line that the addition has to claim: three. Rotations add little.
        for (design, moves) in [(Design::Present, 1.0), (Design::OneFill, 2.0), (Design::Look, 3.0)]
        {
            let found = simulate(design, 2, COSTS);
            assert!((found.transfers - moves).abs() < 0.02, "{design:?} {found:?}");
        }
    }

    #[test]
    fn many_cores_are_bound_by_the_hottest_line() {
        let near = Costs { far: COSTS.near, ..COSTS };
        let found = simulate(Design::OneFill, 64, near);
        // Each addition to the tail is a transfer and the addition itself.
        assert!((found.hottest - 55.0).abs() < 1.0, "{found:?}");
        assert!((found.ns / found.hottest - 1.0).abs() < 0.02, "{found:?}");
    }

    #[test]
    fn what_comes_from_another_cluster_costs_more() {
        let apart = Costs { cluster: 1, ..COSTS };
        let found = simulate(Design::OneFill, 2, apart);
        assert!((found.hottest - 155.0).abs() < 2.0, "{found:?}");
        assert!((simulate(Design::OneFill, 2, COSTS).hottest - 55.0).abs() < 2.0);
    }

    #[test]
    fn a_look_is_dearer_with_many_cores_and_stripes_are_cheaper_with_few() {
        let ns = |design| simulate(design, 64, COSTS).ns;
        assert!(ns(Design::Look) > 1.2 * ns(Design::OneFill));
        // Unless a transfer takes longer than all else together: then the tail alone is the bottleneck.
        let two = |design| simulate(design, 2, Costs { near: 20_000, ..COSTS }).ns;
        assert!(two(Design::OneFill) > 1.2 * two(Design::Present));
    }

    #[test]
    fn shards_pay_once_there_are_several_clusters_and_not_before() {
        let from = pays_from(Design::Sharded, &[1, 2, 4, 8, 16, 32], COSTS, 2.0);
        assert_eq!(from, Some(16));
        assert_eq!(pays_from(Design::Present, &[1, 2], COSTS, 1.5), None);
    }
}
