#![allow(unused)]

struct Scope {
    name: String,
}

#[wslink::service]
impl Scope {
    #[rpc("scope.name")]
    fn name(&self) -> &str {
        &self.name
    }

    #[rpc("scope.numbers")]
    fn numbers(&self) -> impl Iterator<Item = u32> {
        0..3
    }
}

fn main() {}
