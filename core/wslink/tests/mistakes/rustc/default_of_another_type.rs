#![allow(unused)]

struct Scope;

#[wslink::service]
impl Scope {
    #[rpc("scope.set")]
    fn set(&self, #[rpc(default = "loud")] gain: f64) {
        let _ = gain;
    }
}

fn main() {}
