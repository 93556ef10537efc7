//! The other side: a client of the scope, generic over who calls. It is written by hand, as the
//! service is; the macro of `wslink` makes the same of an `impl` block.

use crate::{Calibration, Capture, Change, Image, SETTINGS, Settings, TRACE, Trace};
use wslink_core::Binary;
use wslink_core::client::{Caller, Subscriber, TypedCall};

/// Calls the scope through `C`: over a socket of a desktop, or a wire of a chip.
#[derive(Clone, Copy, Debug)]
pub struct ScopeClient<C>(C);

impl<C> ScopeClient<C> {
    /// A client that calls through `caller`.
    pub const fn new(caller: C) -> Self {
        Self(caller)
    }

    /// What it calls through.
    pub const fn caller(&self) -> &C {
        &self.0
    }
}

impl<C: Caller> ScopeClient<C> {
    /// So many samples, from now on.
    pub const fn capture(&self, samples: u32) -> TypedCall<'_, C, (u32,), (), Capture<C::Bytes>> {
        TypedCall::new(&self.0, "scope.capture", (samples,), ())
    }

    /// So many samples, around where the signal rises through `trigger` volts.
    pub const fn capture_at(
        &self,
        samples: u32,
        trigger: f32,
    ) -> TypedCall<'_, C, (u32, f32), (), Capture<C::Bytes>> {
        TypedCall::new(&self.0, "scope.capture", (samples, trigger), ())
    }

    /// The settings as they are now.
    pub const fn settings(&self) -> TypedCall<'_, C, (), (), Settings> {
        TypedCall::new(&self.0, "scope.settings.get", (), ())
    }

    /// Changes all given settings or none, and gives back all of them.
    pub const fn set(&self, change: Change) -> TypedCall<'_, C, (), Change, Settings> {
        TypedCall::new(&self.0, "scope.settings.set", (), change)
    }

    /// Sends an image, and gives back what has come of it.
    pub const fn firmware_update<'a>(
        &'a self,
        image: &'a [u8],
    ) -> TypedCall<'a, C, (Binary<'a>,), (), Image> {
        TypedCall::new(&self.0, "scope.firmware_update", (Binary(image),), ())
    }

    /// Looks at the signal for so many seconds.
    pub const fn calibrate(&self, seconds: f32) -> TypedCall<'_, C, (f32,), (), Calibration> {
        TypedCall::new(&self.0, "scope.calibrate", (seconds,), ())
    }
}

impl<C: Subscriber> ScopeClient<C> {
    /// Screens of samples, again and again.
    pub fn subscribe_trace(&self) -> C::Subscription<Trace<C::Bytes>> {
        self.0.subscribe(TRACE.name(), TRACE.info().policy)
    }

    /// The settings after each change, and those of now.
    pub fn subscribe_settings(&self) -> C::Subscription<Settings> {
        self.0.subscribe(SETTINGS.name(), SETTINGS.info().policy)
    }
}
