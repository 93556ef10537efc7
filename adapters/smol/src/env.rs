//! Upstream's environment variables.

use crate::{BadSetting, Options};
use core::fmt::Display;
use core::str::FromStr;
use core::time::Duration;
use std::ffi::OsString;
use std::{env, fs};
use wslink_core::wire::Value;

/// What upstream takes if only one of the two is given.
const MAX_MSG_SIZE: u32 = 4 << 20;
const MSG_OVERHEAD: u32 = 4096;

/// A chunk of 2.x is its header, and at least one byte.
const LEAST_MSG_SIZE: u32 = 13;

impl Options {
    /// As [`new`](Self::new), with what upstream's environment variables say:
    ///
    /// | variable | says |
    /// |---|---|
    /// | `WSLINK_MAX_MSG_SIZE`, `WSLINK_MSG_OVERHEAD` | The first is announced to clients of 2.x. A WebSocket message that comes in has to be smaller than it in 1.x, and smaller than both together in 2.x. |
    /// | `WSLINK_AUTH_MSG_SIZE` | The largest message before hello. |
    /// | `WSLINK_HEART_BEAT` | Seconds of silence until a ping; who is silent for half of that again is gone. Below 1: no pings. |
    /// | `WSLINK_HTTP_HEADERS` | The path of a JSON file with a map of headers for each answer. |
    /// | `WSLINK_FOLLOW_SYMLINKS` | Whether links lead out of directories that are served: `1`, `true`, `yes`, `on`, or `0`, `false`, `no`, `off`. |
    /// | `WSLINK_READY_MSG` | What [`say_ready`](Self::say_ready) says. |
    ///
    /// One that is empty counts as absent.
    ///
    /// # Errors
    /// The first variable whose value makes no sense.
    pub fn from_env(secret: impl Into<String>) -> Result<Self, BadSetting> {
        Self::from_vars(secret, |name| env::var_os(name))
    }

