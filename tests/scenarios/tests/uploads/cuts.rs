//! However the bytes of an upload come, the same is read of it.

use super::{Bench, Mode, image, store};
use proptest::prelude::*;
use wslink_core::wire::Dialect;
use wslink_testkit::{Cut, val};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_cut_reads_the_same(
        v1 in any::<bool>(),
        len in 0_usize..4000,
        by in 1_usize..700,
        cut in 1_usize..1024,
        chunk in 1_usize..1012,
        named in any::<bool>(),
        between in any::<bool>(),
    ) {
        let dialect = if v1 { Dialect::V1 } else { Dialect::V2 };
        // Room for a request in fragments beside an attachment that is kept.
        let mut pair: Bench = store(Mode::By(by), |config| config.limits.receive_bytes = 1400);
        let client = pair.connected(dialect);
        // Each fragment costs time, and short ones of a long upload teach nothing new.
        pair.link(client).cut(Cut::Every(cut.max(len / 100)));
        pair.chunks_of(client, chunk.max(len / 100));
        for _ in 0..2 {
            let image = image(len);
            let (args, kwargs) = match named {
                true => (val!([]), val!({"image": (image.clone())})),
                false => (val!([(image.clone())]), val!({})),
            };
            let id = pair.call_with(client, "store.put", args, kwargs);
            if between {
                pair.call(client, "store.echo", val!(["yes"]));
            }
            pair.run();
            let answer = pair.answer(client, &id).cloned();
            let expected = wslink_testkit::Val::from(image.to_string());
            prop_assert_eq!(answer, Some(Ok(expected)), "{}", pair.transcript());
        }
        prop_assert!(pair.connection(client).has_room());
    }
}
