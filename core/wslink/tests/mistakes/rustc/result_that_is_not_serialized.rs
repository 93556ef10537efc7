#![allow(unused)]

struct Scope;

struct Trace;

#[wslink::service]
impl Scope {
    #[rpc("scope.capture")]
    async fn capture(&self) -> Result<Trace, &'static str> {
        Ok(Trace)
    }

    #[rpc("scope.name")]
    fn name(&self) -> Trace {
        Trace
    }
}

fn main() {}
