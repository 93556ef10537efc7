#![allow(unused)]

struct Scope;

#[wslink::service]
impl Scope {
    #[rpc("scope.pattern")]
    fn pattern(&self, (from, to): (u32, u32)) {}

    #[rpc("scope.wild")]
    fn wild(&self, _: u32) {}

    #[rpc("scope.opaque")]
    fn opaque(&self, samples: impl Into<u32>) {}

    #[rpc("scope.value")]
    fn value(self) {}

    #[rpc("scope.exclusive")]
    fn exclusive(&mut self) {}

    #[rpc("scope.associated")]
    fn associated(samples: u32) {}

    #[rpc("scope.generic")]
    fn generic<T>(&self, samples: T) {}

    #[rpc("scope.lifetime")]
    fn lifetime<'a>(&self, name: &'a str) {}

    #[rpc("scope.twice")]
    fn twice(&self, samples: u32, #[rpc(name = "samples")] others: u32) {}

    #[rpc("scope.token")]
    fn token(&self, wslink_token: u32) {}
}

fn main() {}
