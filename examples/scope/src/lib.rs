//! An oscilloscope with a signal generator, as a wslink service: captures and uploads, settings
//! with ranges, a running publication, and a slow call that others overtake.
//!
//! The same source runs on a desktop and on a microcontroller. It knows no transport and no
//! executor; the only thing it asks for is a [`Timer`].
#![no_std]

#[cfg(test)]
extern crate std;

mod client;
mod settings;
mod signal;

pub use client::ScopeClient;
pub use settings::{Change, Settings, Waveform};
pub use signal::Signal;

use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::time::Duration;
use critical_section::Mutex;
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use wslink_core::{
    Attachment, Audience, Call, Cx, MethodInfo, ParamInfo, Policy, Publications, PublishError,
    RpcError, Service, Topic, TopicInfo, code,
};

/// The longest capture; at 4 bytes for each sample far more than a device's memory.
pub const MAX_SAMPLES: u32 = 2_000_000;

/// Samples of a [`Trace`], one screen.
pub const TRACE_SAMPLES: u32 = 500;

/// The running publication; see [`Scope::run`].
pub const TRACE: Topic<Trace> = Topic::new("scope.trace")
    .with_doc(
        "A screen of 500 samples in volts, little-endian f32, again and again; n counts them.",
    )
    .with_type("{n: u32, rate: f64, samples: bytes}")
    .with_policy(Policy::KeepLatest);

/// The new settings, published whenever they were set; who joins later is sent the last ones.
pub const SETTINGS: Topic<Settings> = Topic::new("scope.settings")
    .with_doc("The settings after a change; who joins is sent the last ones.")
    .with_type(Settings::TYPE)
    .with_policy(Policy::KeepLatest)
    .retained();

/// How the scope waits. An executor's own timer does it in one line.
pub trait Timer {
    /// Is ready after `duration`.
    fn after(&self, duration: Duration) -> impl Future<Output = ()>;
}

/// The oscilloscope.
#[derive(Debug)]
pub struct Scope<T> {
    timer: T,
    /// Six values that are read and set together, by threads of a desktop as well as on a chip. A
    /// critical section around a copy of 48 bytes is all that takes, and both have one.
    settings: Mutex<Cell<Settings>>,
}

impl<T: Timer> Scope<T> {
    /// A scope with the settings of [`Settings::default`].
    pub fn new(timer: T) -> Self {
        Self { timer, settings: Mutex::new(Cell::new(Settings::default())) }
    }

    /// The settings as they are now.
    pub fn settings(&self) -> Settings {
        critical_section::with(|token| self.settings.borrow(token).get())
    }

    /// Samples without end: publishes a [`Trace`] each `period`. Run it beside the server.
    ///
    /// # Errors
    /// If the hub is too small for a trace.
    pub async fn run(
        &self,
        publications: Publications<'_, Signal>,
        period: Duration,
    ) -> Result<Infallible, PublishError> {
        let (mut n, mut phase) = (0_u32, 0);
        loop {
            self.timer.after(period).await;
            let settings = self.settings();
            let signal = Signal::new(&settings, TRACE_SAMPLES).starting(phase, n);
            let trace = Trace { n, rate: settings.rate(), samples: Attachment::nth(0) };
            publications.publish(Audience::All, &TRACE, &trace, &[signal])?;
            n = n.wrapping_add(1);
            phase = signal.end();
        }
    }

    fn capture(
        &self,
        cx: Cx<'_, Signal>,
        samples: u32,
        trigger: Option<f32>,
    ) -> Result<Capture, RpcError> {
        let settings = self.settings();
        let mut signal = Signal::new(&settings, samples);
        // What came before the trigger fills the first of ten divisions.
        let index = trigger.map(|_| samples / 10);
        if let (Some(level), Some(index)) = (trigger, index) {
            signal = signal.triggered(level, index).ok_or_else(|| {
                RpcError::failed("The signal does not rise through the trigger's level")
            })?;
        }
        Ok(Capture { rate: settings.rate(), trigger: index, samples: cx.attach(signal)? })
    }

