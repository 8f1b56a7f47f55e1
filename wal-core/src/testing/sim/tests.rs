//! The simulator against what it says of itself.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

use super::{CallKind, Fault, Image, Rates, SimDisk, SimFile, Survival};

const A: &str = "/a";

fn write(file: &SimFile, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    file.write_at(&[IoSlice::new(bytes)], offset)
}

/// A disk with a durable file of zeros, open.
fn disk(len: u64) -> (SimDisk, SimFile) {
    let disk = SimDisk::new(7);
    let file = disk.create(Path::new(A)).unwrap();
    file.set_len(len).unwrap();
    file.sync().unwrap();
    disk.open_dir(Path::new("/")).unwrap().sync().unwrap();
    (disk, file)
}

fn bytes(image: &Image) -> Vec<u8> {
    image.file(Path::new(A)).unwrap().to_vec()
}

/// Every state that a power loss can leave.
fn outcomes(image: &Image) -> BTreeSet<Vec<u8>> {
    let options = image.undecided();
    let mut chosen = vec![0; options.len()];
    let mut found = BTreeSet::new();
    loop {
        found.insert(bytes(&image.power_loss(Survival::Chosen(&chosen))));
        let Some(at) = (0..chosen.len()).find(|&at| chosen[at] < options[at]) else {
            return found;
        };
        chosen[at] += 1;
        chosen[..at].fill(0);
    }
}

#[test]
fn sectors_survive_each_on_its_own_in_any_version() {
    let (disk, file) = disk(1024);
    write(&file, 0, &[1; 1024]).unwrap();
    write(&file, 512, &[2; 8]).unwrap();
    let found = outcomes(&disk.image());
    // The first sector has 2 states, the second 3.
    assert_eq!(found.len(), 6);
    let torn = [vec![0; 512], vec![2; 8], vec![1; 504]].concat();
    assert!(found.contains(&torn));
    assert_eq!(bytes(&disk.image().process_crash())[512..521], [2, 2, 2, 2, 2, 2, 2, 2, 1]);

    file.sync().unwrap();
    assert_eq!(outcomes(&disk.image()).len(), 1);
    // A process that dies takes nothing with it, and leaves undecided what was.
    write(&file, 0, &[3]).unwrap();
    assert_eq!(outcomes(&disk.image().process_crash()).len(), 2);
}

