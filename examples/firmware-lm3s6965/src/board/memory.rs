//! Memory figures at run time, and a guard under the stack.

unsafe extern "C" {
    /// Top of the stack.
    static mut _stack_start: u32;
    /// Its bottom, the end of what is static.
    static mut _stack_end: u32;
    static mut __sdata: u32;
}

/// How much memory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// `.data`, `.bss` and `.uninit`.
    pub statics: usize,
    pub stack_size: usize,
    /// The most that it has ever been; by the paint that is left.
    pub stack_used: usize,
}

/// How much memory is used now.
pub fn memory() -> Memory {
    let (top, bottom, data) = (
        &raw const _stack_start as usize,
        &raw const _stack_end as usize,
        &raw const __sdata as usize,
    );
    let paint = cortex_m_rt::STACK_PAINT_VALUE;
    let mut lowest = bottom;
    while lowest < top && unsafe { (lowest as *const u32).read_volatile() } == paint {
        lowest += 4;
    }
    Memory { statics: bottom - data, stack_size: top - bottom, stack_used: top - lowest }
}

/// A read-only MPU region at the stack's lower end: an overflow is a fault and does not run into
/// what is static. (Read-only and not without any access, so that [`memory`] may look there.) QEMU
/// ignores accesses outside of its memories, so nothing else would stop it.
pub fn guard_stack() {
    let base = (&raw const _stack_end as usize).next_multiple_of(1024); // wider than any frame
    let w = |address: usize, value: usize| unsafe { (address as *mut usize).write_volatile(value) };
    w(0xE000_ED98, 7); // MPU_RNR: the highest-numbered region wins
    w(0xE000_ED9C, base); // MPU_RBAR
    w(0xE000_EDA0, 6 << 24 | 9 << 1 | 1); // MPU_RASR: read-only, 2^(9+1) = 1024 bytes, enabled
    w(0xE000_ED94, 1 << 2 | 1); // MPU_CTRL: background map for privileged code, on
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}