    fn from_vars(
        secret: impl Into<String>,
        var: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, BadSetting> {
        let mut options = Self::new(secret);
        let text = |name: &str| match var(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => value
                .into_string()
                .map(Some)
                .map_err(|_| BadSetting::new(name, "it is not Unicode")),
        };
        let limits = &mut options.config.limits;
        let size = number::<u32>("WSLINK_MAX_MSG_SIZE", text("WSLINK_MAX_MSG_SIZE")?)?;
        let overhead = number::<u32>("WSLINK_MSG_OVERHEAD", text("WSLINK_MSG_OVERHEAD")?)?;
        if size.is_some() || overhead.is_some() {
            let name = if size.is_some() { "WSLINK_MAX_MSG_SIZE" } else { "WSLINK_MSG_OVERHEAD" };
            let size = size.unwrap_or(MAX_MSG_SIZE);
            if size < LEAST_MSG_SIZE {
                let what = format_args!("{size} is too small, at least {LEAST_MSG_SIZE} is needed");
                return Err(BadSetting::new(name, what));
            }
            let overhead = overhead.unwrap_or(MSG_OVERHEAD);
            let both = size.checked_add(overhead);
            let both = both.ok_or_else(|| BadSetting::new(name, "above 4 GiB"))?;
            // Upstream's limits are the smallest that are too much. But what is announced is taken.
            limits.frame = size - 1;
            limits.max_msg_size = size;
            limits.overhead = overhead.saturating_sub(1);
            limits.message = limits.message.max(both);
            limits.receive_bytes = limits.receive_bytes.max(limits.message.saturating_mul(2));
        }
        let before_hello = text("WSLINK_AUTH_MSG_SIZE")?;
        if let Some(size) = number("WSLINK_AUTH_MSG_SIZE", before_hello)? {
            limits.message_before_hello = size;
        }
        if let Some(seconds) = number::<f64>("WSLINK_HEART_BEAT", text("WSLINK_HEART_BEAT")?)? {
            let deadlines = &mut options.config.deadlines;
            let beat = Duration::try_from_secs_f64(if seconds < 1.0 { 0.0 } else { seconds })
                .map_err(|_| {
                    BadSetting::new("WSLINK_HEART_BEAT", "this is no number of seconds")
                })?;
            deadlines.ping = (seconds >= 1.0).then_some(beat);
            deadlines.pong = beat / 2;
        }
        if let Some(follow) = text("WSLINK_FOLLOW_SYMLINKS")? {
            options.follow_symlinks = match follow.to_ascii_lowercase().as_str() {
                "1" | "true" | "yes" | "on" => true,
                "0" | "false" | "no" | "off" => false,
                _ => {
                    let what = format_args!("{follow:?} is neither true nor false");
                    return Err(BadSetting::new("WSLINK_FOLLOW_SYMLINKS", what));
                }
            };
        }
        if let Some(path) = var("WSLINK_HTTP_HEADERS").filter(|path| !path.is_empty()) {
            let bad = |what: &dyn Display| {
                let path = path.display();
                BadSetting::new("WSLINK_HTTP_HEADERS", format_args!("{path}: {what}"))
            };
            let mut bytes = fs::read(&path).map_err(|error| bad(&error))?;
            let headers = Value::clean_json(&mut bytes, 8).ok().filter(Value::is_map);
            let headers = headers.ok_or_else(|| bad(&"this is no map in JSON"))?;
            for (name, value) in headers.entries() {
                let not_text = || bad(&format_args!("the value of {name:?} is not a string"));
                let value = value.as_str().ok_or_else(not_text)?;
                options = options.with_header(name, value).map_err(|error| bad(&error))?;
            }
        }
        if let Some(message) = text("WSLINK_READY_MSG")? {
            options.ready_message = message;
        }
        Ok(options)
    }
}

fn number<T: FromStr>(name: &str, text: Option<String>) -> Result<Option<T>, BadSetting> {
    let Some(text) = text else { return Ok(None) };
    let number = text.trim().parse();
    number.map(Some).map_err(|_| {
        BadSetting::new(name, format_args!("{text:?} is not a size or number that can be used"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(vars: &[(&str, &str)]) -> Result<Options, BadSetting> {
        let find = |name: &str| vars.iter().find(|(it, _)| *it == name);
        Options::from_vars("s", |name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn without_variables_all_is_as_usual() {
        let options = options(&[("WSLINK_MAX_MSG_SIZE", ""), ("WSLINK_HTTP_HEADERS", "")]).unwrap();
        let usual = Options::new("s");
        assert_eq!(options.config, usual.config);
        assert_eq!(format!("{options:?}"), format!("{usual:?}"));
    }

    #[test]
    fn sizes_are_upstreams() {
        let limits = |vars: &[_]| {
            let limits = options(vars).unwrap().config.limits;
            (limits.frame, limits.max_msg_size, limits.overhead)
        };
        assert_eq!(limits(&[("WSLINK_MAX_MSG_SIZE", "1000000")]), (999_999, 1_000_000, 4095));
        assert_eq!(limits(&[("WSLINK_MSG_OVERHEAD", "0")]), ((4 << 20) - 1, 4 << 20, 0));
        let both = [("WSLINK_MAX_MSG_SIZE", " 100 "), ("WSLINK_MSG_OVERHEAD", "10")];
        assert_eq!(limits(&both), (99, 100, 9));
        let large = options(&[("WSLINK_MAX_MSG_SIZE", "1073741824")]).unwrap().config.limits;
        assert_eq!(large.message, large.max_msg_size + 4096);
        assert!(large.receive_bytes >= large.message);
        let auth = options(&[("WSLINK_AUTH_MSG_SIZE", "512")]).unwrap().config;
        assert_eq!(auth.limits.message_before_hello, 512);
    }

    #[test]
    fn a_heart_beats_or_it_does_not() {
        let beat = |seconds| {
            let deadlines = options(&[("WSLINK_HEART_BEAT", seconds)]).unwrap().config.deadlines;
            (deadlines.ping.map(|it| it.as_millis()), deadlines.pong.as_millis())
        };
        assert_eq!(beat("30"), (Some(30_000), 15_000));
        assert_eq!(beat("1"), (Some(1_000), 500));
        assert_eq!(beat("2.5"), (Some(2_500), 1_250));
        assert_eq!((beat("0").0, beat("0.9").0, beat("-1").0), (None, None, None));
    }

    #[test]
    fn headers_come_from_a_file() {
        let directory = env::temp_dir().join(format!("wslink-env-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("headers.json");
        let with = |text: &str| {
            fs::write(&file, text).unwrap();
            options(&[("WSLINK_HTTP_HEADERS", file.to_str().unwrap())])
        };
        let options =
            with(r#"{"Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY"}"#);
        assert_eq!(options.unwrap().headers.len(), 2);
        for (text, what) in [
            ("", "no map"),
            ("[]", "no map"),
            (r#"{"a": 1}"#, r#"the value of "a" is not a string"#),
            (r#"{"a b": "c"}"#, "no name"),
            ("{\"a\": \"b\\n\"}", "no value"),
        ] {
            let error = with(text).unwrap_err();
            assert_eq!(error.name(), "WSLINK_HTTP_HEADERS");
            assert!(error.to_string().contains(what), "{error}");
        }
        fs::remove_dir_all(&directory).unwrap();
        let missing = with_missing(&file);
        assert!(missing.to_string().contains("headers.json"), "{missing}");
    }

    fn with_missing(file: &std::path::Path) -> BadSetting {
        options(&[("WSLINK_HTTP_HEADERS", file.to_str().unwrap())]).unwrap_err()
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        for (name, value) in [
            ("WSLINK_MAX_MSG_SIZE", "4M"),
            ("WSLINK_MAX_MSG_SIZE", "-1"),
            ("WSLINK_MAX_MSG_SIZE", "0"),
            ("WSLINK_MAX_MSG_SIZE", "4294967295"),
            ("WSLINK_MAX_MSG_SIZE", "4294967296"),
            ("WSLINK_MSG_OVERHEAD", "some"),
            ("WSLINK_AUTH_MSG_SIZE", "1.5"),
            ("WSLINK_HEART_BEAT", "often"),
            ("WSLINK_HEART_BEAT", "nan"),
            ("WSLINK_HEART_BEAT", "inf"),
            ("WSLINK_FOLLOW_SYMLINKS", "perhaps"),
        ] {
            let error = options(&[(name, value)]).unwrap_err();
            assert_eq!(error.name(), name, "{value}");
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }

    #[test]
    fn links_and_the_line_for_launchers() {
        assert!(options(&[("WSLINK_FOLLOW_SYMLINKS", "True")]).unwrap().follow_symlinks);
        assert!(!options(&[("WSLINK_FOLLOW_SYMLINKS", "0")]).unwrap().follow_symlinks);
        let ready = options(&[("WSLINK_READY_MSG", "go")]).unwrap();
        assert_eq!(ready.ready_message, "go");
    }
}
