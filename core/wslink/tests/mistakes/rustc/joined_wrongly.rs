#![allow(unused)]

struct Scope;

#[wslink::service]
impl Scope {}

struct Power;

#[wslink::service(blob = &'static [u8])]
impl Power {}

#[derive(wslink::Service)]
struct OfDifferentBlobs {
    scope: Scope,
    power: Power,
}

#[derive(wslink::Service)]
struct OfOtherThings {
    scope: Scope,
    number: u32,
}

fn main() {}
