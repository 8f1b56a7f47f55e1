//! Makes calls of this process fail, whatever thread makes them, for the rest of its life.

#![allow(unreachable_pub, reason = "each test target is a crate of its own")]

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};

/// A call, and what to ask of its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub number: i64,
    /// Only if all of these bits of this argument are set.
    pub only: Option<(u8, u64)>,
}

pub const fn call(number: i64) -> Call {
    Call { number, only: None }
}

/// Has the calls fail with `errno`. Needs no privilege, only a kernel that allows filters.
///
/// # Errors
///
/// Why there can be no filter.
pub fn fail(calls: &[Call], errno: i32) -> Result<(), String> {
    let mut rules = BTreeMap::new();
    for call in calls {
        let only = match call.only {
            None => Vec::new(),
            Some((argument, bits)) => {
                let (len, op) = (SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(bits));
                let condition = SeccompCondition::new(argument, len, op, bits);
                let condition = condition.map_err(|error| error.to_string())?;
                vec![SeccompRule::new(vec![condition]).map_err(|error| error.to_string())?]
            }
        };
        rules.insert(call.number, only);
    }
    let fails = SeccompAction::Errno(errno as u32);
    let arch = std::env::consts::ARCH.try_into().map_err(|error| format!("{error}"))?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, fails, arch);
    let program: Result<BpfProgram, _> = filter.and_then(TryInto::try_into);
    let program = program.map_err(|error| error.to_string())?;
    apply_filter_all_threads(&program)
        .map_err(|error| format!("{error} ({})", io::Error::last_os_error()))
}
