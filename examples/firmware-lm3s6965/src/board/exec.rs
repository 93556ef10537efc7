//! Thread-mode executor that sleeps with WFI. embassy's own (`executor-thread`) sleeps with WFE, which
//! QEMU's ARM emulation treats as a no-op: one host core at 100 %. WFI really halts the emulated core.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

static PENDING: AtomicBool = AtomicBool::new(true);

#[unsafe(export_name = "__pender")]
fn pender(_: *mut ()) {
    PENDING.store(true, SeqCst);
}

/// Runs tasks without end, first those that `init` spawns.
pub fn run(init: impl FnOnce(Spawner)) -> ! {
    static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();
    let executor: &'static raw::Executor = EXECUTOR.init(raw::Executor::new(null_mut()));
    start(executor.spawner(), init);
    loop {
        while PENDING.swap(false, SeqCst) {
            unsafe { executor.poll() };
        }
        // Closed against a wake between the test and the sleep: WFI returns on a pending interrupt
        // even with PRIMASK set.
        cortex_m::interrupt::disable();
        if !PENDING.load(SeqCst) {
            cortex_m::asm::wfi();
        }
        unsafe { cortex_m::interrupt::enable() };
    }
}

/// Not inlined, or what it makes on the stack would stay there.
#[inline(never)]
fn start(spawner: Spawner, init: impl FnOnce(Spawner)) {
    init(spawner);
}
