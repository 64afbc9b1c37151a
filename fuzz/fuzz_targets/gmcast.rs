//! See `galera_protocol::testing::fuzz`.
#![no_main]

use galera_protocol::testing::fuzz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| fuzz::gmcast(data));
