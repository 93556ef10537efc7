//! Log lines, by defmt; without its feature they are nothing.
//!
//! `info` is one line for each begin, hello and end of a WebSocket, `warn` what somebody may have to
//! do something about, `debug` each connection and each call. What a client says is not in them: not
//! its secret, not its arguments.

/// `log!(info, "{}: ...", peer)`.
macro_rules! log {
    ($level:ident, $line:literal $(, $arg:expr)*) => {{
        #[cfg(feature = "defmt")]
        defmt::$level!($line $(, $arg)*);
        // Used, and never computed.
        #[cfg(not(feature = "defmt"))]
        let _ = || _ = ($(&$arg,)*);
    }};
}

#[cfg(feature = "defmt")]
mod formats {
    //! What defmt prints of the types whose `Debug` is written by hand: the same text.

    use crate::{Lent, Options, Page, Pool, Server};
    use defmt::{Debug2Format, Format, Formatter, write};
    use embassy_sync::blocking_mutex::raw::RawMutex;
    use wslink_core::{Memory, Service};

    macro_rules! like_debug {
        ($([$($generics:tt)*] $type:ty,)*) => {$(
            impl<$($generics)*> Format for $type {
                fn format(&self, fmt: Formatter<'_>) {
                    write!(fmt, "{}", Debug2Format(self));
                }
            }
        )*};
    }

    like_debug! {
        [] Lent<'_>,
        [] Options<'_>,
        [] Page<'_>,
        [const PEERS: usize] Pool<'_, PEERS>,
        [
            'm, S: Service, M: Memory<Buffer = Lent<'m>, Blob = S::Blob>,
            const PEERS: usize, const CALLS: usize, R: RawMutex
        ] Server<'m, S, M, PEERS, CALLS, R>,
    }
}
