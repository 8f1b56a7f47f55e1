//! The calls: open files, their bytes, and directories.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{SimDisk, State};
use super::fault::{CallKind, Fault, failed_sync, io_error};
use super::image::Flight;
use super::inode::Inode;
use super::names::{Node, absolute};

const NOWHERE: (u64, usize) = (0, 0);

/// An open file or directory; closed when dropped, which gives up its lock.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    path: PathBuf,
    /// `None` for a directory.
    inode: Option<u64>,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The name, without the directory.
    pub name: OsString,
    /// Whether it is a file.
    pub is_file: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let Some(inode) = self.inode else { return };
        let mut state = self.disk.state();
        let left = state.handles.get(&inode).map_or(0, |count| count - 1);
        if left > 0 {
            state.handles.insert(inode, left);
            return;
        }
        state.handles.remove(&inode);
        state.locked.remove(&inode);
        state.release(inode);
    }
}

/// # Calls of a file system
///
/// Every one fails with the error of the [fault](Fault) that a plan has for it, and otherwise with
/// those of a file system.
impl SimDisk {
    fn handle(&self, state: &mut State, path: PathBuf, inode: u64) -> SimFile {
        *state.handles.entry(inode).or_default() += 1;
        SimFile { disk: self.clone(), path, inode: Some(inode) }
    }

    /// Opens a file that exists.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn open(&self, path: &Path) -> io::Result<SimFile> {
        self.call(CallKind::Open, path, NOWHERE, |state, _| {
            let path = absolute(path);
            let inode = state.image.names.file(&path)?;
            Ok(self.handle(state, path, inode))
        })
    }

    /// Makes a file.
    ///
    /// # Errors
    ///
    /// If there is something of this name.
    pub fn create(&self, path: &Path) -> io::Result<SimFile> {
        self.call(CallKind::Create, path, NOWHERE, |state, _| {
            let path = absolute(path);
            let inode = state.add_inode(Inode::default());
            match state.image.names.create(&path, Node::File(inode)) {
                Ok(()) => Ok(self.handle(state, path, inode)),
                Err(error) => {
                    state.image.inodes.remove(&inode);
                    Err(error)
                }
            }
        })
    }

    /// Opens a directory, to sync it.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn open_dir(&self, path: &Path) -> io::Result<SimFile> {
        self.call(CallKind::Open, path, NOWHERE, |state, _| {
            let path = absolute(path);
            state.image.names.dir(&path)?;
            Ok(SimFile { disk: self.clone(), path, inode: None })
        })
    }

    /// Makes a directory.
    ///
    /// # Errors
    ///
    /// If there is something of this name, or no directory to make it in.
    pub fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(CallKind::CreateDir, path, NOWHERE, |state, _| {
            state.image.names.create(&absolute(path), Node::Dir)
        })
    }

    /// Lists a directory.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        self.call(CallKind::List, path, NOWHERE, |state, _| {
            let listed = state.image.names.list(&absolute(path))?.into_iter();
            let listed = listed.map(|(path, node)| {
                let name = path.file_name().unwrap_or_default().to_owned();
                match node {
                    Node::Dir => Listed { name, is_file: false, len: 0 },
                    Node::File(inode) => {
                        let len = state.image.inodes[&inode].bytes().len() as u64;
                        Listed { name, is_file: true, len }
                    }
                }
            });
            Ok(listed.collect())
        })
    }

    /// Renames a file, replacing what has the new name.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(CallKind::Rename, from, NOWHERE, |state, _| {
            let (from, to) = (absolute(from), absolute(to));
            let replaced = state.image.names.file(&to).ok();
            state.image.names.rename(&from, &to)?;
            replaced.into_iter().for_each(|inode| state.release(inode));
            Ok(())
        })
    }

    /// Removes a file; its bytes stay as long as it is open.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(CallKind::Remove, path, NOWHERE, |state, _| {
            let path = absolute(path);
            let inode = state.image.names.file(&path)?;
            state.image.names.remove(&path)?;
            state.release(inode);
            Ok(())
        })
    }
}

/// # Calls of an open file
impl SimFile {
    pub(super) fn number(&self) -> io::Result<u64> {
        self.inode.ok_or_else(|| io::ErrorKind::IsADirectory.into())
    }

    pub(super) const fn disk(&self) -> &SimDisk {
        &self.disk
    }

    /// Another handle of the same file.
    #[must_use]
    pub fn again(&self) -> Self {
        if let Some(inode) = self.inode {
            *self.disk.state().handles.entry(inode).or_default() += 1;
        }
        Self { disk: self.disk.clone(), path: self.path.clone(), inode: self.inode }
    }

