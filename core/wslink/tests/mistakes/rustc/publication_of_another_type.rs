#![allow(unused)]

use wslink::{Cx, NoBlob, Topic};

struct Scope;

#[wslink::service]
impl Scope {
    #[topic("scope.level")]
    const LEVEL: Topic<f32>;

    #[rpc("scope.measure")]
    fn measure(&self, cx: Cx<'_, NoBlob>) {
        cx.publish(&Self::LEVEL, &"high").ok();
    }
}

fn main() {}
