//! Every fault that can be switched on is found, by the property that is there for it.

use stateright::{Expectation, Model};
use wal_model::machine::{Bug, Machine, Op};
use wal_model::{report, suite};

#[test]
fn every_fault_is_found_by_its_property() {
    let faults = suite::faults();
    for bug in Bug::ALL {
        assert!(faults.iter().any(|(machine, _)| machine.bug == bug), "{bug:?} has no machine");
    }
    for (machine, property) in faults {
        let begun = std::time::Instant::now();
        let found = report::find(&machine, property);
        println!(
            "{:?}: {property} {} {:?}",
            machine.bug,
            found.as_ref().map_or(0, Vec::len),
            begun.elapsed()
        );
        assert!(found.is_some(), "{property} does not find {:?}", machine.bug);
    }
}

/// A property that nothing breaks is no check.
#[test]
fn every_property_finds_a_fault() {
    let faults = suite::faults();
    for property in Machine::new(2, 2, &[Op::Append]).properties() {
        let found = faults.iter().any(|(_, finder)| *finder == property.name);
        let must_hold = !matches!(property.expectation, Expectation::Sometimes);
        assert!(found || !must_hold, "{} finds nothing", property.name);
    }
}
