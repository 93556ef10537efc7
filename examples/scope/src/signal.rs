//! The signal generator: direct digital synthesis, in integers but for the last step.
//!
//! The phase is a `u32` that wraps once a period, so the value of any sample is known without the
//! ones before it, and is the same on a desktop and on a chip without a floating-point unit.

use crate::settings::{Settings, Waveform};
use wslink_core::Blob;

/// 1.0 of a waveform: its values are fixed-point numbers with 30 bits behind the point.
const ONE: i32 = 1 << 30;

/// Samples of the generator that were never in memory: each is computed when it is read.
///
/// A blob of little-endian `f32`, 4 bytes for each sample, in volts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Signal {
    waveform: Waveform,
    /// Phase of the first sample; `1 << 32` is a full turn.
    phase: u32,
    /// From one sample to the next.
    step: u32,
    /// Tells the noise of this signal from that of others.
    seed: u32,
    samples: u32,
    /// Volts for one unit of a fixed-point number.
    gain: f32,
    noise: f32,
    offset: f32,
}

impl Signal {
    /// The first `samples` samples that the generator makes with `settings`.
    #[must_use]
    pub fn new(settings: &Settings, samples: u32) -> Self {
        let turns = settings.frequency / settings.rate();
        Self {
            waveform: settings.waveform,
            phase: 0,
            // Whole turns do not show in samples, as with every oscilloscope.
            step: ((turns - f64::from(turns as u32)) * (1_u64 << 32) as f64) as u32,
            seed: 0,
            samples,
            gain: settings.amplitude as f32 / ONE as f32,
            noise: settings.noise as f32 / ONE as f32,
            offset: settings.offset as f32,
        }
    }

    /// The same signal from another phase on (`1 << 32` is a full turn), with the noise of `seed`.
    #[must_use]
    pub const fn starting(self, phase: u32, seed: u32) -> Self {
        Self { phase, seed, ..self }
    }

    /// The same signal, so shifted that it rises through `level` volts at sample `index`, noise
    /// not counted; `None` if it never does.
    #[must_use]
    pub fn triggered(self, level: f32, index: u32) -> Option<Self> {
        let clean = Self { noise: 0.0, ..self };
        // All waveforms but noise rise from the last quarter of the turn to the first.
        let (mut below, mut above) = (-ONE, ONE);
        let rises = clean.volts(below as u32, 0) < level && level <= clean.volts(above as u32, 0);
        if self.waveform == Waveform::Noise || !rises {
            return None;
        }
        while below + 1 < above {
            let middle = below.midpoint(above);
            if clean.volts(middle as u32, 0) < level {
                below = middle;
            } else {
                above = middle;
            }
        }
        Some(Self { phase: (above as u32).wrapping_sub(self.step.wrapping_mul(index)), ..self })
    }

    /// The phase of the sample that would come next.
    #[must_use]
    pub const fn end(&self) -> u32 {
        self.phase.wrapping_add(self.step.wrapping_mul(self.samples))
    }

    /// Sample `index`, in volts.
    #[must_use]
    pub fn sample(&self, index: u32) -> f32 {
        self.volts(self.phase.wrapping_add(self.step.wrapping_mul(index)), index)
    }

    fn volts(&self, phase: u32, index: u32) -> f32 {
        let value = match self.waveform {
            Waveform::Sine => sine(phase),
            Waveform::Square => square(phase),
            Waveform::Triangle => triangle(phase),
            Waveform::Noise => noise(!self.seed, index),
        };
        self.scale(value, index)
    }

    fn scale(&self, value: i32, index: u32) -> f32 {
        let clean = self.offset + value as f32 * self.gain;
        if self.noise == 0.0 { clean } else { clean + noise(self.seed, index) as f32 * self.noise }
    }

    fn fill(&self, into: &mut [[u8; 4]], from: u32, value: impl Fn(u32, u32) -> i32) {
        let mut phase = self.phase.wrapping_add(self.step.wrapping_mul(from));
        for (sample, index) in into.iter_mut().zip(from..) {
            *sample = self.scale(value(phase, index), index).to_le_bytes();
            phase = phase.wrapping_add(self.step);
        }
    }
}

impl Blob for Signal {
    fn len(&self) -> u64 {
        u64::from(self.samples) * 4
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let rest = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = rest.min(into.len());
        let (into, _) = into.split_at_mut(count);
        // Never cut: at the end of the samples nothing is written.
        let mut index = (offset / 4) as u32;
        let cut = (offset % 4) as usize;
        let (front, whole) = into.split_at_mut(((4 - cut) % 4).min(count));
        if !front.is_empty() {
            let bytes = self.sample(index).to_le_bytes();
            front.copy_from_slice(&bytes[cut..cut + front.len()]);
            index += 1;
        }
        let (whole, back) = whole.as_chunks_mut();
        // One loop for each waveform: that is several times as fast as asking in each round.
        match self.waveform {
            Waveform::Sine => self.fill(whole, index, |phase, _| sine(phase)),
            Waveform::Square => self.fill(whole, index, |phase, _| square(phase)),
            Waveform::Triangle => self.fill(whole, index, |phase, _| triangle(phase)),
            Waveform::Noise => self.fill(whole, index, |_, index| noise(!self.seed, index)),
        }
        index += whole.len() as u32;
        if !back.is_empty() {
            let bytes = self.sample(index).to_le_bytes();
            back.copy_from_slice(&bytes[..back.len()]);
        }
        count
    }
}

/// 1 in the first half of a turn, -1 in the second.
const fn square(phase: u32) -> i32 {
    if phase >> 31 == 0 { ONE } else { -ONE }
}

