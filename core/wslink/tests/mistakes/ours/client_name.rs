#![allow(unused)]

struct Scope;

#[wslink::service(client)]
impl Scope {}

struct Lamp;

#[wslink::service(client = "LampClient")]
impl Lamp {}

struct Door;

#[wslink::service(client = DoorClient, client = DoorClient)]
impl Door {}

fn main() {}
