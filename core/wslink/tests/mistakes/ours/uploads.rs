#![allow(unused)]

//! What an upload does not allow.

use wslink::{Cx, Upload};

struct Board;

#[wslink::service]
impl Board {
    #[rpc("board.sync")]
    fn sync(&self, image: Upload<'_>) {}

    #[rpc("board.two")]
    async fn two(&self, image: Upload<'_>, fast: bool) {}

    #[rpc("board.both")]
    async fn both(&self, cx: Cx<'_>, image: Upload<'_>, other: Upload<'_>) {}

    #[rpc("board.default")]
    async fn default(&self, #[rpc(default)] image: Upload<'_>) {}
}

fn main() {}
