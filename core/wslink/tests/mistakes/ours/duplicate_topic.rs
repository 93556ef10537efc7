#![allow(unused)]

use wslink::Topic;

struct Scope;

#[wslink::service]
impl Scope {
    #[topic("scope.trace")]
    const TRACE: Topic<u32>;

    #[topic("scope.trace")]
    const LEVEL: Topic<f32>;
}

fn main() {}
