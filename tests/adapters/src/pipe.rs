//! A pipe in memory, on one thread.

use core::cell::RefCell;
use core::fmt;
use core::future::poll_fn;
use core::task::{Poll, Waker};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use std::collections::VecDeque;
use std::rc::Rc;

#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    most: usize,
    ended: bool,
    gone: bool,
    wakers: Vec<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// The end of a pipe that is written to.
pub struct Sender(Rc<RefCell<Pipe>>);
/// The end of a pipe that is read from.
pub struct Receiver(Rc<RefCell<Pipe>>);

/// A pipe that holds up to `most` bytes, as the ring of a socket does.
pub fn pipe(most: usize) -> (Sender, Receiver) {
    let pipe = Rc::new(RefCell::new(Pipe { most, ..Pipe::default() }));
    (Sender(Rc::clone(&pipe)), Receiver(pipe))
}

impl ErrorType for Sender {
    type Error = ErrorKind;
}

impl ErrorType for Receiver {
    type Error = ErrorKind;
}

impl Write for Sender {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        poll_fn(|cx| {
            let pipe = &mut *self.0.borrow_mut();
            if pipe.gone {
                return Poll::Ready(Err(ErrorKind::ConnectionReset));
            }
            let count = bytes.len().min(pipe.most - pipe.bytes.len());
            if count == 0 {
                pipe.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            pipe.bytes.extend(&bytes[..count]);
            pipe.wake();
            Poll::Ready(Ok(count))
        })
        .await
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl Read for Receiver {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, ErrorKind> {
        assert!(!into.is_empty(), "a read without room looks like the end");
        poll_fn(|cx| {
            let pipe = &mut *self.0.borrow_mut();
            let count = into.len().min(pipe.bytes.len());
            if count == 0 {
                if pipe.ended {
                    return Poll::Ready(Ok(0));
                }
                pipe.wakers.push(cx.waker().clone());
                return Poll::Pending;
            }
            for (to, from) in into.iter_mut().zip(pipe.bytes.drain(..count)) {
                *to = from;
            }
            pipe.wake();
            Poll::Ready(Ok(count))
        })
        .await
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let pipe = &mut *self.0.borrow_mut();
        pipe.ended = true;
        pipe.wake();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let pipe = &mut *self.0.borrow_mut();
        pipe.gone = true;
        pipe.wake();
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receiver")
    }
}
