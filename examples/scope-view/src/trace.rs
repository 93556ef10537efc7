//! What is seen of the signal: the part of it that stands still, and what is measured in it.

use wslink_smol::client::Binary;

/// A screen of samples, as it is published.
pub(crate) type Trace = wslink_scope::Trace<Binary>;

/// Reads little-endian samples.
pub(crate) fn volts(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The traces that came last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traces {
    before: Option<Screen>,
    now: Option<Screen>,
    /// How many were published and did not come.
    pub(crate) missed: u64,
}

#[derive(Clone, Debug)]
struct Screen {
    n: u32,
    rate: f64,
    volts: Vec<f32>,
}

/// What the screen shows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    /// Where each sample is, from 0 at the left edge to 1 at the right one, and its volts.
    pub(crate) points: Vec<(f64, f32)>,
    /// Seconds from edge to edge.
    pub(crate) duration: f64,
    /// Where the trigger was found, a division from the left.
    pub(crate) triggered: bool,
}

/// What is measured in the last trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measured {
    pub(crate) peak_to_peak: f32,
    pub(crate) mean: f32,
    /// `None` if there is less than a period.
    pub(crate) frequency: Option<f64>,
}

impl Traces {
    pub(crate) fn push(&mut self, trace: &Trace) {
        let screen = Screen { n: trace.n, rate: trace.rate, volts: volts(&trace.samples) };
        if screen.volts.is_empty() || !(screen.rate > 0.0 && screen.rate.is_finite()) {
            return;
        }
        self.before = self.now.take();
        // A server that was started anew counts from the beginning.
        if let Some(before) = self.before.as_ref().filter(|it| it.n < screen.n) {
            self.missed += u64::from(screen.n - before.n - 1);
        }
        self.now = Some(screen);
    }

    /// What comes next does not follow what came last.
    pub(crate) fn interrupt(&mut self) {
        self.before = None;
        if let Some(now) = &mut self.now {
            now.n = u32::MAX;
        }
    }

    /// The last trace; with a trigger that part of the last two which begins a division before the
    /// signal rises through its middle.
    pub(crate) fn window(&self, trigger: bool) -> Option<Window> {
        let now = self.now.as_ref()?;
        let all = self.all()?;
        let length = now.volts.len();
        let rest = all.len() - length;
        let before = length / 10;
        let zero = trigger.then(|| {
            let (level, margin) = middle(&now.volts);
            Rises::new(&all, level, margin, before, rest + before).next()
        });
        let zero = zero.flatten();
        let first = zero.map_or(rest as f64, |zero| zero - before as f64);
        let width = length.saturating_sub(1).max(1) as f64;
        // One more at each edge than is seen whole.
        let from = first.floor().max(0.0) as usize;
        let points = all.iter().enumerate().skip(from).take(length + 1);
        let points = points.map(|(at, volts)| ((at as f64 - first) / width, *volts));
        Some(Window {
            points: points.collect(),
            duration: length as f64 / now.rate,
            triggered: zero.is_some(),
        })
    }

    pub(crate) fn measure(&self) -> Option<Measured> {
        let now = self.now.as_ref()?;
        let all = self.all()?;
        let (low, high) = range(&now.volts);
        let mean = now.volts.iter().sum::<f32>() / now.volts.len() as f32;
        let (level, margin) = middle(&now.volts);
        let rises: Vec<f64> = Rises::new(&all, level, margin, 0, all.len()).collect();
        let frequency = match rises.as_slice() {
            [first, .., last] => Some((rises.len() - 1) as f64 * now.rate / (last - first)),
            _ => None,
        };
        Some(Measured { peak_to_peak: high - low, mean, frequency })
    }

    /// The last two, if one follows the other.
    fn all(&self) -> Option<Vec<f32>> {
        let now = self.now.as_ref()?;
        let follows = |it: &&Screen| it.n.checked_add(1) == Some(now.n) && it.rate == now.rate;
        let before = self.before.as_ref().filter(follows);
        let before = before.map_or(&[][..], |it| &it.volts);
        Some([before, &now.volts].concat())
    }
}