    /// The name under which it was opened, from the root.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A call on the bytes of this file.
    pub(super) fn call<T>(
        &self,
        kind: CallKind,
        span: (u64, usize),
        act: impl FnOnce(&mut State, &mut Inode, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        self.disk.call(kind, &self.path, span, |state, fault| {
            let number = self.inode.ok_or(io::ErrorKind::IsADirectory)?;
            // Out of the map, so that both it and the rest can be changed.
            let mut inode = state.image.inodes.remove(&number).unwrap_or_default();
            let result = act(state, &mut inode, fault);
            state.image.inodes.insert(number, inode);
            result
        })
    }

    /// Takes the file's lock, which lasts until this handle is dropped; false if it is taken.
    ///
    /// # Errors
    ///
    /// Never, but of a directory.
    pub fn try_lock(&self) -> io::Result<bool> {
        let number = self.number()?;
        Ok(self.disk.state().locked.insert(number))
    }

    /// Length in bytes.
    ///
    /// # Errors
    ///
    /// Never, but of a directory.
    pub fn len(&self) -> io::Result<u64> {
        let number = self.inode.ok_or(io::ErrorKind::IsADirectory)?;
        let state = self.disk.state();
        Ok(state.image.inodes.get(&number).map_or(0, |inode| inode.bytes().len() as u64))
    }

    /// Whether it holds nothing.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads once; 0 at the end of the file.
    ///
    /// # Errors
    ///
    /// See [the disk](SimDisk).
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.call(CallKind::Read, (offset, buf.len()), |state, inode, fault| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let bytes = inode.bytes().get(start..).unwrap_or_default();
            let mut len = bytes.len().min(buf.len());
            if fault == Some(Fault::Short) && len > 1 {
                len = 1 + state.random.below(len - 1);
            }
            buf[..len].copy_from_slice(&bytes[..len]);
            Ok(len)
        })
    }

    /// Writes once, from the start of `parts`; need not write all of them.
    ///
    /// # Errors
    ///
    /// See [the disk](SimDisk).
    pub fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
        let written = self.call(CallKind::Write, (offset, bytes.len()), |state, inode, fault| {
            let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
            write(state, inode, offset, &bytes, fault)
        });
        if let Ok(len) = written {
            self.show(parts, offset, len);
        }
        written
    }

    /// Submits a write that ends with [`SimDisk::complete`]; until then a crash may leave any part
    /// of it.
    ///
    /// # Errors
    ///
    /// See [the disk](SimDisk).
    pub fn submit(&self, ticket: u64, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let bytes = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
        let number = self.inode.ok_or(io::ErrorKind::IsADirectory)?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.disk.call(CallKind::Write, &self.path, (offset as u64, bytes.len()), |state, fault| {
            if fault == Some(Fault::Io) {
                return Err(io_error());
            }
            let path = self.path.clone();
            let flight = Flight { ticket, path, inode: number, offset, bytes: Arc::new(bytes) };
            state.image.flights.push(flight);
            Ok(())
        })
    }

    /// Reserves space for `len` bytes, without changing the length.
    ///
    /// # Errors
    ///
    /// If there is no such space.
    pub fn allocate(&self, len: u64) -> io::Result<()> {
        self.call(CallKind::Allocate, (0, len as usize), |state, inode, _| {
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
            if len > state.room_beside(inode) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            inode.reserve(len);
            Ok(())
        })
    }

    /// Sets the length; new bytes are zeros.
    ///
    /// # Errors
    ///
    /// If there is no such space.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        let number = self.number()?;
        self.call(CallKind::SetLen, (len, 0), |state, inode, _| {
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
            if len > state.room_beside(inode) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.assert_not_mapped(number, len);
            inode.set_len(len);
            Ok(())
        })
    }

    /// Makes the bytes of a file, or the names in a directory, survive power loss.
    ///
    /// # Errors
    ///
    /// See [the disk](SimDisk).
    pub fn sync(&self) -> io::Result<()> {
        let Some(_) = self.inode else {
            return self.disk.call(CallKind::SyncDir, &self.path, NOWHERE, |state, fault| {
                let State { image, random, .. } = state;
                if let Some(error) = failed_sync(fault) {
                    image.names.fail_sync(&self.path, &mut || random.one_in(2));
                    return Err(error);
                }
                image.names.sync(&self.path);
                Ok(())
            });
        };
        self.call(CallKind::Sync, NOWHERE, |state, inode, fault| {
            if let Some(error) = failed_sync(fault) {
                inode.fail_sync(&mut state.random);
                return Err(error);
            }
            inode.sync();
            Ok(())
        })
    }

    /// Makes these bytes survive power loss, as far as sectors, and what else was written of the file
    /// does not.
    ///
    /// # Errors
    ///
    /// See [the disk](SimDisk).
    pub fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        let (from, to) = (range.start as usize, range.end as usize);
        self.call(CallKind::Sync, (range.start, to - from), |state, inode, fault| {
            if let Some(error) = failed_sync(fault) {
                inode.fail_sync(&mut state.random);
                return Err(error);
            }
            inode.sync_range(from..to);
            Ok(())
        })
    }

    /// Drops the clean pages of the file from the cache.
    pub fn evict(&self) {
        let mut state = self.disk.state();
        if let Some(inode) = self.inode.and_then(|number| state.image.inodes.get_mut(&number)) {
            inode.evict();
        }
    }
}