    fn set(&self, cx: Cx<'_, Signal>, change: Change) -> Result<Settings, RpcError> {
        let settings = critical_section::with(|token| {
            let cell = self.settings.borrow(token);
            cell.set(change.apply(cell.get()));
            cell.get()
        });
        cx.publish(&SETTINGS, &settings).map_err(RpcError::failed)?;
        Ok(settings)
    }

    /// Looks at its own signal for a while: what is in the middle is the offset, and how far it
    /// swings is the gain.
    #[expect(clippy::manual_async_fn, reason = "that keeps its arguments twice, in each call")]
    fn calibrate(
        &self,
        cx: Cx<'_, Signal>,
        duration: Duration,
    ) -> impl Future<Output = Calibration> {
        async move {
            const STEPS: u32 = 10;
            const SAMPLES: u32 = 100;
            let (mut sum, mut low, mut high) = (0.0, f32::MAX, f32::MIN);
            let mut phase = 0;
            let settings = self.settings();
            for step in 0..STEPS {
                self.timer.after(duration / STEPS).await;
                let signal = Signal::new(&settings, SAMPLES).starting(phase, step);
                phase = signal.end();
                for sample in (0..SAMPLES).map(|index| signal.sample(index)) {
                    sum += sample;
                    low = sample.min(low);
                    high = sample.max(high);
                }
                cx.progress(u64::from(step) + 1, Some(STEPS.into()));
            }
            Calibration {
                offset: sum / (STEPS * SAMPLES) as f32,
                gain: (high - low) / (2.0 * settings.amplitude as f32),
            }
        }
    }
}

/// Takes an image as it comes: it need not fit any memory. A board with two halves of flash would
/// write it to the other one.
#[expect(clippy::manual_async_fn, reason = "that keeps its arguments twice, in each call")]
fn update(cx: Cx<'_, Signal>) -> impl Future<Output = Result<Image, RpcError>> {
    async move {
        let mut upload = cx.upload()?;
        let (mut length, mut hash) = (0, Sha256::new());
        // Each call of a device has room for it.
        let mut piece = [0; 32];
        loop {
            let count = upload.read(&mut piece).await;
            if count == 0 {
                return Ok(Image { length, digest: Digest(hash.finalize().into()) });
            }
            hash.update(&piece[..count]);
            // 4 GiB are more than any client can send.
            length = length.wrapping_add(count as u32);
        }
    }
}

impl<T: Timer> Service for Scope<T> {
    type Request = Request;
    type Reply = Reply;
    type Blob = Signal;

