//! What of the publications has to reach a peer.

use crate::service::{NAMES, is_retained};

/// A topic as one peer should see it. Each publication has its number, counted within the topic.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// For each publication, whether it was for this peer.
    published: Vec<bool>,
    /// The last one that stays as the retained value, since it was not for one peer alone.
    kept: Option<u64>,
    wanted: bool,
    /// The first number that counts since the peer wanted the topic.
    since: u64,
    delivered: u64,
    missed: u64,
    told: u64,
    lost: u64,
    newest: Option<u64>,
    newest_at_all: Option<u64>,
}

/// All topics, the undeclared one last.
#[derive(Debug, Default)]
pub struct Topics {
    pub heard: [Heard; NAMES.len()],
    /// The peer asked for a topic at most so often, or may have.
    pub rated: bool,
    /// The peer may have subscribed to the undeclared topic, or not.
    pub narrowed: bool,
}

/// What may be counted twice: a publication that was under way when the interest began, and a
/// retained value that was passed over.
const SLACK: u64 = 2;

pub fn index(name: &str) -> usize {
    NAMES.iter().position(|it| *it == name).unwrap_or(NAMES.len() - 1)
}

impl Topics {
    pub fn next(&self, topic: usize) -> u64 {
        self.heard[topic].published.len() as u64
    }

    pub fn publish(&mut self, topic: usize, for_peer: bool, kept: bool) {
        let heard = &mut self.heard[topic];
        if kept {
            heard.kept = Some(heard.published.len() as u64);
        }
        heard.published.push(for_peer);
    }

    pub fn listen(&mut self, topic: usize, wanted: bool) {
        let heard = &mut self.heard[topic];
        assert_ne!(heard.wanted, wanted, "told twice");
        heard.check_most(topic);
        heard.wanted = wanted;
        heard.since = heard.published.len() as u64;
        heard.delivered = 0;
        heard.missed = 0;
        heard.newest = None;
    }

    pub fn deliver(&mut self, name: &str, n: u64, retained: bool) {
        let topic = index(name);
        let heard = &mut self.heard[topic];
        let for_peer = heard.published.get(n as usize).expect("published before it is sent");
        assert!(for_peer, "{name} {n} was for others");
        if retained {
            assert!(is_retained(topic), "{name} is not retained");
            // At a rate, one that waits for its time may be what another one for this peer alone
            // takes the place of, and yet be what the topic retains.
            let again = heard.newest_at_all.is_some_and(|newest| n <= newest)
                || heard.missed > 0
                || self.rated;
            assert!(n < heard.since || again, "{name} {n} is not older than the interest in it");
        } else {
            let before = heard.newest_at_all.replace(n);
            assert!(before < Some(n), "{name} {n} after {before:?}");
            heard.delivered += u64::from(n >= heard.since);
        }
        heard.newest = heard.newest.max(Some(n));
        heard.check_most(topic);
    }

    pub fn miss(&mut self, name: &str, count: u64) {
        let topic = index(name);
        let heard = &mut self.heard[topic];
        assert!(count > 0, "nothing was missed");
        heard.missed += count;
        heard.lost += count;
        heard.check_most(topic);
    }

    pub fn tell(&mut self, name: &str, count: u64) {
        let heard = &mut self.heard[index(name)];
        heard.told += count;
        assert!(heard.told <= heard.lost, "the client is told of losses that were none");
    }

    /// To be called when all is sent: nothing was lost without a word.
    pub fn check_least(&self) {
        for (topic, heard) in self.heard.iter().enumerate() {
            let declared = topic < NAMES.len() - 1;
            if !heard.wanted || !declared && self.narrowed {
                continue;
            }
            let name = NAMES[topic];
            let mine = |from: u64| heard.published.iter().skip(from as usize).filter(|it| **it);
            let expected = mine(heard.since).count() as u64;
            if !self.rated {
                let had = heard.delivered + heard.missed;
                assert!(
                    had >= expected,
                    "{name}: {had} of {expected} came or were missed: {heard:?}"
                );
            }
            // The newest comes, or its loss is told.
            let newest = heard.published.iter().rposition(|it| *it).map(|n| n as u64);
            let all_mine = heard.published.iter().all(|it| *it);
            let kept = declared && is_retained(topic) && newest == heard.kept;
            let due = newest.is_some_and(|n| n >= heard.since || kept);
            if due && all_mine && heard.missed == 0 {
                assert_eq!(heard.newest, newest, "{name}: the newest did not come: {heard:?}");
            }
        }
    }
}

impl Heard {
    fn check_most(&self, topic: usize) {
        let published = self.published.len() as u64 - self.since;
        let had = self.delivered + self.missed;
        assert!(
            had <= published + SLACK,
            "{}: {had} came or were missed of {published}: {self:?}",
            NAMES[topic]
        );
    }
}
