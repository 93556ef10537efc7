//! Services by the macros where there is neither `std` nor an allocator.
//!
//! `cargo +nightly build -p wslink-no-std --target thumbv7m-none-eabi -Zbuild-std=core` has to
//! build it.
#![no_std]

pub mod client;

use core::cell::Cell;
use serde::{Deserialize, Serialize};
use wslink::{Attachment, Binary, Call, Cx, Publications, PublishError, RpcError, Service, Topic};

/// Bytes in flash.
pub type Flash = &'static [u8];

/// Holds what one thread alone may use, as peripherals are.
#[derive(Debug)]
pub struct Scope<T> {
    timer: T,
    gain: Cell<f32>,
}

/// How the scope waits.
pub trait Timer {
    /// Is ready after so many milliseconds.
    fn after(&self, milliseconds: u32) -> impl Future<Output = ()>;
}

/// Samples: their key on the side that attaches them, their bytes on the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace<S> {
    /// Samples in a second.
    pub rate: u32,
    /// The samples.
    pub samples: S,
}

/// Why there are no samples.
#[derive(Clone, Copy, Debug)]
pub enum ScopeError {
    /// More than there are.
    TooMany,
    /// There is no room for one more attachment.
    NoRoom,
}

impl From<ScopeError> for RpcError {
    fn from(error: ScopeError) -> Self {
        match error {
            ScopeError::TooMany => Self::invalid_param("samples", "more than 4"),
            ScopeError::NoRoom => Self::failed("no room"),
        }
    }
}

static RAMP: [u8; 4] = [0, 1, 2, 3];

#[wslink::service(blob = Flash, client = pub ScopeClient)]
impl<T: Timer> Scope<T> {
    /// A screen.
    #[topic("scope.trace", keep_latest, retained)]
    pub const TRACE: Topic<Trace<Attachment>>;

    /// A scope with a gain of 1.
    pub const fn new(timer: T) -> Self {
        Self { timer, gain: Cell::new(1.0) }
    }

    /// Samples from the start.
    #[rpc("scope.capture", deadline = "2s")]
    async fn capture(
        &self,
        cx: Cx<'_, Flash>,
        samples: u32,
        #[rpc(default)] trigger: Option<f32>,
    ) -> Result<Trace<Attachment>, ScopeError> {
        self.timer.after(if trigger.is_some() { 10 } else { 0 }).await;
        let samples = RAMP.get(..samples as usize).ok_or(ScopeError::TooMany)?;
        let samples = cx.attach(samples).map_err(|_| ScopeError::NoRoom)?;
        Ok(Trace { rate: 8, samples })
    }

    #[rpc("scope.gain")]
    fn set_gain(&self, gain: f32) -> f32 {
        self.gain.replace(gain)
    }

    #[rpc("scope.upload")]
    fn upload(&self, image: Binary<'_>, name: &str) -> (usize, usize) {
        (image.0.len(), name.len())
    }

    #[rpc("scope.rename")]
    async fn rename(&self, name: heapless::String<16>) -> heapless::String<16> {
        self.timer.after(1).await;
        name
    }

    /// Publishes a screen.
    ///
    /// # Errors
    /// If the hub is too small for it.
    pub fn show(&self, publications: Publications<'_, Flash>) -> Result<(), PublishError> {
        let trace = Trace { rate: 8, samples: Attachment::nth(0) };
        publications.publish(wslink::Audience::All, &Self::TRACE, &trace, &[&RAMP])
    }
}

/// A lamp.
#[derive(Debug, Default)]
pub struct Lamp(Cell<bool>);

#[wslink::service(blob = Flash, client = pub LampClient)]
impl Lamp {
    /// Whether the lamp was on.
    #[rpc("lamp.switch")]
    fn switch(&self, on: bool) -> bool {
        self.0.replace(on)
    }
}

/// All that the device has.
#[derive(Debug, wslink::Service)]
pub struct Device<T: Timer> {
    scope: Scope<T>,
    lamp: Lamp,
}

/// Is over at once.
#[derive(Debug)]
pub struct Now;

impl Timer for Now {
    async fn after(&self, _: u32) {}
}

/// Runs a call, as an adapter does.
///
/// # Errors
/// What the client is answered.
pub async fn run(
    device: &Device<Now>,
    call: &Call<'_>,
    cx: Cx<'_, Flash>,
) -> Result<<Device<Now> as Service>::Reply, RpcError> {
    let request = device.decode(call)?;
    device.call(cx, request).await
}
