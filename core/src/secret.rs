//! A secret that no log can print.

use core::fmt;
use core::hint::black_box;

/// A secret, borrowed: `Debug` prints nothing of it, and it is compared in constant time.
///
/// ```
/// use wslink_core::Secret;
/// assert!(Secret::new("wslink-secret").matches(&Secret::new("wslink-secret")));
/// assert_eq!(format!("{:?}", Secret::new("hush")), "Secret");
/// ```
#[derive(Clone, Copy)]
pub struct Secret<'a>(&'a str);

impl<'a> Secret<'a> {
    /// Hides `secret`.
    pub const fn new(secret: &'a str) -> Self {
        Self(secret)
    }

    /// The secret itself, for applications that check it on their own.
    pub const fn reveal(&self) -> &'a str {
        self.0
    }

    /// Whether `said` (this) is `expected`. Takes a time that depends on the length of what was
    /// said only, so neither content nor length of the expected secret can be measured.
    pub fn matches(&self, expected: &Secret<'_>) -> bool {
        let (said, expected) = (self.0.as_bytes(), expected.0.as_bytes());
        let mut difference = said.len() ^ expected.len();
        for (i, byte) in said.iter().enumerate() {
            // A missing byte is compared with one that differs.
            let other = expected.get(i).copied().unwrap_or(!byte);
            difference |= usize::from(black_box(byte ^ other));
        }
        black_box(difference) == 0
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::format;

    #[test]
    fn no_part_of_a_secret_is_enough() {
        const EXPECTED: &str = "wslink-secret";
        let expected = Secret::new(EXPECTED);
        assert!(Secret::new(EXPECTED).matches(&expected));
        for len in 0..EXPECTED.len() {
            assert!(!Secret::new(&EXPECTED[..len]).matches(&expected));
            assert!(!Secret::new(&EXPECTED[len + 1..]).matches(&expected));
            assert!(!expected.matches(&Secret::new(&EXPECTED[..len])));
            // One bit of one byte.
            let (before, rest) = EXPECTED.split_at(len);
            let (byte, after) = (rest.as_bytes()[0], &rest[1..]);
            for bit in 0..7 {
                let said = format!("{before}{}{after}", char::from(byte ^ 1 << bit));
                assert!(!Secret::new(&said).matches(&expected), "{said:?}");
            }
        }
        for more in ["\0", "t", "wslink-secret"] {
            assert!(!Secret::new(&format!("{EXPECTED}{more}")).matches(&expected));
            assert!(!Secret::new(&format!("{more}{EXPECTED}")).matches(&expected));
        }
        assert!(!Secret::new("a").matches(&Secret::new("")));
    }
}
