#![allow(unused)]

use wslink::{Binary, Cx};

struct Scope;

#[wslink::service]
impl Scope {
    #[rpc("scope.upload")]
    async fn upload(&self, image: Binary<'_>) {}

    #[rpc("scope.rename")]
    async fn rename(&self, name: &str) {}

    #[rpc("scope.announce")]
    fn announce(&self, cx: Cx<'_>, name: Option<&str>) {}
}

fn main() {}
