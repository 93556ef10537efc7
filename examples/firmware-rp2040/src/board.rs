//! The W5500-EVB-Pico: an RP2040, and a W5500 at its SPI that passes Ethernet frames. Nothing here
//! knows of wslink but [`entropy`], which returns its type.

use core::panic::PanicInfo;
use embassy_executor::Spawner;
use embassy_net::{Config, Runner, Stack, StackResources};
use embassy_net_wiznet::chip::W5500;
use embassy_net_wiznet::{Device, State};
use embassy_rp::clocks::RoscRng;
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{DMA_CH0, DMA_CH1, SPI0};
use embassy_rp::spi::{self, Async, Spi};
use embassy_rp::{bind_interrupts, dma};
use embassy_time::Delay;
use embedded_hal_bus::spi::ExclusiveDevice;
use static_cell::StaticCell;
use wslink_core::Entropy;

/// Bytes of a TCP segment over Ethernet.
pub const SEGMENT: usize = 1460;

/// An address that is administered locally: each device on one network needs another.
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

bind_interrupts!(struct Irqs {
    DMA_IRQ_0 => dma::InterruptHandler<DMA_CH0>, dma::InterruptHandler<DMA_CH1>;
});

type Bus = ExclusiveDevice<Spi<'static, SPI0, Async>, Output<'static>, Delay>;
type Ethernet = embassy_net_wiznet::Runner<'static, W5500, Bus, Input<'static>, Output<'static>>;

/// Starts chip and network, with room for so many sockets; its address comes by DHCP. To be called
/// once.
pub async fn network<const SOCKETS: usize>(
    spawner: Spawner,
    resources: &'static StaticCell<StackResources<SOCKETS>>,
) -> Stack<'static> {
    // Frames that wait, in and out.
    static STATE: StaticCell<State<4, 4>> = StaticCell::new();

    let p = embassy_rp::init(embassy_rp::config::Config::default());
    let mut config = spi::Config::default();
    config.frequency = 50_000_000;
    let spi = Spi::new(p.SPI0, p.PIN_18, p.PIN_19, p.PIN_16, p.DMA_CH0, p.DMA_CH1, Irqs, config);
    let select = Output::new(p.PIN_17, Level::High);
    let interrupt = Input::new(p.PIN_21, Pull::Up);
    let reset = Output::new(p.PIN_20, Level::High);

    let Ok(bus) = ExclusiveDevice::new(spi, select, Delay);
    let state = STATE.init_with(State::new);
    let (device, ethernet) =
        embassy_net_wiznet::new(MAC, state, bus, interrupt, reset).await.unwrap();
    spawner.spawn(run_ethernet(ethernet).unwrap());

    let resources = resources.init_with(StackResources::new);
    let seed = RoscRng.next_u64();
    let (stack, runner) =
        embassy_net::new(device, Config::dhcpv4(Default::default()), resources, seed);
    spawner.spawn(run_network(runner).unwrap());
    stack
}

/// From the chip's ring oscillator.
pub fn entropy() -> Entropy {
    let mut bytes = [0; 16];
    RoscRng.fill_bytes(&mut bytes);
    Entropy(bytes)
}

#[embassy_executor::task]
async fn run_ethernet(ethernet: Ethernet) -> ! {
    ethernet.run().await
}

#[embassy_executor::task]
async fn run_network(mut runner: Runner<'static, Device<'static>>) -> ! {
    runner.run().await
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    cortex_m::peripheral::SCB::sys_reset()
}
