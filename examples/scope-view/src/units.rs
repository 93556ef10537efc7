//! Numbers with units, as people write them: 500 µs, 1.5 kHz.

const PREFIXES: [&str; 6] = ["n", "µ", "m", "", "k", "M"];

/// With as many digits as it takes, at most six.
pub(crate) fn si(value: f64, unit: &str) -> String {
    let (scaled, prefix) = scale(value, 0.5e-6);
    let rounded: f64 = format!("{scaled:.5e}").parse().unwrap_or(scaled);
    // No minus before a zero.
    let rounded = if rounded == 0.0 { 0.0 } else { rounded };
    format!("{rounded} {prefix}{unit}")
}

/// With three digits, so that it keeps its width while it changes.
pub(crate) fn si3(value: f64, unit: &str) -> String {
    // No minus before a zero.
    let (scaled, prefix) = scale(value + 0.0, 0.5e-3);
    let whole = scaled.abs().max(1.0).log10().floor() as usize;
    format!("{scaled:.*} {prefix}{unit}", 2_usize.saturating_sub(whole))
}

/// Reads `1500`, `1.5k`, `1,5 kHz`; the unit may be left out.
pub(crate) fn parse(text: &str, unit: &str) -> Result<f64, String> {
    let text = text.trim();
    let end = text.find(|c: char| c.is_alphabetic() && c != 'e').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number = number.trim().replace(',', ".");
    let number: f64 = number.parse().map_err(|_| format!("{text:?} is no number"))?;
    let rest = strip_unit(rest, unit);
    let step = match rest {
        "u" => 1,
        "K" => 4,
        prefix => PREFIXES
            .iter()
            .position(|it| *it == prefix)
            .ok_or_else(|| format!("{rest:?} is no unit of it, {unit} is"))?,
    };
    // By the decimal exponent, so that 500u is what 5e-4 is.
    let exponent = (step as i32 - 3) * 3;
    Ok(format!("{number}e{exponent}").parse().unwrap_or(number))
}

/// The next of 1, 2 and 5 times a power of ten.
pub(crate) fn step(value: f64, up: bool) -> f64 {
    if !value.is_finite() {
        return value;
    }
    let from = value.abs().max(1e-12).log10().floor() as i32 - 1;
    let mut steps = (0..9).filter_map(|i| {
        format!("{}e{}", [1, 2, 5][i % 3], from + i as i32 / 3).parse::<f64>().ok()
    });
    // Numbers that differ by rounding alone are the same.
    let found = match up {
        true => steps.find(|it| *it > value * (1.0 + 1e-9)),
        false => steps.rfind(|it| *it < value * (1.0 - 1e-9)),
    };
    found.unwrap_or(value)
}

/// What comes as close to 1000 as `rounding` becomes 1 of the next prefix.
fn scale(value: f64, rounding: f64) -> (f64, &'static str) {
    let size = value.abs();
    let step = match size < 5e-10 {
        true => 0,
        false => (((size * (1.0 + rounding)).log10() / 3.0).floor() as i32).clamp(-3, 2),
    };
    let prefix = usize::try_from(step + 3).ok().and_then(|it| PREFIXES.get(it));
    (value / 1000_f64.powi(step), prefix.copied().unwrap_or_default())
}

fn strip_unit<'a>(text: &'a str, unit: &str) -> &'a str {
    let Some(at) = text.len().checked_sub(unit.len()) else { return text };
    match text.get(at..) {
        Some(end) if end.eq_ignore_ascii_case(unit) => &text[..at],
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_short() {
        let all = [0.0, -0.0, 0.0005, 1e-5, 0.999_999_9, 1000.0, 1234.567, -0.1, 1e6, 2.5e7, 1e-10];
        let text = all.map(|value| si(value, "V")).join(", ");
        insta::assert_snapshot!(text, @"0 V, 0 V, 500 µV, 10 µV, 1 V, 1 kV, 1.23457 kV, -100 mV, 1 MV, 25 MV, 0.0000000001 V");
        let text = all.map(|value| si3(value, "V")).join(", ");
        insta::assert_snapshot!(text, @"0.00 V, 0.00 V, 500 µV, 10.0 µV, 1.00 V, 1.00 kV, 1.23 kV, -100 mV, 1.00 MV, 25.0 MV, 0.00 V");
    }

    #[test]
    fn no_number_is_rounded_to_a_thousand() {
        for (value, text) in [(999.96, "1.00 kHz"), (999.4, "999 Hz"), (0.999_6, "1.00 Hz")] {
            assert_eq!(si3(value, "Hz"), text);
        }
        for (value, text) in [(999.999_9, "1 kHz"), (999.999, "999.999 Hz")] {
            assert_eq!(si(value, "Hz"), text);
        }
    }

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for value in [0.0, 0.0005, 1e-5, 1000.0, -2.5, 1e6, 0.01] {
            assert_eq!(parse(&si(value, "Hz"), "Hz"), Ok(value));
        }
        for (text, value) in [("1,5k", 1500.0), ("500 us", 5e-4), (" 2 S", 2.0), ("1e3", 1e3)] {
            assert_eq!(parse(text, "s"), Ok(value), "{text}");
        }
        for text in ["", "k", "1 V", "1 kk", "--1", "1.2.3", "µ"] {
            assert!(parse(text, "s").is_err(), "{text}");
        }
    }

    #[test]
    fn steps_go_up_and_down_again() {
        let mut value = 1e-5;
        let mut seen = vec![];
        while value < 1.0 {
            let next = step(value, true);
            assert_eq!(step(next, false), value);
            seen.push(value);
            value = next;
        }
        assert_eq!(seen.len(), 15);
        assert_eq!(value, 1.0);
        assert_eq!([step(1234.0, true), step(1234.0, false)], [2000.0, 1000.0]);
    }
}
