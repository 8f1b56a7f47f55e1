//! Variants that take turns in short rounds.

use hdrhistogram::Histogram;

use crate::measure::{Span, histogram};

/// One of the things compared.
pub struct Variant<'a> {
    /// Its name in the table.
    pub name: String,
    /// Measures it once.
    pub run: Box<dyn FnMut() -> Span + 'a>,
}

impl<'a> Variant<'a> {
    /// A variant.
    pub fn new(name: impl Into<String>, run: impl FnMut() -> Span + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// All rounds of one variant, in order.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The variant's name.
    pub name: String,
    /// What each round found.
    pub spans: Vec<Span>,
}

/// The least number of undisturbed rounds that a median is taken from; with fewer, all count.
const ENOUGH: usize = 5;

impl Outcome {
    /// Median wall nanoseconds per record, of the undisturbed rounds if there are enough.
    #[must_use]
    pub fn ns_per_record(&self) -> f64 {
        let quiet = self.spans.iter().filter(|span| span.quiet);
        let quiet: Vec<f64> = quiet.map(Span::ns_per_record).collect();
        if quiet.len() >= ENOUGH {
            return median(quiet);
        }
        median(self.spans.iter().map(Span::ns_per_record).collect())
    }

    /// Median records per second.
    #[must_use]
    pub fn records_per_second(&self) -> f64 {
        1e9 / self.ns_per_record()
    }

    /// The times of all rounds together.
    ///
    /// # Errors
    ///
    /// Never for spans of this crate, whose histograms have equal bounds.
    pub fn times(&self) -> Result<Histogram<u64>, hdrhistogram::AdditionError> {
        let mut times = histogram();
        for span in &self.spans {
            times.add(&span.times)?;
        }
        Ok(times)
    }

    /// Undisturbed rounds.
    #[must_use]
    pub fn quiet(&self) -> usize {
        self.spans.iter().filter(|span| span.quiet).count()
    }
}

/// Runs every variant once to warm up, then `rounds` times, the order rotating by one each round.
pub fn interleave(variants: &mut [Variant<'_>], rounds: usize) -> Vec<Outcome> {
    for variant in variants.iter_mut() {
        (variant.run)();
    }
    let mut outcomes: Vec<Outcome> = variants
        .iter()
        .map(|variant| Outcome { name: variant.name.clone(), spans: Vec::with_capacity(rounds) })
        .collect();
    let count = variants.len();
    for round in 0..rounds {
        for turn in 0..count {
            let index = (round + turn) % count;
            outcomes[index].spans.push((variants[index].run)());
        }
    }
    outcomes
}

/// How many times as much a record of `one` costs as one of `other`: the median of the ratios of
/// the rounds in which neither was disturbed, or of all rounds if those are too few.
#[must_use]
pub fn ratio(one: &Outcome, other: &Outcome) -> f64 {
    let pairs: Vec<_> = one.spans.iter().zip(&other.spans).collect();
    let of = |(a, b): &(&Span, &Span)| a.ns_per_record() / b.ns_per_record();
    let quiet = pairs.iter().filter(|(a, b)| a.quiet && b.quiet);
    let quiet: Vec<f64> = quiet.map(of).collect();
    if quiet.len() >= ENOUGH { median(quiet) } else { median(pairs.iter().map(of).collect()) }
}

/// The middle value; the mean of the two in the middle of an even number; NaN of none.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn span(ns: u64, quiet: bool) -> Span {
        let wall = Duration::from_nanos(ns);
        let (waited, times) = (Duration::ZERO, histogram());
        Span { records: 1, wall, quiet, waited, times, syncs: None, cpu: wall, written: None }
    }

    fn outcome(spans: &[(u64, bool)]) -> Outcome {
        let spans = spans.iter().map(|&(ns, quiet)| span(ns, quiet)).collect();
        Outcome { name: String::new(), spans }
    }

    #[test]
    fn medians_of_odd_even_and_no_values() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn disturbed_rounds_do_not_count_if_enough_others_are_left() {
        let noisy = [(900, false), (900, false), (900, false)];
        let mut spans = vec![(10, true); 5];
        spans.extend(noisy);
        let floor = outcome(&[(5, true); 8]);
        assert_eq!(outcome(&spans).ns_per_record(), 10.0);
        assert_eq!(ratio(&outcome(&spans), &floor), 2.0);
        spans.drain(..3);
        assert_eq!(outcome(&spans).ns_per_record(), 900.0);
    }

    #[test]
    fn every_variant_runs_in_every_round_and_the_order_rotates() {
        let order = std::cell::RefCell::new(String::new());
        let variant = |name: &'static str| {
            let order = &order;
            Variant::new(name, move || {
                order.borrow_mut().push_str(name);
                span(1, true)
            })
        };
        let outcomes = interleave(&mut [variant("a"), variant("b"), variant("c")], 3);
        assert!(outcomes.iter().all(|o| o.spans.len() == 3));
        assert_eq!(*order.borrow(), "abcabcbcacab");
    }
}