    const METHODS: &'static [MethodInfo] = &[
        MethodInfo::new("scope.capture")
            .with_params(&[
                ParamInfo::required("samples").with_type("u32, 1 to 2000000"),
                ParamInfo::optional("trigger").with_type("f32, V"),
            ])
            .with_returns("{rate: f64, trigger: u32 | null, samples: bytes}")
            .with_doc("Samples in volts, little-endian f32; with a trigger, around where the signal rises through that many volts."),
        MethodInfo::new("scope.settings.get")
            .with_returns(Settings::TYPE)
            .with_doc("The settings: seconds in a division of the screen, volts, hertz."),
        MethodInfo::new("scope.settings.set")
            .with_params(Change::PARAMS)
            .with_returns(Settings::TYPE)
            .with_doc("Changes all given settings or none, and gives back all of them; all clients are told."),
        MethodInfo::new("scope.firmware_update")
            .with_upload(&[ParamInfo::required("image").with_type("bytes")])
            .with_returns("{length: u32, digest: string}")
            .with_doc("Takes an image of any length, piece by piece, and gives back its length and SHA-256 digest in hexadecimal."),
        MethodInfo::new("scope.calibrate")
            .with_params(&[ParamInfo::optional("seconds").with_type("f32, 0 to 60 s")])
            .with_returns("{offset: f32, gain: f32}")
            .with_doc("Looks at the signal for a second, or as long as told, in ten steps: the volts in its middle, and its swing in parts of what is set."),
    ];

    const TOPICS: &'static [TopicInfo] = &[TRACE.info(), SETTINGS.info()];

    fn decode(&self, call: &Call<'_>) -> Result<Request, RpcError> {
        let params = call.params()?;
        match call.method.name {
            "scope.capture" => {
                let samples = params.required(0)?;
                if !(1..=MAX_SAMPLES).contains(&samples) {
                    return Err(RpcError::invalid_param("samples", "not in 1 to 2000000"));
                }
                Ok(Request::Capture { samples, trigger: params.optional(1)? })
            }
            "scope.settings.get" => Ok(Request::Settings),
            "scope.settings.set" => Ok(Request::Set(Change::decode(&params)?)),
            "scope.firmware_update" => Ok(Request::FirmwareUpdate),
            "scope.calibrate" => {
                let seconds = params.optional(0)?.unwrap_or(1.0_f32);
                if !(0.0..=60.0).contains(&seconds) {
                    return Err(RpcError::invalid_param("seconds", "not in 0 to 60 s"));
                }
                Ok(Request::Calibrate(Duration::from_millis((seconds * 1000.0) as u64)))
            }
            _ => Err(RpcError::new(code::METHOD_NOT_FOUND, "Unregistered method called")),
        }
    }

    async fn call(&self, cx: Cx<'_, Signal>, request: Request) -> Result<Reply, RpcError> {
        Ok(match request {
            Request::Capture { samples, trigger } => {
                Reply::Capture(self.capture(cx, samples, trigger)?)
            }
            Request::Settings => Reply::Settings(self.settings()),
            Request::Set(change) => Reply::Settings(self.set(cx, change)?),
            Request::FirmwareUpdate => Reply::Image(update(cx).await?),
            Request::Calibrate(duration) => Reply::Calibration(self.calibrate(cx, duration).await),
        })
    }
}

/// A call, decoded and checked.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Request {
    /// `scope.capture`
    Capture {
        /// How many.
        samples: u32,
        /// The level, in volts.
        trigger: Option<f32>,
    },
    /// `scope.settings.get`
    Settings,
    /// `scope.settings.set`
    Set(Change),
    /// `scope.firmware_update`
    FirmwareUpdate,
    /// `scope.calibrate`
    Calibrate(Duration),
}

/// What a call gives back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Reply {
    /// `scope.capture`
    Capture(Capture),
    /// `scope.settings.get` and `scope.settings.set`
    Settings(Settings),
    /// `scope.firmware_update`
    Image(Image),
    /// `scope.calibrate`
    Calibration(Calibration),
}

/// Samples that were asked for. `S` is their key where they are attached, and a client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capture<S = Attachment> {
    /// Samples in a second.
    pub rate: f64,
    /// Which sample is the first at or above the trigger's level.
    pub trigger: Option<u32>,
    /// Little-endian `f32`, in volts.
    pub samples: S,
}

/// A screen of samples; each goes on where the one before ended. `S` is as in [`Capture`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace<S = Attachment> {
    /// Counts the traces, so that a gap can be seen.
    pub n: u32,
    /// Samples in a second.
    pub rate: f64,
    /// Little-endian `f32`, in volts.
    pub samples: S,
}

/// What came of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Bytes.
    pub length: u32,
    /// SHA-256.
    pub digest: Digest,
}

/// A SHA-256 digest; hexadecimal when serialized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hexadecimal;

        impl Visitor<'_> for Hexadecimal {
            type Value = Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
                let wrong = || E::invalid_value(Unexpected::Str(text), &self);
                let (pairs, rest) = text.as_bytes().as_chunks::<2>();
                if pairs.len() != 32 || !rest.is_empty() {
                    return Err(wrong());
                }
                let digit = |byte: u8| char::from(byte).to_digit(16).ok_or_else(wrong);
                let mut digest = [0; 32];
                for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
                    *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
                }
                Ok(Digest(digest))
            }
        }

        deserializer.deserialize_str(Hexadecimal)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        serializer.serialize_str(str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
    }
}

/// What a calibration found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Volts in the middle.
    pub offset: f32,
    /// The swing, in parts of what is set.
    pub gain: f32,
}
