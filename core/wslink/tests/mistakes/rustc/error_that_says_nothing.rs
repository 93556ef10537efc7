#![allow(unused)]

struct Scope;

struct Cold;

#[wslink::service]
impl Scope {
    #[rpc("scope.calibrate")]
    async fn calibrate(&self) -> Result<(), Cold> {
        Err(Cold)
    }
}

fn main() {}
