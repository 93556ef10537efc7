//! Snapshot tests for wslink services: a server and its clients in one thread, a clock that is
//! held by hand, and a transcript of all that passed between them.
//!
//! A [`Pair`] runs a [`Service`](wslink_core::Service) behind the engine as an adapter would, but
//! without sockets and without time: nothing is random and nothing waits, so a transcript is the
//! same byte for byte wherever it is made. The [`Link`] between the ends cuts, delays and stalls.
//!
//! A service of one's own is tested so:
//!
//! ```
//! use wslink_core::wire::Dialect;
//! use wslink_core::{Call, Cx, MethodInfo, NoBlob, RpcError, Service, TopicInfo};
//! use wslink_testkit::{Pair, val};
//!
//! struct Doubler;
//!
//! impl Service for Doubler {
//!     type Request = i64;
//!     type Reply = i64;
//!     type Blob = NoBlob;
//!     const METHODS: &'static [MethodInfo] = &[MethodInfo::new("math.double")];
//!     const TOPICS: &'static [TopicInfo] = &[];
//!
//!     fn decode(&self, call: &Call<'_>) -> Result<i64, RpcError> {
//!         let number = call.args().next().and_then(|number| number.as_i64());
//!         number.ok_or_else(|| RpcError::invalid_params("one integer expected"))
//!     }
//!
//!     async fn call(&self, _: Cx<'_, NoBlob>, number: i64) -> Result<i64, RpcError> {
//!         number.checked_mul(2).ok_or_else(|| RpcError::failed("too large"))
//!     }
//! }
//!
//! let mut pair = Pair::new(Doubler);
//! let client = pair.connected(Dialect::V1);
//! assert_eq!(pair.ask(client, "math.double", val!([21])), Ok(val!(42)));
//! let failure = pair.ask(client, "math.double", val!(["x"])).unwrap_err();
//! assert_eq!(failure.code, -32602);
//!
//! // In a test of yours: insta::assert_snapshot!(pair.transcript());
//! assert_eq!(
//!     pair.transcript().to_string(),
//!     r#"     0 > text {"wslink": "1.0", "id": "system:c0:0", "method": "wslink.hello", "args": [{"secret": "wslink-secret"}], "kwargs": {}}
//!      0 * hello accepted
//!      0 < text {"wslink": "1.0", "id": "system:c0:0", "result": {"clientID": "c00000000000000000000000000000001"}}
//!      0 > text {"wslink": "1.0", "id": "rpc:c00000000000000000000000000000001:0", "method": "math.double", "args": [21], "kwargs": {}}
//!      0 * call 1: math.double [21] {}
//!      0 < text {"wslink": "1.0", "id": "rpc:c00000000000000000000000000000001:0", "result": 42}
//!      0 > text {"wslink": "1.0", "id": "rpc:c00000000000000000000000000000001:1", "method": "math.double", "args": ["x"], "kwargs": {}}
//!      0 * call 2: math.double ["x"] {}
//!      0 < text {"wslink": "1.0", "id": "rpc:c00000000000000000000000000000001:1", "error": {"code": -32602, "message": "Invalid params: one integer expected"}}
//! "#
//! );
//! ```

mod client;
mod clock;
mod codec;
mod decode;
mod encode;
mod frame;
mod link;
mod memory;
mod pair;
mod read;
mod server;
mod transcript;
mod val;

pub use client::{ClientEnd, Failure, Received};
pub use clock::{Clock, Sleep};
pub use codec::NotAValue;
pub use decode::{Decoder, Message};
pub use encode::Encoder;
pub use frame::{Frame, lent};
pub use link::{Cut, Link};
pub use memory::{Heap, HeapBuffer, HeapTable};
pub use pair::{Client, Options, Pair};
pub use read::NotRead;
pub use transcript::{Line, NotALine, Shown, Transcript, Way, client_name};
pub use val::{Kept, Val};
