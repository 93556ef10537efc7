//! What can be set, and within which ranges.

use core::ops::RangeInclusive;
use serde::{Deserialize, Serialize};
use wslink_core::{ParamInfo, Params, RpcError};

/// Samples in one division of the screen, which is ten divisions wide.
const DIVISION: f64 = 50.0;

/// How the generator and the screen are set. Clients are given back exactly what they set, hence the
/// `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Seconds in one division of the screen.
    pub timebase: f64,
    /// Volts from the middle to the peak.
    pub amplitude: f64,
    /// Hertz.
    pub frequency: f64,
    /// Volts in the middle.
    pub offset: f64,
    /// The form of a period.
    pub waveform: Waveform,
    /// Volts of noise that are added.
    pub noise: f64,
}

impl Settings {
    /// How clients are told of them in a description.
    pub(crate) const TYPE: &'static str = "{timebase: f64, amplitude: f64, frequency: f64, \
        offset: f64, waveform: 'sine' | 'square' | 'triangle' | 'noise', noise: f64}";

    /// Samples in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        DIVISION / self.timebase
    }
}

impl Default for Settings {
    /// Five periods of a slightly noisy sine on the screen.
    fn default() -> Self {
        Self {
            timebase: 0.000_5,
            amplitude: 1.0,
            frequency: 1000.0,
            offset: 0.0,
            waveform: Waveform::Sine,
            noise: 0.02,
        }
    }
}

/// The form of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Waveform {
    /// A sine.
    Sine,
    /// Up in the first half, down in the second.
    Square,
    /// Straight up and down.
    Triangle,
    /// White noise instead of a period.
    Noise,
}

impl Waveform {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sine, Self::Square, Self::Triangle, Self::Noise];

    /// The name that clients use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sine => "sine",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Noise => "noise",
        }
    }
}

/// A wanted change of the settings; what is `None` stays as it is. A client sends it as keyword
/// arguments, and the service checks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Change {
    /// See [`Settings::timebase`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timebase: Option<f64>,
    /// See [`Settings::amplitude`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amplitude: Option<f64>,
    /// See [`Settings::frequency`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frequency: Option<f64>,
    /// See [`Settings::offset`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<f64>,
    /// See [`Settings::waveform`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waveform: Option<Waveform>,
    /// See [`Settings::noise`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

impl Change {
    /// The parameters from which a change is read.
    pub(crate) const PARAMS: &'static [ParamInfo] = &[
        ParamInfo::optional("timebase").with_type("f64, 0.00001 to 1 s"),
        ParamInfo::optional("amplitude").with_type("f64, 0.01 to 10 V"),
        ParamInfo::optional("frequency").with_type("f64, 0.1 to 1000000 Hz"),
        ParamInfo::optional("offset").with_type("f64, -10 to 10 V"),
        ParamInfo::optional("waveform").with_type("'sine' | 'square' | 'triangle' | 'noise'"),
        ParamInfo::optional("noise").with_type("f64, 0 to 10 V"),
    ];

    /// Reads a change; nothing of it is taken if a part is wrong.
    pub(crate) fn decode(params: &Params<'_>) -> Result<Self, RpcError> {
        Ok(Self {
            timebase: number(params, 0, 1e-5..=1.0)?,
            amplitude: number(params, 1, 0.01..=10.0)?,
            frequency: number(params, 2, 0.1..=1e6)?,
            offset: number(params, 3, -10.0..=10.0)?,
            waveform: waveform(params, 4)?,
            noise: number(params, 5, 0.0..=10.0)?,
        })
    }

    /// The settings after the change.
    #[must_use]
    pub fn apply(&self, settings: Settings) -> Settings {
        Settings {
            timebase: self.timebase.unwrap_or(settings.timebase),
            amplitude: self.amplitude.unwrap_or(settings.amplitude),
            frequency: self.frequency.unwrap_or(settings.frequency),
            offset: self.offset.unwrap_or(settings.offset),
            waveform: self.waveform.unwrap_or(settings.waveform),
            noise: self.noise.unwrap_or(settings.noise),
        }
    }
}

/// The range is said in the words of the parameter's type: formatting a float would cost a device
/// several KB of flash.
fn number(
    params: &Params<'_>,
    index: usize,
    range: RangeInclusive<f64>,
) -> Result<Option<f64>, RpcError> {
    match params.optional(index)? {
        Some(value) if !range.contains(&value) => {
            let ParamInfo { name, ty, .. } = Change::PARAMS[index];
            let words = ty.strip_prefix("f64, ").unwrap_or(ty);
            Err(RpcError::invalid_param(name, format_args!("not in {words}")))
        }
        value => Ok(value),
    }
}

fn waveform(params: &Params<'_>, index: usize) -> Result<Option<Waveform>, RpcError> {
    let Some(name) = params.optional::<&str>(index)? else { return Ok(None) };
    let known = Waveform::ALL.into_iter().find(|waveform| waveform.name() == name);
    known.map(Some).ok_or_else(|| {
        RpcError::invalid_param("waveform", "not one of sine, square, triangle, noise")
    })
}
