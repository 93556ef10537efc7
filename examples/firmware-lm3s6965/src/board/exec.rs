//! Thread-mode executor that sleeps with WFI. embassy's own (`executor-thread`) sleeps with WFE, which
//! QEMU's ARM emulation treats as a no-op: one host core at 100 %. WFI really halts the emulated core.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};
use embassy_executor::{Spawner, raw};
use static_cell::StaticCell;

static PENDING: AtomicBool = AtomicBool::new(true);

/// Cycles that tasks had run for before [`WOKEN`], modulo 2³².
#[cfg(feature = "speed")]
static BUSY: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// When they began to run again.
#[cfg(feature = "speed")]
static WOKEN: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// Cycles in which tasks have run, modulo 2³², for one of them.
#[cfg(feature = "speed")]
#[allow(dead_code, reason = "only the measurement asks")]
pub fn busy() -> u32 {
    let running = (super::time::cycles() as u32).wrapping_sub(WOKEN.load(SeqCst));
    BUSY.load(SeqCst).wrapping_add(running)
}

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
        #[cfg(feature = "speed")]
        WOKEN.store(super::time::cycles() as u32, SeqCst);
        while PENDING.swap(false, SeqCst) {
            unsafe { executor.poll() };
        }
        #[cfg(feature = "speed")]
        BUSY.store(busy(), SeqCst);
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
