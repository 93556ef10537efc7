#![allow(unused)]

struct Scope<T>(T);

struct Trace;

#[wslink::service]
impl<T> Scope<T> {
    #[rpc("scope.capture")]
    async fn capture(&self) -> Trace {
        Trace
    }
}

fn main() {}