impl SimDisk {
    /// Tickets of the writes in flight, in order of submission.
    #[must_use]
    pub fn in_flight(&self) -> Vec<u64> {
        self.state().image.flights.iter().map(|flight| flight.ticket).collect()
    }

    /// Ends the write with this ticket, well or badly. False if it was short or interrupted: the
    /// rest is in flight again.
    ///
    /// # Errors
    ///
    /// See [the disk](SimDisk); [`NotFound`](io::ErrorKind::NotFound) if nothing is in flight with
    /// this ticket.
    pub fn complete(&self, ticket: u64) -> io::Result<bool> {
        match self.end(ticket, true) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            ended => ended.map(|(_, whole)| whole),
        }
    }

    /// Ends the write with this ticket, as a ring does: says how many bytes of it were written, and
    /// leaves the rest to the caller.
    ///
    /// # Errors
    ///
    /// As [`complete`](Self::complete), and if it was interrupted.
    pub fn complete_once(&self, ticket: u64) -> io::Result<usize> {
        self.end(ticket, false).map(|(written, _)| written)
    }

    /// Ends a write: how much was written, and whether that was all. If not, the rest is in flight
    /// again if that is wanted.
    fn end(&self, ticket: u64, again: bool) -> io::Result<(usize, bool)> {
        let found =
            self.state().image.flights.iter().find(|flight| flight.ticket == ticket).cloned();
        let Some(flight) = found else { return Err(io::ErrorKind::NotFound.into()) };
        let span = (flight.offset as u64, flight.bytes.len());
        let result = self.call(CallKind::Complete, &flight.path, span, |state, fault| {
            state.image.flights.retain(|other| other.ticket != ticket);
            let mut inode = state.image.inodes.remove(&flight.inode).unwrap_or_default();
            let result = write(state, &mut inode, flight.offset, &flight.bytes, fault);
            state.image.inodes.insert(flight.inode, inode);
            let done = result?;
            if again && done < flight.bytes.len() {
                let bytes = Arc::new(flight.bytes[done..].to_vec());
                let offset = flight.offset + done;
                state.image.flights.push(Flight { offset, bytes, ..flight.clone() });
            }
            Ok((done, done == flight.bytes.len()))
        });
        result.inspect_err(|error| {
            let mut state = self.state();
            let stays = again && error.kind() == io::ErrorKind::Interrupted;
            // Without power, what was in flight stays so: the crash decides.
            if state.power && !stays {
                state.image.flights.retain(|other| other.ticket != ticket);
            }
        })
    }
}

impl State {
    /// How far a file that was taken out of the image may reach.
    fn room_beside(&self, inode: &Inode) -> usize {
        let Some(capacity) = self.image.capacity else { return usize::MAX };
        (capacity.saturating_sub(self.space()) as usize).max(inode.space())
    }
}

/// Writes as far as there is space and the fault lets it.
fn write(
    state: &mut State,
    inode: &mut Inode,
    offset: usize,
    bytes: &[u8],
    fault: Option<Fault>,
) -> io::Result<usize> {
    let space = state.room_beside(inode).saturating_sub(offset);
    if space == 0 && !bytes.is_empty() {
        return Err(io::ErrorKind::StorageFull.into());
    }
    let mut len = bytes.len().min(space);
    match fault {
        Some(Fault::Short) if len > 1 => len = 1 + state.random.below(len - 1),
        Some(Fault::Io) => {
            let part = state.random.below(len + 1);
            inode.write(offset, &bytes[..part]);
            return Err(io_error());
        }
        Some(Fault::Lost) => {
            inode.write_lost(offset, &bytes[..len]);
            return Ok(len);
        }
        Some(Fault::Misdirected(by)) => {
            inode.write_misdirected(offset, &bytes[..len], by);
            return Ok(len);
        }
        _ => {}
    }
    inode.write(offset, &bytes[..len]);
    Ok(len)
}
