//! A crash, and what recovery makes of it.

use super::config::{Machine, START};
use super::state::{Frame, Ghost, Recovered, Safety, State};

impl Machine {
    /// Frames that a crash now may lose: not durable, or in flight.
    pub(super) fn at_stake(&self, state: &State) -> Vec<Frame> {
        let mut frames: Vec<Frame> =
            state.disk.iter().filter(|f| f.safety != Safety::Durable).cloned().collect();
        frames.extend(
            (0..state.leader.in_flight.len()).filter_map(|i| self.frame_in_flight(state, i)),
        );
        frames
    }

    /// The crash that leaves those of the frames at stake that `kept` has a bit for. A frame half
    /// written is one that is lost: its checksums say so.
    pub(super) fn crash(&self, state: &State, kept: u32) -> State {
        let stake = self.at_stake(state);
        let mut disk: Vec<Frame> =
            state.disk.iter().filter(|f| f.safety == Safety::Durable).cloned().collect();
        disk.extend(
            stake.iter().enumerate().filter(|(i, _)| kept & (1 << i) != 0).map(|(_, f)| f.clone()),
        );
        let unsynced = state.disk.iter().any(|frame| frame.safety == Safety::Cached);
        let recovered = self.recover(&disk, unsynced);
        let ghost = Ghost {
            acked: state.ghost.acked,
            ranges: state.ghost.ranges.clone(),
            given_up: state.ghost.given_up.clone(),
            ..Ghost::default()
        };
        let mut after = self.initial();
        after.segments.clear();
        after.writers.clear();
        (after.ghost, after.crashed) = (ghost, Some(recovered));
        after
    }

    /// The longest valid prefix: every frame starts where the one before ended, or opens a file, and
    /// says which one it follows.
    fn recover(&self, disk: &[Frame], unsynced: bool) -> Recovered {
        let mut recovered = Recovered { found: Vec::new(), end: 0, unsynced };
        let mut link = None;
        while let Some(frame) = disk.iter().find(|f| {
            f.link == link && (f.base == recovered.end || f.opens && f.base > recovered.end)
        }) {
            let start = frame.base + START;
            for (index, &cell) in frame.cells.iter().enumerate() {
                recovered.found.push((start + index as u64 * self.record, frame.file, cell));
            }
            link = Some(frame.base);
            recovered.end = self.align_up(frame.base + frame.len);
        }
        recovered
    }
}
