#![allow(unused)]

struct Scope;

#[wslink::service]
impl Scope {
    #[rpc("name")]
    fn name(&self) -> u32 {
        1
    }
}

struct Power;

#[wslink::service]
impl Power {
    #[rpc("power.voltage")]
    fn voltage(&self) -> u32 {
        5
    }

    #[rpc("name")]
    fn name(&self) -> u32 {
        2
    }
}

#[derive(wslink::Service)]
struct Instrument {
    scope: Scope,
    power: Power,
}

fn main() {}
