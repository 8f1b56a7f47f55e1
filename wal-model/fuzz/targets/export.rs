//! [`hostile::export`](wal_model::hostile::export) under the fuzzer.
#![no_main]

use wal_core::testing::meter::Heap;

#[global_allocator]
static HEAP: Heap = Heap;

libfuzzer_sys::fuzz_target!(|data: &[u8]| wal_model::hostile::export(data));
