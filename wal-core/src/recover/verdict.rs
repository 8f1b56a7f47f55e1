//! What a damaged place means, by the evidence behind it.

use crate::error::Error;
use crate::lsn::Lsn;
use crate::options::{AmbiguousTail, RecoveryMode};
use crate::recover::evidence::{self, Survey};
use crate::recover::walk::{Damage, Flow, Walk};
use crate::recover::{Aside, Corruption, Cut, Verdict};

/// What the bytes behind a damaged place say.
struct Evidence {
    /// The highest position claimed to have been durable.
    claim: Lsn,
    /// Whether valid frames or files lie behind.
    behind: bool,
    /// The next valid frame of the same file.
    resume: Option<Lsn>,
    /// Where the next readable file begins.
    next_base: Option<Lsn>,
}

impl Walk<'_> {
    /// Decides between corruption, a torn end, an undecidable one and a clean one.
    pub(super) fn judge(&mut self, damage: &Damage, here: Option<Survey>) -> Result<Flow, Error> {
        let evidence = self.evidence(damage, here)?;
        if damage.impossible || evidence.claim > damage.at {
            return self.corruption(damage, &evidence);
        }
        let verdict = match (evidence.behind, damage.ours) {
            (true, _) => Verdict::Torn,
            (false, true) => Verdict::Ambiguous,
            (false, false) => return Ok(Flow::NextFile),
        };
        self.cut(damage, verdict)?;
        Ok(Flow::Stop)
    }

    fn evidence(&mut self, damage: &Damage, here: Option<Survey>) -> Result<Evidence, Error> {
        let mut found = Evidence { claim: Lsn::ZERO, behind: false, resume: None, next_base: None };
        if let Some(survey) = here {
            found.claim = survey.claim;
            found.behind = survey.first.is_some();
            found.resume = survey.first;
        } else if self.files[damage.index].header.is_err() {
            self.headless_evidence(damage.index, damage.at, &mut found)?;
        }
        for index in damage.index + 1..self.files.len() {
            let file = &self.files[index];
            let Ok(header) = file.header else {
                self.headless_evidence(index, damage.at, &mut found)?;
                continue;
            };
            found.behind = true;
            found.next_base = found.next_base.or(Some(header.base));
            found.claim = found.claim.max(file.claim());
            // Reading a whole file is worth it only as long as nothing is proved.
            if found.claim <= damage.at && !damage.impossible {
                self.window.open(header.sequence, file.entry.len);
                let all = (header.base, header.limit());
                let survey = evidence::survey(&mut self.window, &header, all.0, all.1)?;
                found.claim = found.claim.max(survey.claim);
            }
        }
        Ok(found)
    }

    fn headless_evidence(
        &mut self,
        index: usize,
        at: Lsn,
        found: &mut Evidence,
    ) -> Result<(), Error> {
        let headless = self.headless(index, at)?;
        found.claim = found.claim.max(headless.claim);
        found.behind |= headless.frames;
        Ok(())
    }

    fn headless(&mut self, index: usize, at: Lsn) -> Result<evidence::Headless, Error> {
        let entry = &self.files[index].entry;
        self.window.open(entry.sequence, entry.len);
        evidence::headless(&mut self.window, entry.len, self.tail.end, at)
    }

    fn corruption(&mut self, damage: &Damage, evidence: &Evidence) -> Result<Flow, Error> {
        let entry = &self.files[damage.index].entry;
        let own_base = self.files[damage.index].header.ok().map(|header| header.base);
        let own_base = own_base.filter(|&base| base >= damage.at);
        // A file that is intact but does not fit is itself the next place that reads well.
        let next_base = if damage.offset == 0 { own_base } else { None }.or(evidence.next_base);
        let next = evidence.resume.or(next_base).unwrap_or(evidence.claim);
        let corruption = Corruption {
            reason: damage.reason,
            lsn: damage.at,
            file: entry.sequence,
            path: entry.path.clone(),
            offset: damage.offset,
            len: next.distance_from(damage.at).unwrap_or(0),
            proof: evidence.claim.max(damage.at),
        };
        if self.options.mode != RecoveryMode::Salvage {
            return Err(corruption.into());
        }
        self.report.holes.push(corruption);
        self.tail.chained = false;
        if let Some(resume) = evidence.resume {
            return Ok(Flow::Resume(resume));
        }
        if next_base.is_none() {
            self.cut(damage, Verdict::Salvaged)?;
            return Ok(Flow::Stop);
        }
        Ok(Flow::NextFile)
    }

    /// Ends the log before the damage, and names what has to be kept elsewhere first.
    fn cut(&mut self, damage: &Damage, verdict: Verdict) -> Result<(), Error> {
        let (sequence, len) = {
            let entry = &self.files[damage.index].entry;
            (entry.sequence, entry.len)
        };
        let mut aside = Vec::new();
        let keeps = self.files[damage.index].header.ok().filter(|_| damage.kept);
        let offset = keeps.map_or(0, |header| header.offset_of(self.tail.end));
        self.window.open(sequence, len);
        let end = evidence::nonzero_end(&mut self.window, offset, len)?;
        let mut bytes = end - offset;
        if keeps.is_none() {
            aside.push(Aside::File { sequence });
        } else if bytes > 0 {
            aside.push(Aside::Range { sequence, offset, len: bytes });
        }
        for index in damage.index + 1..self.files.len() {
            let (sequence, len) = (self.files[index].sequence(), self.files[index].entry.len);
            if self.files[index].is_unused() && !self.headless(index, damage.at)?.frames {
                self.unused.push(sequence);
                continue;
            }
            self.window.open(sequence, len);
            bytes += evidence::nonzero_end(&mut self.window, 0, len)?;
            aside.push(Aside::File { sequence });
        }
        let path = self.files[damage.index].entry.path.clone();
        let reason = damage.reason;
        let (lsn, files) = (self.tail.end, aside.len().max(1) as u64);
        let cut = Cut { reason, lsn, file: sequence, path, offset, bytes, files };
        let refuse = self.options.ambiguous_tail == AmbiguousTail::Refuse;
        if verdict == Verdict::Ambiguous && refuse {
            return Err(Error::AmbiguousTail(Box::new(cut)));
        }
        self.report.verdict = verdict;
        self.report.cut = Some(cut);
        self.aside.append(&mut aside);
        Ok(())
    }
}
