//! A parameter that is read as it comes.
use wslink::wire::Dialect;
use wslink::{Cx, MethodInfo, ParamInfo, Service, Upload};
use wslink_testkit::{Pair, Val, val};

struct Board;

#[wslink::service]
impl Board {
    /// Counts.
    #[rpc("board.update", deadline = "60s")]
    async fn update(&self, mut image: Upload<'_>) -> (u64, Option<u64>) {
        count(&mut image).await
    }

    #[rpc("board.restore")]
    async fn restore(&self, cx: Cx<'_>, #[rpc(name = "from")] mut backup: Upload<'_>) -> u64 {
        let (count, len) = count(&mut backup).await;
        cx.progress(count, len);
        count
    }
}

async fn count(upload: &mut Upload<'_>) -> (u64, Option<u64>) {
    let (mut count, mut buffer) = (0, [0; 32]);
    loop {
        match upload.read(&mut buffer).await {
            0 => return (count, upload.len()),
            n => count += n as u64,
        }
    }
}

#[test]
fn an_upload_is_a_parameter() {
    const BY_HAND: MethodInfo = MethodInfo::new("board.update")
        .with_upload(&[ParamInfo::required("image").with_type("bytes")])
        .with_returns("(u64, Option<u64>)")
        .with_doc("Counts.")
        .with_deadline(core::time::Duration::from_secs(60));
    let [update, restore] = <Board as Service>::METHODS else { panic!("two methods") };
    assert_eq!(*update, BY_HAND);
    assert!(restore.upload);
    for dialect in [Dialect::V1, Dialect::V2] {
        let mut pair = Pair::new(Board);
        let client = pair.connected(dialect);
        let image = Val::Bin(vec![7; 1000]);
        let answer = pair.ask(client, "board.update", val!([(image.clone())]));
        assert_eq!(answer, Ok(val!([1000, 1000])));
        let id = pair.call_with(client, "board.restore", val!([]), val!({"from": image}));
        pair.run();
        assert_eq!(pair.answer(client, &id), Some(&Ok(1000.into())));
        let error = pair.ask(client, "board.restore", val!([7]));
        assert_eq!(error.map_err(|error| error.code), Err(-32602));
    }
}
