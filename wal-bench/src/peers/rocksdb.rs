//! RocksDB as a log: what its C interface needs for puts and syncs, and nothing else. A crate would
//! build all of RocksDB; this links the library that the system has.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_uchar, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use super::Failure;

/// Log files kept to be written over, which is what makes its syncs cheap.
const RECYCLED: usize = 4;

// From `rocksdb/c.h` of version 7.8. Errors come as strings to be given back with `rocksdb_free`.
#[link(name = "rocksdb")]
unsafe extern "C" {
    fn rocksdb_options_create() -> *mut c_void;
    fn rocksdb_options_destroy(options: *mut c_void);
    fn rocksdb_options_set_create_if_missing(options: *mut c_void, create: c_uchar);
    fn rocksdb_options_set_recycle_log_file_num(options: *mut c_void, files: usize);
    fn rocksdb_open(
        options: *mut c_void,
        name: *const c_char,
        error: *mut *mut c_char,
    ) -> *mut c_void;
    fn rocksdb_close(db: *mut c_void);
    fn rocksdb_writeoptions_create() -> *mut c_void;
    fn rocksdb_writeoptions_destroy(options: *mut c_void);
    fn rocksdb_writeoptions_set_sync(options: *mut c_void, sync: c_uchar);
    fn rocksdb_put(
        db: *mut c_void,
        options: *const c_void,
        key: *const c_char,
        key_len: usize,
        value: *const c_char,
        value_len: usize,
        error: *mut *mut c_char,
    );
    fn rocksdb_flush_wal(db: *mut c_void, sync: c_uchar, error: *mut *mut c_char);
    fn rocksdb_free(memory: *mut c_void);
}

/// An open database.
pub(super) struct RocksDb {
    db: NonNull<c_void>,
    /// How puts are made.
    write: NonNull<c_void>,
}

// SAFETY: the documentation of RocksDB allows calls on one database from many threads at once
// without other locks, and `write` is not changed after it was made.
unsafe impl Send for RocksDb {}
// SAFETY: as above.
unsafe impl Sync for RocksDb {}

impl RocksDb {
    /// A new database in `dir`; with `sync`, each put is durable when it returns.
    pub(super) fn open(dir: &Path, sync: bool) -> Result<Self, Failure> {
        let name = CString::new(dir.as_os_str().as_bytes())?;
        // SAFETY: makes options and takes nothing.
        let options = NonNull::new(unsafe { rocksdb_options_create() }).ok_or("no memory")?;
        // SAFETY: `options` is alive until it is destroyed below.
        unsafe { rocksdb_options_set_create_if_missing(options.as_ptr(), 1) };
        // SAFETY: as above.
        unsafe { rocksdb_options_set_recycle_log_file_num(options.as_ptr(), RECYCLED) };
        let mut error = ptr::null_mut();
        // SAFETY: as above; `name` ends in a zero, and `error` is a place for a pointer.
        let db = unsafe { rocksdb_open(options.as_ptr(), name.as_ptr(), &raw mut error) };
        // SAFETY: not used again; the database has its own copy.
        unsafe { rocksdb_options_destroy(options.as_ptr()) };
        judge(error)?;
        let db = NonNull::new(db).ok_or("RocksDB gave neither a database nor an error")?;
        // SAFETY: makes options and takes nothing.
        let write = NonNull::new(unsafe { rocksdb_writeoptions_create() }).ok_or("no memory")?;
        // SAFETY: `write` is alive until this is dropped.
        unsafe { rocksdb_writeoptions_set_sync(write.as_ptr(), c_uchar::from(sync)) };
        Ok(Self { db, write })
    }

    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let mut error = ptr::null_mut();
        // SAFETY: database and options are alive; key and value are read during the call, as far as
        // their lengths say.
        unsafe {
            rocksdb_put(
                self.db.as_ptr(),
                self.write.as_ptr(),
                key.as_ptr().cast(),
                key.len(),
                value.as_ptr().cast(),
                value.len(),
                &raw mut error,
            );
        }
        judge(error)
    }

    /// Makes all puts before it durable.
    pub(super) fn sync(&self) -> Result<(), Failure> {
        let mut error = ptr::null_mut();
        // SAFETY: the database is alive, and `error` is a place for a pointer.
        unsafe { rocksdb_flush_wal(self.db.as_ptr(), 1, &raw mut error) };
        judge(error)
    }
}

impl Drop for RocksDb {
    fn drop(&mut self) {
        // SAFETY: not used again; nobody else has them.
        unsafe { rocksdb_writeoptions_destroy(self.write.as_ptr()) };
        // SAFETY: as above.
        unsafe { rocksdb_close(self.db.as_ptr()) };
    }
}

/// An error that a call has left, if it has.
fn judge(error: *mut c_char) -> Result<(), Failure> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a string of RocksDB's that ends in a zero, and stays until it is given back below.
    let message = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
    // SAFETY: RocksDB has allocated it, and it is not used again.
    unsafe { rocksdb_free(error.cast()) };
    Err(message.into())
}
