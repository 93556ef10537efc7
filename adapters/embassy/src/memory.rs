//! Memory that connections take when they begin and give back when they end.

use core::cell::Cell;
use core::fmt;
use core::mem;
use embassy_sync::blocking_mutex::CriticalSectionMutex;
use wslink_core::Buffer;

/// The memory of one WebSocket; the caller keeps it in a `static` or on the stack.
// Copies go by words where both ends are aligned alike.
#[derive(Debug)]
#[repr(C, align(4))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PeerMemory<const RECEIVE: usize, const TRANSMIT: usize, const STAGE: usize> {
    receive: [u8; RECEIVE],
    transmit: [u8; TRANSMIT],
    stage: [u8; STAGE],
}

impl<const RECEIVE: usize, const TRANSMIT: usize, const STAGE: usize>
    PeerMemory<RECEIVE, TRANSMIT, STAGE>
{
    /// All zero, so that a static takes no flash.
    ///
    /// `RECEIVE` and `TRANSMIT` are the engine's [`Buffers`](wslink_core::Buffers). In `STAGE` the
    /// frames stand that the transport has not taken, longer ones in pieces; with 4 bytes more than
    /// [`Limits::published`](wslink_core::Limits::published) each publication's fit whole, so that
    /// a slow reader never holds half of one.
    pub const NEW: Self =
        Self { receive: [0; RECEIVE], transmit: [0; TRANSMIT], stage: [0; STAGE] };
}

/// The memory of all WebSockets of a server, and with that their number.
#[derive(Debug)]
pub struct Pool<'m, const PEERS: usize>([Place<'m>; PEERS]);

#[derive(Debug)]
struct Place<'m> {
    receive: Home<'m>,
    transmit: Home<'m>,
    stage: Home<'m>,
}

/// What one WebSocket has taken from a [`Pool`].
pub(crate) struct Taken<'m> {
    pub(crate) receive: Lent<'m>,
    pub(crate) transmit: Lent<'m>,
    pub(crate) stage: Lent<'m>,
}

impl<'m, const PEERS: usize> Pool<'m, PEERS> {
    /// A pool of this memory.
    pub fn new<const RECEIVE: usize, const TRANSMIT: usize, const STAGE: usize>(
        memory: &'m mut [PeerMemory<RECEIVE, TRANSMIT, STAGE>; PEERS],
    ) -> Self {
        Self(memory.each_mut().map(|memory| Place {
            receive: Home::new(&mut memory.receive),
            transmit: Home::new(&mut memory.transmit),
            stage: Home::new(&mut memory.stage),
        }))
    }

    /// What a WebSocket needs; `None` if all of it is in use.
    pub(crate) fn take(&'m self) -> Option<Taken<'m>> {
        self.0.iter().find_map(|place| {
            let receive = place.receive.take()?;
            let transmit = place.transmit.take()?;
            let stage = place.stage.take()?;
            Some(Taken { receive, transmit, stage })
        })
    }
}

/// Where a buffer is while nobody uses it.
struct Home<'m>(CriticalSectionMutex<Cell<Option<&'m mut [u8]>>>);

impl<'m> Home<'m> {
    const fn new(bytes: &'m mut [u8]) -> Self {
        Self(CriticalSectionMutex::new(Cell::new(Some(bytes))))
    }

    fn take(&'m self) -> Option<Lent<'m>> {
        let bytes = self.0.lock(Cell::take)?;
        Some(Lent { bytes, home: Some(self) })
    }
}

impl fmt::Debug for Home<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Home")
    }
}

/// Bytes that go back to their [`Pool`] when they are no longer used; or to nobody, where they are
/// made of a plain `&mut [u8]`, as for a hub.
pub struct Lent<'m> {
    bytes: &'m mut [u8],
    home: Option<&'m Home<'m>>,
}

impl<'m> From<&'m mut [u8]> for Lent<'m> {
    fn from(bytes: &'m mut [u8]) -> Self {
        Self { bytes, home: None }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(home) = self.home {
            let bytes = mem::take(&mut self.bytes);
            home.0.lock(|home| home.set(Some(bytes)));
        }
    }
}

impl AsRef<[u8]> for Lent<'_> {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}

impl AsMut<[u8]> for Lent<'_> {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

impl Buffer for Lent<'_> {}

impl fmt::Debug for Lent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("len", &self.bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let mut memory = [PeerMemory::<4, 5, 6>::NEW; 2];
        let pool = Pool::new(&mut memory);
        let (one, two) = (pool.take().unwrap(), pool.take().unwrap());
        assert!(pool.take().is_none());
        let Taken { receive, transmit, stage } = one;
        drop(stage);
        drop(receive);
        assert!(pool.take().is_none(), "a part is still in use");
        drop(transmit);
        let again = pool.take().unwrap();
        assert_eq!(
            [again.receive, again.transmit, again.stage].map(|it| it.as_ref().len()),
            [4, 5, 6]
        );
        drop(two);
        assert!(pool.take().is_some());
    }
}
