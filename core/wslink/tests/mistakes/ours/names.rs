#![allow(unused)]

use wslink::Topic;

struct Scope;

#[wslink::service]
impl Scope {
    #[topic("scope-trace")]
    const TRACE: Topic<u32>;

    #[rpc("scope.capture now")]
    fn capture(&self) {}

    #[rpc("scope..name")]
    fn name(&self) {}

    #[rpc("wslink.name")]
    fn ours(&self) {}

    #[rpc]
    fn nameless(&self) {}

    #[rpc(deadline = "5s")]
    fn late(&self) {}
}

fn main() {}
