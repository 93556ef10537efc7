//! What holds however the bytes are cut, whatever order they come in, and whatever they are.

mod answers;
mod audience;
mod chunks;
mod cuts;
mod garbage;
mod sizes;

/// A bounded number of cases, or as many as `PROPTEST_CASES` says.
fn cases(cases: u32) -> proptest::test_runner::Config {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    proptest::test_runner::Config::with_cases(wanted.unwrap_or(cases))
}
