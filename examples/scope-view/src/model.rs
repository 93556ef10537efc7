//! What the view knows and shows. Nothing here talks to anybody.

use crate::capture::Saved;
use crate::trace::{Trace, Traces};
use crate::units;
use core::{fmt, mem};
use wslink_scope::{Change, Settings, Waveform};

/// The state of the connection.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Link {
    Connecting,
    Open {
        /// The dialect, in words.
        dialect: &'static str,
    },
    /// There will be another attempt.
    Waiting(Trouble),
    /// There will be none before there is another secret.
    Refused(Trouble),
}

/// What is wrong, and what may be done about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) why: String,
    pub(crate) hint: String,
}

/// What the connection tells.
#[derive(Clone, Debug)]
pub(crate) enum Update {
    Link(Link),
    /// Somebody has set something, or we have asked.
    Settings(Settings),
    /// What became of [`Command::Set`].
    Set(Result<Settings, Refusal>),
    Trace(Trace),
    /// What became of [`Command::Capture`].
    Captured(Result<Saved, String>),
    /// The server behind the connection is not the same process as before.
    Restarted,
    /// Something came that cannot be read.
    Unreadable(String),
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The parameter that the server names.
    pub(crate) parameter: Option<String>,
    pub(crate) why: String,
}

/// What the connection is to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    Set(Change),
    Capture,
    /// Whether traces are wanted.
    Run(bool),
    /// Another secret to say hello with.
    Secret(Secret),
}

/// A secret; its `Debug` prints nothing of it.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What can be changed by keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Frequency,
    Amplitude,
    Offset,
    Noise,
    Waveform,
    Timebase,
    /// Volts in a division: of this view alone.
    Scale,
}

impl Row {
    pub(crate) const ALL: [Self; 7] = [
        Self::Frequency,
        Self::Amplitude,
        Self::Offset,
        Self::Noise,
        Self::Waveform,
        Self::Timebase,
        Self::Scale,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Frequency => "Frequency",
            Self::Amplitude => "Amplitude",
            Self::Offset => "Offset",
            Self::Noise => "Noise",
            Self::Waveform => "Waveform",
            Self::Timebase => "Time/div",
            Self::Scale => "Volts/div",
        }
    }

    /// `None` for what is no number.
    pub(crate) const fn unit(self) -> Option<&'static str> {
        match self {
            Self::Frequency => Some("Hz"),
            Self::Timebase => Some("s"),
            Self::Waveform => None,
            _ => Some("V"),
        }
    }

    /// The parameter of the service.
    const fn parameter(self) -> &'static str {
        match self {
            Self::Frequency => "frequency",
            Self::Amplitude => "amplitude",
            Self::Offset => "offset",
            Self::Noise => "noise",
            Self::Waveform => "waveform",
            Self::Timebase => "timebase",
            Self::Scale => "",
        }
    }

    fn number(self, settings: &Settings) -> f64 {
        match self {
            Self::Frequency => settings.frequency,
            Self::Amplitude => settings.amplitude,
            Self::Offset => settings.offset,
            Self::Noise => settings.noise,
            Self::Timebase => settings.timebase,
            Self::Waveform | Self::Scale => 0.0,
        }
    }

    /// Whether the change has to do with it.
    fn is_in(self, change: &Change) -> bool {
        match self {
            Self::Waveform => change.waveform.is_some(),
            Self::Frequency => change.frequency.is_some(),
            Self::Amplitude => change.amplitude.is_some(),
            Self::Offset => change.offset.is_some(),
            Self::Noise => change.noise.is_some(),
            Self::Timebase => change.timebase.is_some(),
            Self::Scale => false,
        }
    }
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    /// The value of the selected row.
    Value(String),
    Secret(Secret),
}

impl Entry {
    pub(crate) const fn text(&mut self) -> &mut String {
        match self {
            Self::Value(text) | Self::Secret(Secret(text)) => text,
        }
    }
}

/// What concerns no row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Saved(Saved),
    NotCaptured(String),
    Note(String),
}

/// The state of the view.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) url: String,
    pub(crate) link: Link,
    /// As the server has told them last.
    pub(crate) settings: Option<Settings>,
    pub(crate) selected: Row,
    pub(crate) entry: Option<Entry>,
    pub(crate) running: bool,
    pub(crate) trigger: bool,
    pub(crate) help: bool,
    pub(crate) traces: Traces,
    /// Volts in a division; `None` fits the settings.
    pub(crate) scale: Option<f64>,
    pub(crate) capturing: bool,
    /// What is to be known last.
    pub(crate) said: Option<Said>,
    pub(crate) quit: bool,
    errors: [Option<String>; Row::ALL.len()],
    /// What is wanted and not sent yet, and what is under way.
    wanted: Change,
    sent: Option<Change>,
    /// What else is to be done; each at most once.
    run: Option<bool>,
    capture: bool,
    secret: Option<Secret>,
}

