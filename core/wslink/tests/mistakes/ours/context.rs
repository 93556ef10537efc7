#![allow(unused)]

use wslink::Cx;

struct Scope;

#[wslink::service]
impl Scope {
    #[rpc("scope.late")]
    async fn late(&self, samples: u32, cx: Cx<'_>) {}

    #[rpc("scope.wrong")]
    async fn wrong(&self, cx: u32) {}

    #[rpc("scope.two")]
    async fn two(&self, cx: Cx<'_>, other: Cx<'_>) {}
}

fn main() {}
