//! embassy-net driver for the LM3S6965 Ethernet MAC (PIO FIFOs, no DMA).
use core::task::Context;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use lm3s6965::{Interrupt, interrupt};

use super::{rd, wr};

const MAC: usize = 0x4004_8000;
const RIS: usize = MAC; // read: status, write 1: acknowledge
const IM: usize = MAC + 0x04;
const RCTL: usize = MAC + 0x08; // bit 0 RXEN, 1 AMUL, 2 PRMS, 3 BADCRC, 4 RSTFIFO
const TCTL: usize = MAC + 0x0C; // bit 0 TXEN, 1 PADEN, 2 CRC, 4 DUPLEX
const DATA: usize = MAC + 0x10;
const IA0: usize = MAC + 0x14;
const IA1: usize = MAC + 0x18;
const NP: usize = MAC + 0x34; // packets in the receive FIFO
const TR: usize = MAC + 0x38; // bit 0 NEWTX: start / transmission in progress

const INT_RX: u32 = 1;
const INT_TXER: u32 = 1 << 1;
const INT_TXEMP: u32 = 1 << 2;
const INT_FOV: u32 = 1 << 3;

/// Bytes of a TCP segment, which peers are told: the least that all of them know. With the usual
/// 1460 each socket would take 1848 bytes more.
pub const SEGMENT: usize = 536;

/// An Ethernet frame without FCS, with the headers of Ethernet, IP and TCP. Peers are told.
const MTU: usize = 14 + 20 + 20 + SEGMENT;

static WAKER: AtomicWaker = AtomicWaker::new();

#[interrupt]
fn ETHERNET() {
    wr(RIS, rd(RIS)); // acknowledge everything pending
    WAKER.wake();
}

pub struct Eth {
    mac: [u8; 6],
    // Two buffers: smoltcp may build a reply through the TxToken while it still holds the RxToken's bytes.
    rx: [u8; MTU],
    tx: [u8; MTU],
}

impl Eth {
    /// All zero, so that a static lands in .bss and costs no flash.
    pub const fn new() -> Self {
        Self { mac: [0; 6], rx: [0; MTU], tx: [0; MTU] }
    }

    pub fn init(&mut self, m: [u8; 6]) {
        self.mac = m;
        wr(IA0, u32::from_le_bytes([m[0], m[1], m[2], m[3]]));
        wr(IA1, u32::from_le_bytes([m[4], m[5], 0, 0]));
        wr(RCTL, 1 << 4); // reset the FIFO
        wr(TCTL, 1 | 1 << 1 | 1 << 2 | 1 << 4); // enable, pad, append CRC, full duplex
        wr(RCTL, 1 | 1 << 1 | 1 << 3); // enable, multicast, drop bad CRC
        wr(RIS, 0x7F);
        wr(IM, INT_RX | INT_TXER | INT_TXEMP | INT_FOV);
        unsafe { cortex_m::peripheral::NVIC::unmask(Interrupt::ETHERNET) };
    }
}

pub struct Rx<'a>(&'a mut [u8; MTU]);
pub struct Tx<'a>(&'a mut [u8; MTU]);

impl RxToken for Rx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        // First word: total length (2 length bytes + frame + 4 CRC) in the low half,
        // the frame's first two bytes in the high half.
        let w = rd(DATA);
        let total = (w & 0xFFFF) as usize;
        let len = total.saturating_sub(6);
        let [_, _, a, b] = w.to_le_bytes();
        self.0[0] = a;
        self.0[1] = b;
        // The rest of the frame and the CRC, in words; what does not fit (a VLAN tag, at most) is drained.
        let mut words = total.saturating_sub(4).div_ceil(4);
        let room = self.0[2..].as_chunks_mut::<4>().0;
        for c in room.iter_mut().take(words) {
            *c = rd(DATA).to_le_bytes();
            words -= 1;
        }
        for _ in 0..words {
            rd(DATA);
        }
        f(&mut self.0[..len.min(MTU)])
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let r = f(&mut self.0[..len]);
        let frame = &self.0[..len];
        // First word: payload length (without the 14 header bytes), then the frame's first two bytes.
        let n = (len - 14) as u32;
        wr(DATA, n & 0xFFFF | (frame[0] as u32) << 16 | (frame[1] as u32) << 24);
        let (words, rest) = frame[2..].as_chunks::<4>();
        for c in words {
            wr(DATA, u32::from_le_bytes(*c));
        }
        if !rest.is_empty() {
            let mut w = [0; 4];
            w[..rest.len()].copy_from_slice(rest);
            wr(DATA, u32::from_le_bytes(w));
        }
        wr(TR, 1);
        r
    }
}

impl Driver for Eth {
    type RxToken<'a> = Rx<'a>;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, cx: &mut Context) -> Option<(Rx<'_>, Tx<'_>)> {
        WAKER.register(cx.waker());
        if rd(NP) & 0x3F == 0 || rd(TR) & 1 != 0 {
            return None;
        }
        Some((Rx(&mut self.rx), Tx(&mut self.tx)))
    }
    fn transmit(&mut self, cx: &mut Context) -> Option<Tx<'_>> {
        WAKER.register(cx.waker());
        (rd(TR) & 1 == 0).then_some(Tx(&mut self.tx))
    }
    fn link_state(&mut self, _: &mut Context) -> LinkState {
        LinkState::Up // the PHY's MII registers are not modelled by QEMU
    }
    fn capabilities(&self) -> Capabilities {
        let mut c = Capabilities::default();
        c.max_transmission_unit = MTU;
        c.max_burst_size = Some(1);
        c
    }
    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}
