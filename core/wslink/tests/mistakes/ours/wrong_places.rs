#![allow(unused)]

use wslink::Service;

struct Scope;

#[wslink::service]
impl Clone for Scope {
    fn clone(&self) -> Self {
        Self
    }
}

#[wslink::service]
struct Power;

fn main() {}
