//! The scenario of cutting back: the newest records go while the log is written and followed.

use std::collections::BTreeMap;
use std::io::Read;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{self, JoinHandle};
use wal_core::testing::Store;
use wal_core::{Appended, Archive, Error, Lsn, Wal};

use super::archiving::{Copies, restore};
use super::explore::{Scenario, Tally};
use super::journal::payload;
use super::log::{join, tiny};

type Records = BTreeMap<Lsn, Vec<u8>>;

fn read<St: Store>(wal: &Wal<St::Sink>) -> Result<Records, Error> {
    let all = wal.iter_from(wal.start_lsn())?;
    all.map(|record| record.map(|record| (record.lsn, record.payload))).collect()
}

fn write<St: Store>(wal: &Wal<St::Sink>, writer: u8) -> Result<Vec<(Appended, Vec<u8>)>, Error> {
    let mut written = Vec::new();
    for index in 0..4 {
        let payload = payload(writer, index, [700, 2600, 3900, 9000][thread_rng().gen_range(0..4)]);
        let appended = wal.append(&payload)?;
        if thread_rng().r#gen() {
            wal.wait_durable(appended.lsn)?;
        }
        written.push((appended, payload));
    }
    Ok(written)
}

/// Cuts the log back to some record behind the last cut, as often as there is one.
fn cut<St: Store>(wal: &Wal<St::Sink>) -> Result<Vec<(Lsn, Lsn)>, Error> {
    let mut cuts: Vec<(Lsn, Lsn)> = Vec::new();
    for _ in 0..4 {
        let from = cuts.last().map_or(Lsn::ZERO, |&(_, next)| next);
        let nth = thread_rng().gen_range(0..3);
        let at = wal.iter_from(from)?.nth(nth).transpose()?;
        match at {
            Some(record) => cuts.push((record.lsn, wal.truncate_after(record.lsn)?)),
            None => thread::yield_now(),
        }
    }
    Ok(cuts)
}

/// Follows the log to its end; behind a cut, from where it goes on. Returns how often it was told.
fn follow<St: Store>(wal: &Wal<St::Sink>) -> Result<u64, Error> {
    let (mut from, mut told) = (Lsn::ZERO, 0);
    loop {
        let followed = wal.tail_from(from).and_then(|mut tail| {
            while let Some(entry) = tail.next()? {
                assert!(entry.lsn >= from && entry.lsn < wal.durable_lsn());
            }
            Ok(())
        });
        match followed {
            Err(Error::Truncated { lsn, first_available }) => {
                assert!(lsn < first_available);
                (from, told) = (first_available, told + 1);
            }
            over => return over.map(|()| told),
        }
    }
}

/// Ships every file until the log is closed, each in the place of those that it leaves out. Returns how
/// often one came again, and the copies.
fn ship(mut archive: Archive) -> Result<(u64, Copies), Error> {
    let (mut copies, mut again) = (Copies::new(), 0);
    while let Some(file) = archive.next()? {
        let mut bytes = Vec::new();
        if let Err(error) = file.reader().read_to_end(&mut bytes) {
            // Cut under our hands: it comes with another end, or not at all.
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<Error>());
            assert!(matches!(cause, Some(Error::Truncated { .. })), "{error}");
            again += 1;
            continue;
        }
        bytes.resize(file.capacity() as usize, 0);
        let sequence = file.sequence();
        let from = file.follows().map_or(0, |before| before + 1);
        copies.retain(|&other, _| other < from || other > sequence);
        again += u64::from(copies.split_off(&sequence).contains_key(&sequence));
        copies.insert(sequence, bytes);
        file.done();
    }
    Ok((again, copies))
}

