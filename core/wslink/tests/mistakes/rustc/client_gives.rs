#![allow(unused)]

use serde::Deserialize;

struct Scope;

#[derive(Deserialize)]
struct Gain(f32);

#[wslink::service(client = pub ScopeClient)]
impl Scope {
    #[rpc("scope.gain")]
    fn gain(&self, gain: Gain) {}

    #[rpc("scope.capture")]
    async fn capture(&self, samples: u32, #[rpc(default)] trigger: Option<f32>) -> u32 {
        samples
    }
}

async fn misuse<C: wslink::client::Caller>(scope: ScopeClient<C>) -> Option<u32> {
    let samples: Option<u32> = scope.capture(3).trigger("high").await.ok();
    let samples: Option<String> = scope.capture(3).await.ok();
    scope.capture("three").await.ok()
}

fn main() {}
