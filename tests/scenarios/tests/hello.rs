//! The handshake.

use wslink_scenarios::{DIALECTS, bench};
use wslink_testkit::{Pair, val};

type Bench = Pair<wslink_scenarios::Bench>;

fn in_both(scenario: impl Fn(&mut Bench, wslink_testkit::Client)) -> String {
    let mut text = String::new();
    for (dialect, name) in DIALECTS {
        let mut pair = bench();
        let client = pair.connect(dialect);
        scenario(&mut pair, client);
        pair.run();
        text.push_str(&format!("==== {name}\n{}", pair.transcript()));
    }
    text
}

#[test]
fn hello_and_a_call() {
    insta::assert_snapshot!(in_both(|pair, client| {
        pair.hello(client);
        pair.run();
        pair.call_with(client, "bench.sum", val!([1, 2]), val!({"scale": 10}));
    }));
}