fn range(volts: &[f32]) -> (f32, f32) {
    volts.iter().fold((f32::MAX, f32::MIN), |(low, high), it| (low.min(*it), high.max(*it)))
}

/// The middle, and how far from it noise may go.
fn middle(volts: &[f32]) -> (f32, f32) {
    let (low, high) = range(volts);
    (f32::midpoint(low, high), (high - low) / 20.0)
}

/// Where samples rise through a level, between two of them too; noise around it is left out.
struct Rises<'a> {
    samples: &'a [f32],
    level: f32,
    margin: f32,
    at: usize,
    to: usize,
    armed: bool,
}

impl<'a> Rises<'a> {
    fn new(samples: &'a [f32], level: f32, margin: f32, from: usize, to: usize) -> Self {
        Self { samples, level, margin, at: from + 1, to, armed: false }
    }
}

impl Iterator for Rises<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        while self.at < self.to {
            let at = self.at;
            self.at += 1;
            let (before, now) = (*self.samples.get(at - 1)?, *self.samples.get(at)?);
            self.armed |= before < self.level - self.margin;
            if self.armed && now >= self.level {
                self.armed = false;
                let part = f64::from(now - self.level) / f64::from(now - before);
                return Some(at as f64 - if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 });
            }
        }
        None
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Five and a bit periods of 1 kHz on a screen, each trace going on where the last ended.
    pub(crate) fn sine(n: u32, amplitude: f64) -> Trace {
        let samples = (0..500).flat_map(|i| {
            {
                let turns = f64::from(n * 500 + i) * 1037.0 / 100_000.0;
                ((turns * core::f64::consts::TAU).sin() * amplitude) as f32
            }
            .to_le_bytes()
        });
        let samples: Vec<u8> = samples.collect();
        Trace { n, rate: 100_000.0, samples: samples.into() }
    }

    #[test]
    fn the_signal_stands_still() {
        let mut traces = Traces::default();
        traces.push(&sine(0, 1.0));
        assert!(!traces.window(false).unwrap().triggered);
        for n in 1..20 {
            traces.push(&sine(n, 1.0));
            let window = traces.window(true).unwrap();
            assert!(window.triggered);
            assert_eq!(window.duration, 0.005);
            let (_, at_trigger) = window
                .points
                .iter()
                .min_by(|a, b| (a.0 - 0.1).abs().total_cmp(&(b.0 - 0.1).abs()))
                .unwrap();
            assert!(at_trigger.abs() < 0.05, "{at_trigger}");
            let (last, _) = window.points.last().unwrap();
            assert!(*last >= 1.0, "{last}");
        }
        assert_eq!(traces.missed, 0);
    }

    #[test]
    fn it_is_measured() {
        let mut traces = Traces::default();
        assert_eq!(traces.measure(), None);
        traces.push(&sine(0, 2.0));
        traces.push(&sine(1, 2.0));
        let measured = traces.measure().unwrap();
        assert!((measured.peak_to_peak - 4.0).abs() < 0.01);
        assert!((measured.frequency.unwrap() - 1037.0).abs() < 1.0);
    }

    #[test]
    fn gaps_are_counted_and_not_bridged() {
        let mut traces = Traces::default();
        traces.push(&sine(1, 1.0));
        traces.push(&sine(4, 1.0));
        assert_eq!(traces.missed, 2);
        assert_eq!(traces.window(false).unwrap().points.len(), 500);
        // Stopped, and then going on; and a server that begins anew.
        traces.interrupt();
        traces.push(&sine(90, 1.0));
        traces.push(&sine(0, 1.0));
        assert_eq!(traces.missed, 2);
    }

    #[test]
    fn nonsense_is_passed_over() {
        let mut traces = Traces::default();
        for (rate, samples) in [(0.0, vec![0; 8]), (f64::NAN, vec![0; 8]), (1.0, vec![0; 3])] {
            traces.push(&Trace { n: 0, rate, samples: samples.into() });
            assert_eq!(traces.window(true), None);
        }
        traces.push(&Trace { n: 0, rate: 1.0, samples: vec![0; 4].into() });
        assert_eq!(traces.window(true).unwrap().points, [(0.0, 0.0)]);
        assert_eq!(traces.measure().unwrap().frequency, None);
    }
}
