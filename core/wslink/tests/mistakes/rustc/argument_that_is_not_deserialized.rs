#![allow(unused)]

struct Scope;

struct Window {
    from: u32,
}

#[wslink::service]
impl Scope {
    #[rpc("scope.window")]
    async fn window(&self, window: Window) -> u32 {
        window.from
    }
}

fn main() {}
