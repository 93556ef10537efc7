#![allow(unused)]

use serde::Serialize;
use wslink::{Attachment, Cx, RpcError, Topic};

struct Scope;

#[derive(Serialize)]
struct Settings {
    volts: f32,
}

#[derive(Serialize)]
struct Trace {
    samples: Attachment,
}

#[wslink::service(blob = Vec<u8>, client = pub ScopeClient)]
impl Scope {
    #[topic("scope.settings")]
    const SETTINGS: Topic<Settings>;

    #[rpc("scope.settings")]
    fn settings(&self) -> Settings {
        Settings { volts: 1.0 }
    }

    #[rpc("scope.capture")]
    async fn capture(&self, cx: Cx<'_, Vec<u8>>) -> Result<Trace, RpcError> {
        Ok(Trace { samples: cx.attach(vec![])? })
    }
}

fn main() {}
