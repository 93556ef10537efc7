#![allow(unused)]

use wslink::Topic;

struct Scope<T> {
    timer: T,
}

#[wslink::service(client = pub ScopeClient)]
impl<T: serde::Serialize + Clone> Scope<T> {
    #[topic("scope.timer")]
    const TIMER: Topic<T>;

    #[topic("scope.level")]
    const LEVEL: Topic<f32>;

    #[rpc("scope.timer")]
    fn timer(&self) -> T {
        self.timer.clone()
    }

    #[rpc("scope.new")]
    fn new(&self) {}

    #[rpc("scope.level")]
    fn subscribe_level(&self) {}

    #[rpc("scope.wait")]
    async fn wait(&self, #[rpc(default)] within: f32) {}
}

fn main() {}
