//! What a connection costs before it is lent any buffer.

use core::fmt::Write as _;
use std::sync::Arc;
use wslink_core::{Connection, Fixed, Hub, NoBlob};
use wslink_testkit::Heap;

type Device = Fixed<&'static mut [u8], &'static [u8], 4>;

/// The budget of a connection: 1 KiB without what its caller lends, the pools included.
#[test]
fn a_connection_stays_within_its_budget() {
    let device = size_of::<Connection<Device>>();
    assert!(device <= 1024, "a connection of a device takes {device} bytes");
    let heap = size_of::<Connection<Heap<Arc<[u8]>>>>();
    assert!(heap <= 1024, "a connection on the heap takes {heap} bytes");
}

#[test]
fn what_connections_and_hubs_take() {
    let mut table = String::new();
    macro_rules! row {
        ($($memory:ty),* $(,)?) => { $(
            writeln!(
                table,
                "{:>5} {:>5}  {}",
                size_of::<Connection<$memory>>(),
                size_of::<Hub<$memory>>(),
                stringify!($memory),
            )
            .expect("a string takes all");
        )* };
    }
    row!(
        Fixed<&'static mut [u8], &'static [u8], 1, 1, 1, 1>,
        Fixed<&'static mut [u8], &'static [u8], 2, 1, 1, 2>,
        Fixed<&'static mut [u8], NoBlob, 1>,
        Fixed<&'static mut [u8], NoBlob, 4>,
        Device,
        Fixed<&'static mut [u8], &'static [u8], 8>,
        Fixed<&'static mut [u8], &'static [u8], 16>,
        Fixed<&'static mut [u8], Arc<[u8]>, 4>,
        Heap<NoBlob>,
        Heap<Arc<[u8]>>,
    );
    let table = format!("connection, hub (64-bit)\n{table}");
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!(table);
    });
}