/// Two who append and wait, one who cuts back, one who follows and one who ships: a record is there
/// unless a cut has taken it, whatever the order, and a crash afterwards brings nothing back; nor do
/// the copies.
pub fn cutting<St: Store>() {
    let body = |tally: &Tally| {
        let store = St::new();
        let opened = store.open().and_then(|sink| Wal::open(sink, tiny(2)));
        let wal = opened.unwrap_or_else(|error| panic!("a new log does not open: {error}")).0;
        let archive = wal.archive("copies", Lsn::ZERO);
        let archive = archive.unwrap_or_else(|error| panic!("a new log has none: {error}"));
        let writing: Vec<JoinHandle<_>> = (0..2)
            .map(|writer| {
                let wal = wal.clone();
                thread::spawn(move || write::<St>(&wal, writer))
            })
            .collect();
        let beside = wal.clone();
        let cutting = thread::spawn(move || cut::<St>(&beside));
        let beside = wal.clone();
        let following = thread::spawn(move || follow::<St>(&beside));
        let shipping = thread::spawn(move || ship(archive));
        let well = "a call failed on a sink that is well";
        let mut written: Vec<_> = join(writing)
            .into_iter()
            .flat_map(|written| written.unwrap_or_else(|error| panic!("{well}: {error}")))
            .collect();
        let cuts = join(vec![cutting]).remove(0);
        let cuts = cuts.unwrap_or_else(|error| panic!("{well}: {error}"));
        tally.add("cuts", cuts.len() as u64);
        // Together more than a file has room for: the one that goes on behind the last cut is shipped,
        // too, and by it is known what was cut off.
        for index in 4..6 {
            let payload = payload(0, index, 9000);
            let appended = wal.append(&payload);
            written.push((appended.unwrap_or_else(|error| panic!("{well}: {error}")), payload));
        }
        let is_cut = |lsn: Lsn| cuts.iter().any(|&(from, to)| from <= lsn && lsn < to);
        tally
            .add("records cut off", written.iter().filter(|(at, _)| is_cut(at.lsn)).count() as u64);
        let last = cuts.last().map_or(Lsn::ZERO, |&(_, next)| next);
        let behind = written.iter().filter(|(at, _)| last > Lsn::ZERO && at.lsn >= last).count();
        tally.add("records appended behind a cut", behind as u64);
        let expected: Records = written
            .into_iter()
            .filter(|(at, _)| !is_cut(at.lsn))
            .map(|(at, payload)| (at.lsn, payload))
            .collect();
        let check = |wal: &Wal<St::Sink>, what: &str| match read::<St>(wal) {
            Ok(found) => assert!(found == expected, "{what}, it is another log"),
            Err(error) => panic!("{what}: {error}"),
        };
        wal.sync().unwrap_or_else(|error| panic!("{well}: {error}"));
        check(&wal, "at last");
        let crashed = store.power_loss();
        wal.close().unwrap_or_else(|error| panic!("{well}: {error}"));
        let told = join(vec![following]).remove(0);
        let told = told.unwrap_or_else(|error| panic!("following failed: {error}"));
        tally.add("readers told of a cut", told);
        let shipped = join(vec![shipping]).remove(0);
        let (again, copies) = shipped.unwrap_or_else(|error| panic!("shipping failed: {error}"));
        tally.add("files cut that were shipped", again);
        match restore(copies) {
            Ok(found) => {
                let first = expected.iter().take(found.len());
                assert!(first.eq(&found), "restored, it is another log");
                tally.add("records restored", found.len() as u64);
            }
            Err(error) => panic!("the copies do not open: {error}"),
        }
        for store in crashed.iter().chain([&store]) {
            match store.open().and_then(|sink| Wal::open(sink, tiny(2).seed(2))) {
                Ok((wal, _)) => check(&wal, "opened again"),
                Err(error) => panic!("it does not open: {error}"),
            }
        }
    };
    let happens = &[
        "cuts",
        "records cut off",
        "records appended behind a cut",
        "readers told of a cut",
        "files cut that were shipped",
        "records restored",
    ];
    Scenario { name: "cutting", schedules: 1_500, happens, stalls: &[], body }.explore();
}
