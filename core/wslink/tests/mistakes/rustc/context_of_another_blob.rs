#![allow(unused)]

use wslink::Cx;

struct Scope;

#[wslink::service]
impl Scope {
    #[rpc("scope.capture")]
    async fn capture(&self, cx: Cx<'_, &'static [u8]>) {
        let _ = cx;
    }
}

fn main() {}
