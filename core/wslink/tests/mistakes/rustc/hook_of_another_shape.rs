#![allow(unused)]

struct Scope;

#[wslink::service]
impl Scope {
    #[on(opened)]
    fn welcome(&self, name: &str) {
        let _ = name;
    }
}

fn main() {}
