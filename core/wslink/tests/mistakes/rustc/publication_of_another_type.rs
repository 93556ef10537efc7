#![allow(unused)]

use wslink::{Cx, Topic};

struct Scope;

#[wslink::service]
impl Scope {
    #[topic("scope.level")]
    const LEVEL: Topic<f32>;

    #[rpc("scope.measure")]
    fn measure(&self, cx: Cx<'_>) {
        cx.publish(&Self::LEVEL, &"high").ok();
    }
}

fn main() {}
