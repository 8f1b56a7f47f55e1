//! Every state of small machines.

use wal_model::machine::{Machine, Op};
use wal_model::{report, suite};

fn run(machines: Vec<suite::Named>) {
    for (name, machine) in machines {
        let report = report::check(&machine);
        println!("{name:<40} {report}");
        assert!(report.is_fine(), "{name}: {report}");
    }
}

#[test]
fn small_machines_hold() {
    run(suite::quick());
}

#[test]
#[ignore = "takes minutes; `cargo test -p wal-model --release -- --ignored --nocapture`"]
fn larger_machines_hold() {
    run(suite::large());
}

/// That writers which are alike may be exchanged is not taken on trust.
#[test]
fn symmetry_hides_nothing() {
    for bug in [wal_model::machine::Bug::None, wal_model::machine::Bug::AckBeforeSync] {
        let like = Machine::new(2, 2, &[Op::Append, Op::Sync]).with(bug);
        let told_apart = Machine { symmetric: false, ..like.clone() };
        let names = |machine: &Machine| {
            let report = report::check(machine);
            let mut names: Vec<_> = report.broken.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            (names, report.never, report.states)
        };
        let (reduced, full) = (names(&like), names(&told_apart));
        assert_eq!((&reduced.0, &reduced.1), (&full.0, &full.1));
        assert!(reduced.2 < full.2 && full.2 <= 2 * reduced.2);
    }
}
