//! Several byte strings in one lent buffer.
//!
//! The spans belong to whoever uses them (a call, a pending message); the arena appends behind the
//! last one and, when it reaches the end, moves all of them together. So there is no table here,
//! and a buffer that grows is asked to only by what is about to be written.

use crate::Buffer;

/// A byte string in an [`Arena`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl Span {
    pub(crate) const fn end(self) -> u32 {
        self.start.saturating_add(self.len)
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end() as usize).unwrap_or(&[])
    }

    pub(crate) fn of_mut(self, bytes: &mut [u8]) -> &mut [u8] {
        bytes.get_mut(self.start as usize..self.end() as usize).unwrap_or(&mut [])
    }
}

/// All spans that are in use.
pub(crate) trait Spans {
    /// Shows each span to `look`.
    fn each(&mut self, look: &mut dyn FnMut(&mut Span));
}

#[derive(Debug)]
pub(crate) struct Arena<B> {
    buffer: B,
    limit: u32,
}

impl<B: Buffer> Arena<B> {
    pub(crate) const fn new(buffer: B, limit: u32) -> Self {
        Self { buffer, limit }
    }

    /// The most that fits.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity().min(self.limit as usize)
    }

    /// What fits without growing.
    pub(crate) fn present(&self) -> usize {
        self.buffer.as_ref().len().min(self.limit as usize)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref()
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        self.buffer.as_mut()
    }

    /// Makes room for `len` bytes behind all spans and tells where; `None` if there never is with
    /// these spans.
    pub(crate) fn alloc(&mut self, len: usize, spans: &mut impl Spans) -> Option<Span> {
        let fits = |start: u32, most: usize| {
            (start as usize).checked_add(len).is_some_and(|end| end <= most).then_some(start)
        };
        let end = end(spans);
        let start = match fits(end, self.present()) {
            Some(start) => start,
            None => {
                if used(spans) < end as usize {
                    self.compact(spans);
                }
                let start = fits(self::end(spans), self.capacity())?;
                self.buffer.grow(start as usize + len);
                fits(start, self.present())?
            }
        };
        Some(Span { start, len: u32::try_from(len).ok()? })
    }

    /// The bytes of all spans, and those behind them, where the next one will lie.
    pub(crate) fn split(&mut self, spans: &mut impl Spans) -> (&[u8], &mut [u8]) {
        let most = self.present();
        let present = self.buffer.as_mut().get_mut(..most).unwrap_or(&mut []);
        let (before, tail) = present.split_at_mut(most.min(end(spans) as usize));
        (before, tail)
    }

    /// Moves the spans to the start of the buffer, in their order.
    fn compact(&mut self, spans: &mut impl Spans) {
        let (mut from, mut to) = (0, 0);
        // The spans come in any order: each round moves the next one by position.
        while let Some(next) = next(spans, from) {
            let range = next.start as usize..next.end() as usize;
            if next.start != to && range.end <= self.buffer.as_ref().len() {
                self.buffer.as_mut().copy_within(range, to as usize);
                spans.each(&mut |span| {
                    if *span == next {
                        span.start = to;
                    }
                });
            }
            from = next.end();
            to += next.len;
        }
    }

    /// Gives memory back when nothing is left in it.
    pub(crate) fn settle(&mut self, spans: &mut impl Spans) {
        if used(spans) == 0 {
            self.buffer.release();
        }
    }
}

fn used(spans: &mut impl Spans) -> usize {
    let mut sum = 0;
    spans.each(&mut |span| sum += span.len as usize);
    sum
}

fn end(spans: &mut impl Spans) -> u32 {
    let mut end = 0;
    spans.each(&mut |span| {
        if span.len > 0 {
            end = end.max(span.end());
        }
    });
    end
}

/// The first span with content at or behind `from`.
fn next(spans: &mut impl Spans, from: u32) -> Option<Span> {
    let mut next: Option<Span> = None;
    spans.each(&mut |span| {
        let nearer = next.is_none_or(|next| span.start < next.start);
        if span.len > 0 && span.start >= from && nearer {
            next = Some(*span);
        }
    });
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    struct List([Span; 3]);

    impl Spans for List {
        fn each(&mut self, look: &mut dyn FnMut(&mut Span)) {
            self.0.iter_mut().for_each(look);
        }
    }

    fn span(start: u32, len: u32) -> Span {
        Span { start, len }
    }

    #[test]
    fn spans_are_moved_together_in_their_order() {
        let mut arena = Arena::new(*b"..AA.BBBCC", 100);
        let mut list = List([span(5, 3), span(8, 2), span(2, 2)]);
        assert_eq!(arena.alloc(4, &mut list), None);
        assert_eq!(arena.alloc(3, &mut list), Some(span(7, 3)));
        assert_eq!(&arena.bytes()[..7], b"AABBBCC");
        assert_eq!(list.0, [span(2, 3), span(5, 2), span(0, 2)]);
    }

    #[test]
    fn a_limit_below_the_buffer_holds() {
        let mut arena = Arena::new([0; 10], 4);
        let mut none = List([Span::default(); 3]);
        assert_eq!(arena.alloc(4, &mut none), Some(span(0, 4)));
        assert_eq!(arena.alloc(5, &mut none), None);
    }
}
