//! Lists of methods and topics, joined at compile time.

use core::marker::PhantomData;
use wslink_core::{MethodInfo, Service, Topic, TopicInfo};

/// Services that are one.
pub trait Joined {
    /// The methods of each.
    const METHODS: &'static [&'static [MethodInfo]];
    /// The topics of each.
    const TOPICS: &'static [&'static [TopicInfo]];
}

/// What the services of a [`Joined`] have together.
#[derive(Debug)]
pub struct Lists<J>(PhantomData<J>);

/// A constant of a generic type cannot say the length of an array: one of these lengths it is,
/// the least that is enough. The others are never in a program.
macro_rules! joined {
    ($name:ident, $item:ty, $filler:expr, $($length:literal)*) => {
        impl<J: Joined> Lists<J> {
            /// All of them, in the order of the services.
            pub const $name: &'static [$item] = {
                const fn joined<const N: usize>(lists: &[&[$item]]) -> [$item; N] {
                    let mut all = [$filler; N];
                    let (mut list, mut place) = (0, 0);
                    while list < lists.len() {
                        let mut item = 0;
                        while item < lists[list].len() && place < N {
                            all[place] = lists[list][item];
                            (item, place) = (item + 1, place + 1);
                        }
                        list += 1;
                    }
                    all
                }
                struct Of<J, const N: usize>(PhantomData<J>);
                impl<J: Joined, const N: usize> Of<J, N> {
                    const ALL: [$item; N] = joined(J::$name);
                }
                let (mut count, mut list) = (0, 0);
                while list < J::$name.len() {
                    count += J::$name[list].len();
                    list += 1;
                }
                match count {
                    0 => &[],
                    $(..=$length => Of::<J, $length>::ALL.split_at(count).0,)*
                    _ => panic!("the joined services have more than 256 methods or topics"),
                }
            };
        }
    };
}

joined!(METHODS, MethodInfo, MethodInfo::new("_"), 4 8 12 16 20 24 28 32 40 48 64 96 128 256);
joined!(TOPICS, TopicInfo, Topic::<()>::new("_").info(), 4 8 12 16 20 24 28 32 40 48 64 96 128 256);

/// Whether a topic is one of this service.
#[must_use]
pub fn declares<S: Service>(topic: &str) -> bool {
    S::TOPICS.iter().any(|info| info.name == topic)
}

/// Fails to compile if two services have a method or a topic of the same name.
pub const fn no_clash<A: Service, B: Service>() {
    let mut a = 0;
    while a < A::METHODS.len() {
        let mut b = 0;
        while b < B::METHODS.len() {
            differ(
                "two of the joined services have the method ",
                A::METHODS[a].name,
                B::METHODS[b].name,
            );
            b += 1;
        }
        a += 1;
    }
    a = 0;
    while a < A::TOPICS.len() {
        let mut b = 0;
        while b < B::TOPICS.len() {
            differ(
                "two of the joined services have the topic ",
                A::TOPICS[a].name,
                B::TOPICS[b].name,
            );
            b += 1;
        }
        a += 1;
    }
}

const fn differ(message: &str, a: &str, b: &str) {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return;
        }
        i += 1;
    }
    // A message of compilation is one text.
    let mut text = [b' '; 128];
    let mut at = 0;
    while at < text.len() && at < message.len() + a.len() {
        text[at] = if at < message.len() { message.as_bytes()[at] } else { a[at - message.len()] };
        at += 1;
    }
    match core::str::from_utf8(text.split_at(at).0) {
        Ok(text) => panic!("{}", text),
        Err(_) => panic!("two of the joined services have a name in common"),
    }
}
