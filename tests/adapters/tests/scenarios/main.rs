//! The same scenarios through both adapters, held against the same snapshots: a client over a real
//! socket at `wslink-smol`, and over a pipe at `wslink-embassy`.

#![allow(clippy::unwrap_used, reason = "a test ends where something is missing")]

mod desktop;
mod device;
mod scenarios;

use core::cell::Cell;
use core::time::Duration;
use smol::future::{self, FutureExt as _};
use smol::{LocalExecutor, Timer};
use std::rc::Rc;
use wslink_adapters::{Log, Stream, Visitor};
use wslink_core::wire::Dialect;
use wslink_core::{Config, HubLimits};
use wslink_scenarios::DIALECTS;

const SECRET: &str = "hush";

/// Makes connections to a server.
type Connect = Box<dyn Fn() -> future::BoxedLocal<Stream>>;
type Executor = Rc<LocalExecutor<'static>>;

/// What a scenario has: a server, a dialect, and a log.
struct Stage {
    connect: Connect,
    dialect: Dialect,
    log: Log,
    names: Cell<u8>,
}

impl Stage {
    /// A client that has said nothing.
    async fn stranger(&self) -> Visitor {
        let name = self.names.replace(self.names.get() + 1);
        let stream = (self.connect)().await;
        Visitor::open(char::from(name), stream, self.dialect, Rc::clone(&self.log)).await
    }

    /// A client whose hello was accepted.
    async fn client(&self) -> Visitor {
        let mut client = self.stranger().await;
        client.hello(SECRET).await.unwrap();
        client
    }
}

/// The limits and deadlines of a device, for both.
fn config(change: fn(&mut Config)) -> (Config, HubLimits) {
    let mut config = Config::device();
    change(&mut config);
    (config, HubLimits::device())
}

/// Runs a scenario in both dialects, each with a server of its own, and holds what the clients saw
/// against the snapshot of this name.
fn check(
    name: &str,
    serve: impl AsyncFn(&Executor) -> Connect,
    scenario: impl AsyncFn(&Stage) -> (),
) {
    let mut text = String::new();
    for (dialect, title) in DIALECTS {
        let (executor, log) = (Executor::default(), Log::default());
        let running = executor.run(async {
            let stage = Stage {
                connect: serve(&executor).await,
                dialect,
                log: Rc::clone(&log),
                names: Cell::new(b'A'),
            };
            scenario(&stage).await;
        });
        let late = async {
            Timer::after(Duration::from_secs(60)).await;
            panic!("{name} takes too long in {title}:\n{}", log.borrow())
        };
        smol::block_on(running.or(late));
        text += &format!("==== {title}\n{}", log.borrow());
    }
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Each scenario as a test of each adapter.
macro_rules! scenarios {
    ($($name:ident: $change:expr;)*) => {
        mod smol_ {
            $(#[test]
            fn $name() {
                let change: fn(&mut wslink_core::Config) = $change;
                let serve = async |executor: &_| crate::desktop::serve(executor, change).await;
                crate::check(stringify!($name), serve, crate::scenarios::$name);
            })*
        }
        mod embassy {
            $(#[test]
            fn $name() {
                let change: fn(&mut wslink_core::Config) = $change;
                let serve = async |executor: &_| crate::device::serve(executor, change);
                crate::check(stringify!($name), serve, crate::scenarios::$name);
            })*
        }
    };
}

scenarios! {
    hello: |_| {};
    calls: |_| {};
    errors: |_| {};
    requests_that_make_no_sense: |_| {};
    attachments: |_| {};
    publications: |_| {};
    subscriptions: |_| {};
    calls_side_by_side: |_| {};
    messages_at_the_limit: |_| {};
    frames_at_the_limit: |_| {};
    chunks_and_fragments: |_| {};
    pings: |_| {};
    closed_by_the_client: |_| {};
    violations: |config| config.deadlines.close = core::time::Duration::from_millis(300);
    who_vanishes: |_| {};
    claims: |config| config.deadlines.close = core::time::Duration::from_millis(300);
    bombs: |_| {};
    what_is_not_theirs: |_| {};
    a_deadline_of_a_call: |_| {};
    no_hello_in_time: |config| config.deadlines.hello = core::time::Duration::from_millis(200);
    half_a_message: |config| config.deadlines.partial = core::time::Duration::from_millis(200);
    a_client_that_is_dead: |config| {
        config.deadlines.ping = Some(core::time::Duration::from_millis(200));
        config.deadlines.pong = core::time::Duration::from_millis(200);
    };
}