impl Model {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            link: Link::Connecting,
            settings: None,
            selected: Row::Frequency,
            entry: None,
            running: true,
            trigger: true,
            help: false,
            traces: Traces::default(),
            scale: None,
            capturing: false,
            said: None,
            quit: false,
            errors: Default::default(),
            wanted: Change::default(),
            sent: None,
            run: None,
            capture: false,
            secret: None,
        }
    }

    /// Asks for a secret before there is any connection.
    pub(crate) fn ask_secret(&mut self) {
        self.link = Link::Refused(Trouble {
            why: "There is no secret yet.".to_owned(),
            hint: "Press s to type it.".to_owned(),
        });
        self.entry = Some(Entry::Secret(Secret::default()));
    }

    /// Takes in what the connection tells.
    pub(crate) fn update(&mut self, update: Update) {
        match update {
            Update::Link(link) => {
                if matches!(link, Link::Open { .. }) {
                    self.errors = Default::default();
                }
                self.link = link;
            }
            Update::Settings(settings) => self.settings = Some(settings),
            Update::Set(result) => self.set(result),
            Update::Trace(trace) if self.running => self.traces.push(&trace),
            // It was on its way.
            Update::Trace(_) => {}
            Update::Captured(result) => {
                self.capturing = false;
                self.said = Some(result.map_or_else(Said::NotCaptured, Said::Saved));
            }
            Update::Restarted => {
                self.traces.interrupt();
                self.note("The server was restarted, with settings of its own.");
            }
            Update::Unreadable(why) => self.note(why),
        }
    }

    /// The next thing that the connection is to do. The newest wish is sent as soon as the one
    /// before is answered.
    pub(crate) fn next_command(&mut self) -> Option<Command> {
        if let Some(secret) = self.secret.take() {
            return Some(Command::Secret(secret));
        }
        if let Some(run) = self.run.take() {
            return Some(Command::Run(run));
        }
        if mem::take(&mut self.capture) {
            return Some(Command::Capture);
        }
        if self.sent.is_some() || self.wanted == Change::default() {
            return None;
        }
        self.sent = Some(mem::take(&mut self.wanted));
        self.sent.map(Command::Set)
    }

    pub(crate) fn toggle_run(&mut self) {
        self.running = !self.running;
        self.run = Some(self.running);
        if self.running {
            self.traces.interrupt();
        }
    }

    pub(crate) fn capture(&mut self) {
        if self.capturing {
            return;
        }
        if !self.is_open() {
            self.said = Some(Said::NotCaptured("there is no connection".to_owned()));
            return;
        }
        self.said = None;
        self.capturing = true;
        self.capture = true;
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.said = Some(Said::Note(text.into()));
    }

    pub(crate) fn say_secret(&mut self, secret: Secret) {
        self.secret = Some(secret);
    }

    /// Selects the next row, or the one before.
    pub(crate) fn select(&mut self, forward: bool) {
        let count = Row::ALL.len();
        let at = self.selected as usize + if forward { 1 } else { count - 1 };
        self.selected = Row::ALL[at % count];
    }

    /// Changes the selected row by a step.
    pub(crate) fn step(&mut self, up: bool) {
        let Some(now) = self.shown() else { return };
        let row = self.selected;
        let value = match row {
            Row::Waveform => {
                let all = Waveform::ALL;
                let at = all.iter().position(|it| *it == now.waveform).unwrap_or_default();
                let next = all[(at + if up { 1 } else { all.len() - 1 }) % all.len()];
                return self.want(row, |change| change.waveform = Some(next));
            }
            Row::Offset => ((now.offset * 10.0).round() + if up { 1.0 } else { -1.0 }) / 10.0,
            // Zero is below all steps.
            Row::Noise if up && now.noise == 0.0 => 0.01,
            Row::Noise if !up && now.noise <= 0.01 => 0.0,
            Row::Scale => units::step(self.scale(), up),
            _ => units::step(row.number(&now), up),
        };
        self.choose(row, value);
    }

    /// Sets the selected row to what was typed.
    pub(crate) fn type_in(&mut self, text: &str) {
        let row = self.selected;
        if let Some(unit) = row.unit() {
            match units::parse(text, unit) {
                Ok(value) => self.choose(row, value),
                Err(why) => self.fail(row, why),
            }
            return;
        }
        let typed = text.trim().to_lowercase();
        let mut all = Waveform::ALL.into_iter();
        match all.find(|it| !typed.is_empty() && it.name().starts_with(&typed)) {
            Some(waveform) => self.want(row, |change| change.waveform = Some(waveform)),
            None => self.fail(row, format!("{text:?} is no waveform")),
        }
    }

    /// Lets the scale fit the settings again.
    pub(crate) fn fit(&mut self) {
        self.scale = None;
        self.errors[Row::Scale as usize] = None;
    }

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.link, Link::Open { .. })
    }

    /// Volts in a division.
    pub(crate) fn scale(&self) -> f64 {
        let fitting = || {
            let Settings { amplitude, offset, noise, .. } = self.settings.unwrap_or_default();
            // What just fits into 3.9 of the four divisions above the middle.
            units::step((amplitude + offset.abs() + noise) / 3.9 * 0.999_999, true)
        };
        self.scale.unwrap_or_else(fitting)
    }

    /// The settings with what is wanted of them.
    pub(crate) fn shown(&self) -> Option<Settings> {
        let settings = self.settings?;
        let settings = self.sent.map_or(settings, |sent| sent.apply(settings));
        Some(self.wanted.apply(settings))
    }

    /// The value of a row, in words.
    pub(crate) fn value(&self, row: Row) -> String {
        if row == Row::Scale {
            return units::si(self.scale(), "V");
        }
        match (self.shown(), row.unit()) {
            (None, _) => "–".to_owned(),
            (Some(now), Some(unit)) => units::si(row.number(&now), unit),
            (Some(now), None) => now.waveform.name().to_owned(),
        }
    }

    /// Whether what is shown was not confirmed yet.
    pub(crate) fn is_pending(&self, row: Row) -> bool {
        row.is_in(&self.wanted) || self.sent.is_some_and(|sent| row.is_in(&sent))
    }

    /// What is wrong with a row.
    pub(crate) fn error(&self, row: Row) -> Option<&str> {
        self.errors[row as usize].as_deref()
    }

    fn choose(&mut self, row: Row, value: f64) {
        match row {
            Row::Scale if (1e-3..=100.0).contains(&value) => {
                self.scale = Some(value);
                self.errors[row as usize] = None;
            }
            Row::Scale => self.fail(row, "not in 0.001 to 100 V".to_owned()),
            Row::Frequency => self.want(row, |change| change.frequency = Some(value)),
            Row::Amplitude => self.want(row, |change| change.amplitude = Some(value)),
            Row::Offset => self.want(row, |change| change.offset = Some(value)),
            Row::Noise => self.want(row, |change| change.noise = Some(value)),
            Row::Timebase => self.want(row, |change| change.timebase = Some(value)),
            Row::Waveform => {}
        }
    }

    fn want(&mut self, row: Row, change: impl FnOnce(&mut Change)) {
        if !self.is_open() {
            return self.fail(row, "there is no connection".to_owned());
        }
        self.errors[row as usize] = None;
        change(&mut self.wanted);
    }

    fn fail(&mut self, row: Row, why: String) {
        self.errors[row as usize] = Some(why);
    }

    fn set(&mut self, result: Result<Settings, Refusal>) {
        let sent = self.sent.take().unwrap_or_default();
        let refusal = match result {
            Ok(settings) => {
                self.settings = Some(settings);
                return;
            }
            Err(refusal) => refusal,
        };
        // Under the row that the server names; under all that were sent, if it names none.
        let of = |row: &Row| row.is_in(&sent);
        let named = |row: &Row| Some(row.parameter()) == refusal.parameter.as_deref();
        let mut rows: Vec<Row> = Row::ALL.into_iter().filter(|row| of(row) && named(row)).collect();
        if rows.is_empty() {
            rows = Row::ALL.into_iter().filter(of).collect();
        }
        for row in rows {
            self.fail(row, refusal.why.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Model {
        let mut model = Model::new("ws://scope/ws");
        model.update(Update::Link(Link::Open { dialect: "2.x" }));
        model.update(Update::Settings(Settings::default()));
        model
    }

    #[test]
    fn one_change_is_under_way_and_the_newest_follows() {
        let mut model = open();
        model.step(true);
        let first = Change { frequency: Some(2000.0), ..Change::default() };
        assert_eq!(model.next_command(), Some(Command::Set(first)));
        model.step(true);
        model.step(true);
        assert_eq!(model.next_command(), None);
        assert_eq!(model.value(Row::Frequency), "10 kHz");
        assert!(model.is_pending(Row::Frequency) && !model.is_pending(Row::Noise));

        let settings = Settings { frequency: 2000.0, ..Settings::default() };
        model.update(Update::Set(Ok(settings)));
        assert_eq!(model.value(Row::Frequency), "10 kHz");
        let second = Change { frequency: Some(10_000.0), ..Change::default() };
        assert_eq!(model.next_command(), Some(Command::Set(second)));
        assert_eq!(model.next_command(), None);
    }

    #[test]
    fn what_others_set_shows_but_not_over_what_is_wanted_here() {
        let mut model = open();
        model.step(true);
        let theirs = Settings { frequency: 5.0, amplitude: 3.0, ..Settings::default() };
        model.update(Update::Settings(theirs));
        assert_eq!(model.value(Row::Amplitude), "3 V");
        assert_eq!(model.value(Row::Frequency), "2 kHz");
        assert_eq!(model.scale(), 1.0);
    }

    #[test]
    fn a_refusal_stands_where_it_belongs_and_nowhere_else() {
        let mut model = open();
        model.step(true);
        model.selected = Row::Noise;
        model.type_in("99");
        assert!(matches!(model.next_command(), Some(Command::Set(_))));
        model.update(Update::Set(Err(Refusal {
            parameter: Some("noise".to_owned()),
            why: "not in 0 to 10 V".to_owned(),
        })));
        assert_eq!(model.error(Row::Noise), Some("not in 0 to 10 V"));
        assert_eq!(model.error(Row::Frequency), None);
        assert_eq!(model.value(Row::Noise), "20 mV");
        // The next change of it takes the error away.
        model.step(true);
        assert_eq!(model.error(Row::Noise), None);
        // A server that does not say which.
        assert!(model.next_command().is_some());
        model.update(Update::Set(Err(Refusal { parameter: None, why: "lost".to_owned() })));
        assert_eq!(model.error(Row::Noise), Some("lost"));
    }

    #[test]
    fn without_a_connection_nothing_is_kept_for_later() {
        let mut model = open();
        let trouble = Trouble { why: "gone".to_owned(), hint: String::new() };
        model.update(Update::Link(Link::Waiting(trouble)));
        model.step(true);
        model.capture();
        assert_eq!(model.next_command(), None);
        assert_eq!(model.error(Row::Frequency), Some("there is no connection"));
        assert_eq!(model.said, Some(Said::NotCaptured("there is no connection".to_owned())));
        // The scale is the view's own.
        model.selected = Row::Scale;
        model.step(true);
        assert_eq!(model.value(Row::Scale), "1 V");
        model.update(Update::Link(Link::Open { dialect: "2.x" }));
        assert_eq!(model.error(Row::Frequency), None);
    }

    #[test]
    fn steps_and_words() {
        let mut model = open();
        model.selected = Row::Noise;
        model.step(false);
        model.step(false);
        assert_eq!(model.value(Row::Noise), "0 V");
        model.step(true);
        assert_eq!(model.value(Row::Noise), "10 mV");
        model.selected = Row::Offset;
        model.step(false);
        assert_eq!(model.value(Row::Offset), "-100 mV");
        model.selected = Row::Waveform;
        model.step(false);
        assert_eq!(model.value(Row::Waveform), "noise");
        model.type_in("tri");
        assert_eq!(model.value(Row::Waveform), "triangle");
        model.type_in("x");
        assert_eq!(model.error(Row::Waveform), Some("\"x\" is no waveform"));
        model.selected = Row::Scale;
        model.type_in("0");
        assert_eq!(model.error(Row::Scale), Some("not in 0.001 to 100 V"));
    }

    #[test]
    fn stopped_it_keeps_what_it_shows() {
        let mut model = open();
        model.update(Update::Trace(crate::trace::tests::sine(0, 1.0)));
        model.toggle_run();
        let before = model.traces.window(false);
        model.update(Update::Trace(crate::trace::tests::sine(1, 9.0)));
        assert_eq!(model.traces.window(false), before);
        assert_eq!(model.next_command(), Some(Command::Run(false)));
        model.toggle_run();
        model.toggle_run();
        model.toggle_run();
        assert_eq!(model.next_command(), Some(Command::Run(true)));
        assert_eq!(model.next_command(), None);
    }
}
