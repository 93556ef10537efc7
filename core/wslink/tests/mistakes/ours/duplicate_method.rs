#![allow(unused)]

struct Scope;

#[wslink::service]
impl Scope {
    #[rpc("scope.capture")]
    fn capture(&self) {}

    #[rpc("scope.capture")]
    fn capture_again(&self) {}
}

fn main() {}
