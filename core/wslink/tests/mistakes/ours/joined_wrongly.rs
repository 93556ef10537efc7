#![allow(unused)]

struct Scope;

#[wslink::service]
impl Scope {}

#[derive(wslink::Service)]
struct Nameless(Scope);

#[derive(wslink::Service)]
enum Either {
    Scope(Scope),
}

#[derive(wslink::Service)]
struct TwoDecide {
    #[service(authorize)]
    scope: Scope,
    #[service(authorize)]
    other: Scope,
    #[service(authorise)]
    third: Scope,
}

#[derive(wslink::Service)]
#[service(authorize)]
struct Misplaced {
    scope: Scope,
}

fn main() {}
