//! embassy-time driver on SysTick: a tick is 1 ms and one interrupt.

use core::cell::{Cell, RefCell};
use core::task::Waker;
use cortex_m::peripheral::{SYST, syst::SystClkSource};
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

struct SysTickDriver {
    ticks: Mutex<Cell<u64>>,
    next: Mutex<Cell<u64>>,
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: SysTickDriver = SysTickDriver {
    ticks: Mutex::new(Cell::new(0)),
    next: Mutex::new(Cell::new(u64::MAX)),
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for SysTickDriver {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.ticks.borrow(cs).get())
    }
    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut queue = self.queue.borrow_ref_mut(cs);
            if queue.schedule_wake(at, waker) {
                // an expiry in the past is served by the next tick
                self.next.borrow(cs).set(queue.next_expiration(self.ticks.borrow(cs).get()));
            }
        })
    }
}

#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|cs| {
        let now = DRIVER.ticks.borrow(cs).get() + 1;
        DRIVER.ticks.borrow(cs).set(now);
        if now >= DRIVER.next.borrow(cs).get() {
            let next = DRIVER.queue.borrow_ref_mut(cs).next_expiration(now);
            DRIVER.next.borrow(cs).set(next);
        }
    })
}

pub fn start(syst: &mut SYST) {
    syst.set_clock_source(SystClkSource::Core);
    syst.set_reload(super::SYSCLK_HZ / TICK_HZ as u32 - 1);
    syst.clear_current();
    syst.enable_counter();
    syst.enable_interrupt();
}

/// What SysTick has counted: 50 million a second.
#[cfg(feature = "speed")]
pub fn cycles() -> u64 {
    const PER_TICK: u64 = super::SYSCLK_HZ as u64 / TICK_HZ;
    loop {
        let ticks = DRIVER.now();
        let left = SYST::get_current();
        // Unless a tick came in between.
        if DRIVER.now() == ticks {
            return ticks * PER_TICK + (PER_TICK - 1 - u64::from(left));
        }
    }
}
