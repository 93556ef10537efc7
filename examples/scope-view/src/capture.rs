//! Captures, and the files they are kept in.

use crate::trace::volts;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use wslink_smol::client::Binary;

/// Samples that were asked for.
pub(crate) type Capture = wslink_scope::Capture<Binary>;

/// A capture that is in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Saved {
    pub(crate) path: PathBuf,
    pub(crate) samples: usize,
    pub(crate) seconds: f64,
}

/// Writes a capture as a new file, `capture-1.csv` or the next that is not there.
///
/// # Errors
/// Says which file cannot be written, and why.
pub(crate) fn save(capture: &Capture, directory: &Path) -> Result<Saved, String> {
    let (path, file) = create(directory)?;
    let samples = volts(&capture.samples);
    let mut file = BufWriter::new(file);
    let written = write(&mut file, capture.rate, &samples).and_then(|()| file.flush());
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Saved { path, samples: samples.len(), seconds: samples.len() as f64 / capture.rate })
}

/// No capture takes the place of another.
fn create(directory: &Path) -> Result<(PathBuf, File), String> {
    for number in 1..=u32::MAX {
        let path = directory.join(format!("capture-{number}.csv"));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Err(format!("{}: too many captures", directory.display()))
}

fn write(file: &mut impl Write, rate: f64, samples: &[f32]) -> io::Result<()> {
    writeln!(file, "seconds,volts")?;
    for (index, volts) in samples.iter().enumerate() {
        // Nine digits: a float of the division would show its rounding.
        let seconds = format!("{:.8e}", index as f64 / rate).parse().unwrap_or(0.0_f64);
        writeln!(file, "{seconds},{volts}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_are_kept_side_by_side() {
        let directory = tempfile::tempdir().unwrap();
        let samples = [0.5_f32, -1.25, 0.1].iter().flat_map(|it| it.to_le_bytes());
        let samples = samples.collect::<Vec<u8>>().into();
        let capture = Capture { rate: 3000.0, trigger: None, samples };
        let first = save(&capture, directory.path()).unwrap();
        let second = save(&capture, directory.path()).unwrap();
        assert!(first.path.ends_with("capture-1.csv") && second.path.ends_with("capture-2.csv"));
        assert_eq!((first.samples, first.seconds), (3, 0.001));
        insta::assert_snapshot!(std::fs::read_to_string(second.path).unwrap(), @r"
        seconds,volts
        0,0.5
        0.000333333333,-1.25
        0.000666666667,0.1
        ");
        let error = save(&capture, &directory.path().join("nowhere")).unwrap_err();
        assert!(error.contains("nowhere"), "{error}");
    }
}
