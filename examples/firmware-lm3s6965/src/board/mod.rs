//! The LM3S6965: clock, time, Ethernet, network, executor, memory figures. Nothing here knows of
//! wslink; the register names are those of its data sheet.

mod eth;
mod exec;
pub mod memory;
mod time;

pub use eth::SEGMENT;
#[cfg(feature = "speed")]
#[allow(unused_imports, reason = "only the measurement asks")]
pub use exec::busy;
pub use exec::run;

/// Prints through the debugger; by defmt where that is in use, since the two do not mix.
#[cfg(not(feature = "defmt"))]
pub use cortex_m_semihosting::hprintln as print;
#[cfg(feature = "defmt")]
pub use defmt::println as print;

#[cfg(feature = "defmt")]
use defmt_semihosting as _;
#[cfg(feature = "defmt")]
defmt::timestamp!("{=u64:ms}", embassy_time::Instant::now().as_millis());

use core::panic::PanicInfo;
use embassy_executor::Spawner;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use eth::Eth;
use static_cell::{ConstStaticCell, StaticCell};

/// Core clock after [`init`].
const SYSCLK_HZ: u32 = 50_000_000;

/// Address behind QEMU's user network, which forwards a port of the host to it.
const ADDRESS: Ipv4Cidr = Ipv4Cidr::new(Ipv4Address::new(10, 0, 2, 15), 24);
const GATEWAY: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

const SYSCTL: usize = 0x400F_E000;
const RIS: usize = SYSCTL + 0x050; // raw interrupt status, bit 6 = PLL locked
const RCC: usize = SYSCTL + 0x060;
const RCGC2: usize = SYSCTL + 0x108; // clock gates: bit 28 EMAC0, bit 30 EPHY0, bit 5 GPIOF

/// PLL at 50 MHz from the 8 MHz crystal, Ethernet clocks on, SysTick running, a guard under the
/// stack. Takes the peripherals: to be called once.
pub fn init() {
    let Some(mut peripherals) = cortex_m::Peripherals::take() else { return };
    memory::guard_stack();
    // 1. run from the raw clock while the PLL is set up
    let mut rcc = (rd(RCC) | 1 << 11) & !(1 << 22); // BYPASS=1, USESYSDIV=0
    wr(RCC, rcc);
    // 2. 8 MHz crystal (XTAL=0xE), main oscillator, PLL powered
    rcc &= !(0xF << 6 | 0x3 << 4 | 1 << 13 | 1); // XTAL, OSCSRC, PWRDN, MOSCDIS
    rcc |= 0xE << 6;
    wr(RCC, rcc);
    // 3. 200 MHz / 4 = 50 MHz
    rcc = rcc & !(0xF << 23) | 3 << 23 | 1 << 22; // SYSDIV=3, USESYSDIV
    wr(RCC, rcc);
    while rd(RIS) & 1 << 6 == 0 {}
    wr(RCC, rcc & !(1 << 11)); // BYPASS=0

    wr(RCGC2, rd(RCGC2) | 1 << 28 | 1 << 30 | 1 << 5);
    cortex_m::asm::delay(16);
    // LED pins of the Ethernet PHY (PF2, PF3), no effect in QEMU
    wr(0x4002_5420, rd(0x4002_5420) | 0xC); // GPIOF AFSEL
    wr(0x4002_551C, rd(0x4002_551C) | 0xC); // GPIOF DEN

    time::start(&mut peripherals.SYST);
}

/// Starts the network, with room for so many sockets.
pub fn network<const SOCKETS: usize>(
    spawner: Spawner,
    resources: &'static StaticCell<StackResources<SOCKETS>>,
) -> Stack<'static> {
    static ETH: ConstStaticCell<Eth> = ConstStaticCell::new(Eth::new());
    let eth = ETH.take();
    eth.init([0x02, 0, 0, 0, 0, 1]);
    let config = Config::ipv4_static(StaticConfigV4 {
        address: ADDRESS,
        gateway: Some(GATEWAY),
        dns_servers: Default::default(),
    });
    let resources = resources.init_with(StackResources::new);
    let (stack, runner) = embassy_net::new(eth, config, resources, 0x1234_5678);
    spawner.spawn(run_network(runner).unwrap());
    stack
}

#[embassy_executor::task]
async fn run_network(mut runner: Runner<'static, &'static mut Eth>) -> ! {
    runner.run().await
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    #[cfg(feature = "defmt")]
    let info = defmt::Display2Format(info);
    print!("{}", info);
    cortex_m::peripheral::SCB::sys_reset()
}

#[inline(always)]
fn rd(address: usize) -> u32 {
    unsafe { (address as *const u32).read_volatile() }
}

#[inline(always)]
fn wr(address: usize, value: u32) {
    unsafe { (address as *mut u32).write_volatile(value) }
}