#[test]
fn a_write_in_flight_survives_in_part_and_no_sync_covers_it() {
    let (disk, file) = disk(1024);
    file.submit(9, &[IoSlice::new(&[1; 1024])], 0).unwrap();
    file.sync().unwrap();
    assert_eq!(bytes(&disk.image()), [0; 1024]);
    assert_eq!(outcomes(&disk.image()).len(), 4);
    assert_eq!(disk.in_flight(), [9]);
    assert!(disk.complete(9).unwrap());
    assert_eq!(bytes(&disk.image()), [1; 1024]);
    assert_eq!(outcomes(&disk.image()).len(), 4);
    file.sync().unwrap();
    assert_eq!(outcomes(&disk.image()).len(), 1);
    assert_eq!(disk.complete(9).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn names_and_lengths_are_as_undecided_as_bytes() {
    let disk = SimDisk::new(1);
    let file = disk.create(Path::new(A)).unwrap();
    write(&file, 0, &[5; 100]).unwrap();
    file.sync().unwrap();
    let lost = disk.image().power_loss(Survival::Nothing);
    assert!(lost.file(Path::new(A)).is_none());
    let root = disk.open_dir(Path::new("/")).unwrap();
    root.sync().unwrap();
    disk.rename(Path::new(A), Path::new("/b")).unwrap();
    let old = disk.image().power_loss(Survival::Nothing);
    assert!(old.file(Path::new(A)).is_some() && old.file(Path::new("/b")).is_none());
    let new = disk.image().power_loss(Survival::Everything);
    assert!(new.file(Path::new(A)).is_none() && new.file(Path::new("/b")).is_some());

    root.sync().unwrap();
    file.set_len(10).unwrap();
    file.set_len(50).unwrap();
    let lens: Vec<usize> = (0..3)
        .map(|length| disk.image().power_loss(Survival::Chosen(&[length])))
        .map(|image| image.file(Path::new("/b")).unwrap().len())
        .collect();
    assert_eq!(lens, [100, 10, 50]);
    let grown = disk.image().power_loss(Survival::Everything);
    assert_eq!(grown.file(Path::new("/b")).unwrap()[9..11], [5, 0]);
}

#[test]
fn what_lies_in_a_lost_directory_is_lost() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new("/d")).unwrap();
    disk.create(Path::new("/d/f")).unwrap().sync().unwrap();
    disk.open_dir(Path::new("/d")).unwrap().sync().unwrap();
    let lost = SimDisk::of(disk.image().power_loss(Survival::Nothing), 0);
    assert_eq!(lost.open(Path::new("/d/f")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(lost.list(Path::new("/")).unwrap(), []);
    disk.open_dir(Path::new("/d/..")).unwrap().sync().unwrap();
    assert!(disk.image().power_loss(Survival::Nothing).file(Path::new("/d/f")).is_some());
}

#[test]
fn a_failed_sync_is_followed_by_one_that_succeeds_without_writing() {
    let (disk, file) = disk(512 * 64);
    write(&file, 0, &[1; 512 * 64]).unwrap();
    disk.plan(|call| (call.kind == CallKind::Sync).then_some(Fault::Io));
    assert_eq!(file.sync().unwrap_err().raw_os_error(), Some(5));
    disk.heal();
    file.sync().unwrap();
    // Reads still see everything, the device has some of it.
    assert_eq!(bytes(&disk.image()), [1; 512 * 64]);
    let device = bytes(&disk.image().power_loss(Survival::Everything));
    assert!(device.contains(&0) && device.contains(&1));
    file.evict();
    assert_eq!(bytes(&disk.image()), device);
}

#[test]
fn lost_and_misdirected_writes_show_once_the_cache_is_gone() {
    for (fault, expected) in [(Fault::Lost, [0, 0, 0]), (Fault::Misdirected(1), [0, 1, 0])] {
        let (disk, file) = disk(512 * 3);
        disk.plan(move |call| (call.kind == CallKind::Write).then_some(fault));
        write(&file, 0, &[1; 512]).unwrap();
        file.sync().unwrap();
        assert_eq!(bytes(&disk.image())[0], 1);
        file.evict();
        let seen = bytes(&disk.image());
        assert_eq!([seen[0], seen[512], seen[1024]], expected);
    }
}

#[test]
fn short_transfers_and_interruptions_say_so() {
    let (disk, file) = disk(100);
    disk.plan(|call| match call.kind {
        CallKind::Write => Some(Fault::Short),
        CallKind::Read => Some(Fault::Interrupted),
        _ => None,
    });
    let done = write(&file, 0, &[1; 100]).unwrap();
    assert!((1..100).contains(&done));
    assert_eq!(file.read_at(&mut [0; 4], 0).unwrap_err().kind(), ErrorKind::Interrupted);
    disk.heal();
    let mut seen = [9; 200];
    assert_eq!(file.read_at(&mut seen, 0).unwrap(), 100);
    assert_eq!(seen[..done], vec![1; done]);
    assert_eq!(seen[done..100], vec![0; 100 - done]);
    assert_eq!(disk.struck().len(), 2);
}

#[test]
fn a_full_disk_takes_what_fits_and_overwrites() {
    let (disk, file) = disk(1000);
    disk.set_capacity(Some(1100));
    assert_eq!(write(&file, 900, &[1; 300]).unwrap(), 200);
    assert_eq!(write(&file, 1100, &[1]).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(write(&file, 0, &[1; 1000]).unwrap(), 1000);
    let other = disk.create(Path::new("/b")).unwrap();
    assert_eq!(other.allocate(1).unwrap_err().kind(), ErrorKind::StorageFull);
    // Space is free once the file has neither a name nor a handle.
    disk.remove(Path::new(A)).unwrap();
    assert!(other.allocate(1).is_err());
    drop(file);
    disk.open_dir(Path::new("/")).unwrap().sync().unwrap();
    other.allocate(1100).unwrap();
    assert!(other.allocate(1101).is_err());
}

#[test]
fn without_power_nothing_changes() {
    let (disk, file) = disk(10);
    disk.cut_power_at(disk.calls() + 1);
    write(&file, 0, &[1]).unwrap();
    assert!(write(&file, 1, &[1]).is_err() && file.sync().is_err());
    assert!(!disk.has_power());
    assert_eq!(bytes(&disk.image())[..2], [1, 0]);
    assert_eq!(outcomes(&disk.image()).len(), 2);
}

#[test]
fn observers_see_every_change_and_plans_every_call() {
    let disk = SimDisk::new(1);
    let (seen, told) = std::sync::mpsc::channel();
    disk.watch(move |call, image| {
        seen.send((call.index, image.files(Path::new("/")).count())).unwrap()
    });
    let file = disk.create(Path::new(A)).unwrap();
    let _ = file.read_at(&mut [0; 1], 0);
    file.sync().unwrap();
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [(0, 1), (2, 1)]);

    // The same seed, the same faults; another one, others.
    let run = |seed| {
        let (disk, file) = super::tests::disk(4096);
        disk.plan(Rates { write: 3, short: 3, ..Rates::default() }.plan(seed));
        for at in 0..50 {
            let _ = write(&file, at, &[at as u8; 60]);
        }
        (disk.struck(), bytes(&disk.image()))
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn rot_is_on_the_device() {
    let (disk, file) = disk(1024);
    write(&file, 512, &[1]).unwrap();
    disk.rot(Path::new(A), 0, 0);
    disk.rot(Path::new(A), 513, 0);
    assert_eq!(bytes(&disk.image())[512..514], [1, 0]);
    let after = bytes(&disk.image().power_loss(Survival::Nothing));
    assert_eq!((after[0], after[512], after[513]), (1, 0, 1));
}

#[test]
fn locks_go_with_their_handle() {
    let (disk, file) = disk(1);
    let other = disk.open(Path::new(A)).unwrap();
    assert!(file.try_lock().unwrap());
    assert!(!other.try_lock().unwrap());
    // The last handle of the file gives the lock up.
    drop(file);
    drop(other);
    assert!(disk.open(Path::new(A)).unwrap().try_lock().unwrap());
}