/// From 0 up to 1 in the first quarter of a turn, down to -1 at three quarters, back to 0.
const fn triangle(phase: u32) -> i32 {
    let turned = phase as i32;
    // The second and third quarter are the mirror of the first and fourth.
    if turned ^ (turned << 1) < 0 { i32::MIN.wrapping_sub(turned) } else { turned }
}

/// A polynomial of the seventh degree over the triangle, exact at its tips, elsewhere to within
/// 7e-7.
const fn sine(phase: u32) -> i32 {
    /// Halves the scale of `a` when `b` has 31 bits behind the point.
    const fn times(a: u32, b: u32) -> u32 {
        ((a as u64 * b as u64) >> 32) as u32
    }
    let triangle = triangle(phase);
    let x = triangle.unsigned_abs() << 1;
    let square = times(x, x) << 1;
    let mut sum = 85_274_807 - times(4_641_343 << 1, square);
    sum = 693_514_909 - times(sum << 1, square);
    sum = 1_686_623_269 - times(sum << 1, square);
    let value = times(sum << 1, x) as i32;
    if triangle < 0 { -value } else { value }
}

/// From -1 to 1, evenly: the hash of an index ("lowbias32" of Chris Wellons, public domain).
const fn noise(seed: u32, index: u32) -> i32 {
    let mut x = index.wrapping_add(seed.wrapping_mul(0x9e37_79b9));
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    (x ^ (x >> 16)) as i32 >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn settings(waveform: Waveform) -> Settings {
        Settings { waveform, noise: 0.0, ..Settings::default() }
    }

    fn bytes(signal: &Signal) -> Vec<u8> {
        let mut bytes = std::vec![0; signal.len() as usize];
        assert_eq!(signal.read(0, &mut bytes), bytes.len());
        bytes
    }

    #[test]
    fn any_cut_reads_the_same() {
        for waveform in Waveform::ALL {
            let settings = Settings { noise: 0.5, ..settings(waveform) };
            let signal = Signal::new(&settings, 9).starting(77, 3);
            let whole = bytes(&signal);
            for (index, sample) in whole.chunks(4).enumerate() {
                assert_eq!(sample, signal.sample(index as u32).to_le_bytes());
            }
            for from in 0..=whole.len() + 3 {
                for len in 0..=whole.len() + 3 {
                    let mut piece = std::vec![0xee; len];
                    let count = signal.read(from as u64, &mut piece);
                    let rest = whole.get(from..).unwrap_or_default();
                    let expected = &rest[..rest.len().min(len)];
                    assert_eq!(&piece[..count], expected, "{len} bytes from {from}");
                    assert!(piece[count..].iter().all(|byte| *byte == 0xee));
                }
            }
        }
    }

    #[test]
    fn offsets_beyond_u32_are_the_end() {
        let signal = Signal::new(&Settings::default(), 3);
        assert_eq!(signal.read(1 << 34, &mut [0; 4]), 0);
        assert_eq!(signal.read(u64::MAX, &mut [0; 4]), 0);
    }

    #[test]
    fn waveforms_have_their_shapes() {
        for (waveform, quarters) in [
            (Waveform::Sine, [0.0, 1.0, 0.0, -1.0]),
            (Waveform::Triangle, [0.0, 1.0, 0.0, -1.0]),
            (Waveform::Square, [1.0, 1.0, -1.0, -1.0]),
        ] {
            let settings = Settings { amplitude: 1.0, offset: 0.0, ..settings(waveform) };
            let signal = Signal::new(&settings, 1);
            for (quarter, expected) in quarters.into_iter().enumerate() {
                let value = signal.volts((quarter as u32) << 30, 0);
                assert_eq!(value, expected, "{waveform:?}, quarter {quarter}");
            }
        }
        for i in 0..1000_u32 {
            let phase = i * 4_294_967;
            let exact = (f64::from(phase) / f64::from(1_u32 << 31) * core::f64::consts::PI).sin();
            let ours = f64::from(sine(phase)) / f64::from(ONE);
            assert!((exact - ours).abs() < 1e-6, "{ours} for {exact}");
        }
    }

    #[test]
    fn a_trigger_lies_where_the_signal_rises() {
        for waveform in [Waveform::Sine, Waveform::Square, Waveform::Triangle] {
            let settings = settings(waveform);
            for level in [-0.9, -0.25, 0.0, 0.5, 1.0] {
                let level = (settings.offset + level * settings.amplitude) as f32;
                let signal = Signal::new(&settings, 100).triggered(level, 10).unwrap();
                assert!(signal.sample(9) < level, "{waveform:?} at {level}");
                assert!(signal.sample(10) >= level, "{waveform:?} at {level}");
            }
            let top = (settings.offset + settings.amplitude) as f32;
            assert_eq!(Signal::new(&settings, 100).triggered(top + 0.1, 0), None);
            assert_eq!(Signal::new(&settings, 100).triggered(-top, 0), None);
        }
        assert_eq!(Signal::new(&settings(Waveform::Noise), 100).triggered(0.0, 0), None);
    }

    #[test]
    fn noise_is_even_and_different_by_seed() {
        let settings = Settings { amplitude: 1.0, offset: 0.0, ..settings(Waveform::Noise) };
        let signal = Signal::new(&settings, 10_000);
        let mean = (0..10_000).map(|i| f64::from(signal.sample(i))).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.02, "{mean}");
        assert_ne!(bytes(&signal), bytes(&signal.starting(0, 1)));
        assert_eq!(bytes(&signal), bytes(&signal.starting(9, 0)));
    }

    #[test]
    fn a_signal_goes_on_where_it_ended() {
        let whole = Signal::new(&settings(Waveform::Sine), 20);
        let front = Signal { samples: 7, ..whole };
        let back = Signal { samples: 13, ..whole }.starting(front.end(), 0);
        assert_eq!([bytes(&front), bytes(&back)].concat(), bytes(&whole));
    }
}
