//! Every kind of exchange as a transcript, in both dialects.

/// Holds a transcript against the committed one of the test's name.
macro_rules! snapshot {
    ($transcript:expr) => {
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!($transcript);
        })
    };
}

mod attachments;
mod calls;
mod deadlines;
mod errors;
mod hello;
mod limits;
mod publications;
