#![allow(unused)]

use wslink::Topic;

struct Scope;

#[wslink::service(blobs = u8)]
impl Scope {
    #[topic("scope.trace", keep_newest)]
    const TRACE: Topic<u32>;

    #[topic("scope.level", keep_latest, disconnect)]
    const LEVEL: Topic<u32>;

    #[topic("scope.clock", drop_oldest(0))]
    const CLOCK: Topic<u32>;

    #[topic("scope.number")]
    const NUMBER: u32;

    #[topic("scope.given")]
    const GIVEN: Topic<u32> = Topic::new("scope.given");

    #[topic("scope.method")]
    fn topic(&self) {}

    #[rpc("scope.capture", timeout = "5s")]
    fn capture(&self) {}

    #[rpc("scope.name", deadline = "5 hours")]
    async fn name(&self) {}

    #[rpc("scope.number", deadline = 5)]
    async fn number(&self) {}

    #[rpc("scope.set")]
    fn set(&self, #[rpc(optional)] gain: f64) {}

    #[rpc("scope.one")]
    #[rpc("scope.two")]
    fn two(&self) {}

    #[rpc("scope.cfg")]
    #[cfg(all())]
    fn cfg(&self) {}

    #[on(close)]
    fn close(&self) {}

    #[on(closed)]
    async fn closed(&self) {}
}

fn main() {}
