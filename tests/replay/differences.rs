//! Where this server deliberately does otherwise than upstream's, and why.

/// A deliberate difference in one recording.
pub(crate) struct Difference {
    pub(crate) dialects: &'static [&'static str],
    pub(crate) case: &'static str,
    pub(crate) why: &'static str,
    /// `<connection> - <what only upstream sends>`, `<connection> + <what only ours sends>`.
    pub(crate) lines: &'static [&'static str],
}

impl Difference {
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.dialects.iter().map(|dialect| (*dialect, self.case))
    }
}

/// What is listed for a recording, sorted.
pub(crate) fn of(dialect: &str, case: &str) -> Vec<&'static str> {
    let mut lines: Vec<_> = listed(dialect, case).flat_map(|row| row.lines).copied().collect();
    lines.sort_unstable();
    lines
}

pub(crate) fn reasons(dialect: &str, case: &str) -> Vec<&'static str> {
    listed(dialect, case).map(|row| row.why).collect()
}

fn listed(dialect: &str, case: &str) -> impl Iterator<Item = &'static Difference> {
    ALL.iter().filter(move |row| row.rows().any(|it| it == (dialect, case)))
}

const V1: &[&str] = &["v1"];
const V2: &[&str] = &["v2"];
const BOTH: &[&str] = &["v1", "v2"];

const TOLD: &str = "what upstream drops without a word is told: an error under the request's id, or a Close with the reason";

/// In every recording: upstream answers a Close always in the same way.
pub(crate) const UPSTREAMS_CLOSE: (Option<u16>, &str) = (Some(1000), "");

/// Ours is answered by the WebSocket library, which says what the client said, as RFC 6455 §5.5.1
/// has it. No client looks at it.
pub(crate) fn our_close(said: (Option<u16>, &str)) -> (Option<u16>, &str) {
    said
}

/// By name of the recording.
pub(crate) const ALL: &[Difference] = &[
    Difference {
        dialects: V1,
        case: "attachment_echoed",
        why: "bytes that were not attached are sent as an attachment, as 2.x does; upstream cannot serialize them",
        lines: &[
            r#"1 - "rpc:<client 1>:0" failed: -32002 "Method result cannot be serialized", data "trace.identity""#,
            r#"1 + "rpc:<client 1>:0" = <10 bytes 3de99ced0cdb5c0d11fb>"#,
        ],
    },
    Difference {
        dialects: V1,
        case: "attachment_kept_by_server",
        why: "the handler attaches its bytes to each answer; upstream forgets them once sent",
        lines: &[
            r#"1 - "rpc:<client 1>:1" = "wslink_bin0""#,
            r#"1 + "rpc:<client 1>:1" = <4 bytes 6b657074>"#,
        ],
    },
    Difference {
        dialects: V1,
        case: "attachment_key_in_text",
        why: "attachments belong to one answer, so nobody is sent those of others by naming their keys",
        lines: &[
            r#"2 - an attachment "wslink_bin1" <1 bytes 01> that nothing names"#,
            r#"2 - an attachment "wslink_bin10" <1 bytes 0a> that nothing names"#,
            r#"2 - "rpc:<client 2>:2" = {"args": [<1 bytes 07>], "kwargs": {}}"#,
            r#"2 + "rpc:<client 2>:2" = {"args": ["wslink_bin7"], "kwargs": {}}"#,
        ],
    },
    Difference {
        dialects: V1,
        case: "attachment_two_clients_same_key",
        why: "keys are the client's own, so two clients cannot mix up their attachments",
        lines: &[
            r#"1 - "rpc:cx:0" = {"args": [{"type": "bytes", "length": 2, "sha256": "97b88962a8503a487e745e96ffd72e27d5dbbdfce5b878afc71a16dcf1bb6f90"}], "kwargs": {}}"#,
            r#"1 + "rpc:cx:0" = {"args": [{"type": "bytes", "length": 1, "sha256": "380918b946a526640a40df5dced6516794f3d97bbd9e6bb553d037c4439f31c3"}], "kwargs": {}}"#,
            r#"2 - "rpc:cx:0" = {"args": ["wslink_bin1"], "kwargs": {}}"#,
            r#"2 + "rpc:cx:0" = {"args": [{"type": "bytes", "length": 2, "sha256": "97b88962a8503a487e745e96ffd72e27d5dbbdfce5b878afc71a16dcf1bb6f90"}], "kwargs": {}}"#,
        ],
    },
    Difference {
        dialects: BOTH,
        case: "bad_args",
        why: "arguments that do not fit the parameters are -32602, with the parameter's name, not an exception",
        lines: &[
            r#"1 - "rpc:<client 1>:0" failed: -32001 "Exception raised" in "trace.add""#,
            r#"1 - "rpc:<client 1>:1" failed: -32001 "Exception raised" in "trace.add""#,
            r#"1 - "rpc:<client 1>:2" failed: -32001 "Exception raised" in "trace.add""#,
            r#"1 - "rpc:<client 1>:3" failed: -32001 "Exception raised" in "trace.add""#,
            r#"1 + "rpc:<client 1>:0" failed: -32602 "Invalid params: b: missing", data "b""#,
            r#"1 + "rpc:<client 1>:1" failed: -32602 "Invalid params: 4 positional arguments, at most 3 expected""#,
            r#"1 + "rpc:<client 1>:2" failed: -32602 "Invalid params: unknown parameter `nope`""#,
            r#"1 + "rpc:<client 1>:3" failed: -32602 "Invalid params: a: given twice", data "a""#,
        ],
    },
    Difference {
        dialects: V2,
        case: "bin_keys",
        why: "a map's keys are strings: anything else is not well-formed, where upstream ignores the message or fails later",
        lines: &[
            r#"1 - "rpc:alive:0" = null"#,
            r#"1 - "rpc:cx:1" failed: -32001 "Exception raised" in "trace.echo""#,
            r#"1 - "rpc:alive:0" = null"#,
            "1 - close, answered as usual",
            "1 + close 1007 the message is not well-formed",
        ],
    },
    Difference {
        dialects: V1,
        case: "binary_frame_before_hello",
        why: "a binary frame is never JSON: one before hello is a chunk of 2.x",
        lines: &[
            r#"1 - "system:c0:0" = {"clientID": "<client 1>"}"#,
            r#"1 - "rpc:alive:0" = null"#,
            "1 - close, answered as usual",
            "1 + close 1002 a chunk goes beyond its message",
            "2 - dropped",
            "2 + close 1002 a chunk of less than its header's 12 bytes",
        ],
    },
    Difference {
        dialects: V1,
        case: "binary_frame_before_hello",
        why: "both dialects are spoken on one port, so a hello of 2.x is answered",
        lines: &[
            "4 - dropped",
            r#"4 + "system:c0:0" = {"clientID": "<client 4>", "maxMsgSize": 4194304}"#,
        ],
    },
    Difference {
        dialects: BOTH,
        case: "calls_in_flight",
        why: "calls run side by side, and the faster is answered first",
        lines: &[
            r#"1 - "rpc:<client 1>:0" = "slow""#,
            r#"1 - "rpc:<client 1>:1" = "fast""#,
            r#"1 + "rpc:<client 1>:1" = "fast""#,
            r#"1 + "rpc:<client 1>:0" = "slow""#,
        ],
    },
    Difference {
        dialects: V2,
        case: "chunk_header_short",
        why: "11 bytes are no header, where upstream reads the missing one as 0",
        lines: &[
            r#"3 - "rpc:alive:0" = null"#,
            "3 - close, answered as usual",
            "3 + close 1002 a chunk of less than its header's 12 bytes",
        ],
    },
    Difference {
        dialects: V2,
        case: "chunk_header_short",
        why: TOLD,
        lines: &[
            "1 - dropped",
            "1 + close 1002 a chunk of less than its header's 12 bytes",
            "2 - dropped",
            "2 + close 1002 a chunk of less than its header's 12 bytes",
        ],
    },
    Difference {
        dialects: V2,
        case: "chunk_offset_past_total",
        why: TOLD,
        lines: &[
            "1 - dropped",
            "1 + close 1002 a chunk goes beyond its message",
            "2 - dropped",
            "2 + close 1002 a chunk goes beyond its message",
            "3 - dropped",
            "3 + close 1002 a chunk goes beyond its message",
        ],
    },
    Difference {
        dialects: V2,
        case: "chunk_repeated",
        why: "a chunk that comes twice is refused at once; upstream counts it, and fails on the message",
        lines: &["1 - dropped", "1 + close 1002 a chunk overlaps another of its message"],
    },
    Difference {
        dialects: V2,
        case: "chunk_total_differs",
        why: TOLD,
        lines: &["1 - dropped", "1 + close 1002 a chunk of another total than its message's first"],
    },
    Difference {
        dialects: V2,
        case: "chunk_total_too_large_before_hello",
        why: TOLD,
        lines: &[
            "1 - dropped",
            "1 + close 1009 message too big",
            "3 - dropped",
            r#"3 + "system:c0:0" failed: -32003 "Limit `message_before_hello` exceeded: needed 513, available 512", data {"limit": "message_before_hello", "needed": 513, "available": 512}"#,
        ],
    },
    Difference {
        dialects: V2,
        case: "chunked_limit_zero",
        why: "0 is a limit like any other below 13, and not none: one byte a chunk",
        lines: &[
            r#"1 - "system:c0:0" = {"clientID": "<client 1>", "maxMsgSize": 0}"#,
            r#"1 - "rpc:<client 1>:0" = <5000 bytes 332e7009e0b234867ba933977cdba13daa011a94eeb306366c5c76fcf0a8659a>"#,
            r#"1 - "rpc:<client 1>:1" = {"args": [{"type": "bytes", "length": 3000, "sha256": "78b75c22d03499b766ce353e911738321e736866ecad6ca8c94126fa7e2800f1"}], "kwargs": {}}"#,
            r#"1 + "system:c0:0" = {"clientID": "<client 1>", "maxMsgSize": 0} in 91 chunks of up to 13 bytes"#,
            r#"1 + "rpc:<client 1>:0" = <5000 bytes 332e7009e0b234867ba933977cdba13daa011a94eeb306366c5c76fcf0a8659a> in 5066 chunks of up to 13 bytes"#,
            r#"1 + "rpc:<client 1>:1" = {"args": [{"type": "bytes", "length": 3000, "sha256": "78b75c22d03499b766ce353e911738321e736866ecad6ca8c94126fa7e2800f1"}], "kwargs": {}} in 173 chunks of up to 13 bytes"#,
        ],
    },
    Difference {
        dialects: V2,
        case: "chunked_two_publications",
        why: "a publication leaves when it is made, so before the answer to a call that comes after it",
        lines: &[r#"2 - "rpc:cx:0" = "published""#, r#"2 + "rpc:cx:0" = "published""#],
    },
    Difference {
        dialects: BOTH,
        case: "close_during_call",
        why: "a Close is answered while a call runs, whose result nobody waits for any more",
        lines: &[r#"1 - "rpc:<client 1>:0" = "never seen""#],
    },
    Difference {
        dialects: V1,
        case: "envelope_broken",
        why: "a message that is no map is refused, where upstream ignores some",
        lines: &[
            "7 - dropped",
            "7 + close 1007 the message is not well-formed",
            "10 - dropped",
            "10 + close 1007 the message is not well-formed",
            "11 - dropped",
            "11 + close 1007 the message is not well-formed",
        ],
    },
    Difference {
        dialects: BOTH,
        case: "envelope_broken",
        why: TOLD,
        lines: &[
            "1 - dropped",
            r#"1 + "rpc:cx:0" failed: -32600 "Invalid request: args is neither list nor map""#,
            "2 - dropped",
            r#"2 + "rpc:cx:0" failed: -32600 "Invalid request: args is neither list nor map""#,
            "3 - dropped",
            "3 + close 1007 the id is not a string",
            "4 - dropped",
            "4 + close 1007 the id is not a string",
            "5 - dropped",
            r#"5 + "rpc:cx:0" failed: -32600 "Invalid request: method is not a string""#,
            "8 - dropped",
            "8 + close 1007 the message is not well-formed",
            "9 - dropped",
            "9 + close 1007 the message is not well-formed",
            "12 - dropped",
            r#"12 + "system:c0:0" failed: -32600 "Invalid request: method is not a string""#,
        ],
    },
    Difference {
        dialects: V2,
        case: "envelope_broken",
        why: "a message that is no map is refused, where upstream ignores some",
        lines: &[
            r#"7 - "rpc:alive:0" = null"#,
            "7 - close, answered as usual",
            "7 + close 1007 the message is not well-formed",
            r#"10 - "rpc:alive:0" = null"#,
            "10 - close, answered as usual",
            "10 + close 1007 the message is not well-formed",
            r#"11 - "rpc:alive:0" = null"#,
            "11 - close, answered as usual",
            "11 + close 1007 the message is not well-formed",
        ],
    },
    Difference {
        dialects: BOTH,
        case: "envelope_unusual",
        why: "a method that is no string is an invalid request, -32600, whatever its type",
        lines: &[
            r#"1 - "rpc:cx:5" failed: -32601 "Unregistered method called", data 7"#,
            r#"1 - "rpc:cx:6" failed: -32601 "Unregistered method called""#,
            r#"1 + "rpc:cx:5" failed: -32600 "Invalid request: method is not a string""#,
            r#"1 + "rpc:cx:6" failed: -32600 "Invalid request: method is not a string""#,
            "1 - dropped",
            r#"1 + "rpc:cx:7" failed: -32600 "Invalid request: method is not a string""#,
        ],
    },
    Difference {
        dialects: V2,
        case: "kwarg_int_key",
        why: TOLD,
        lines: &[
            "1 - dropped",
            r#"1 + "rpc:cx:1" failed: -32700 "Parse error: a key is not a string (at byte 45)""#,
        ],
    },
    Difference {
        dialects: V1,
        case: "lone_surrogate",
        why: "a string that is not Unicode is a parse error, -32700, when it comes in, not when it is sent back",
        lines: &[
            r#"1 - "rpc:<client 1>:0" failed: -32001 "Exception raised" in "trace.echo""#,
            r#"1 + "rpc:<client 1>:0" failed: -32700 "Parse error: a string is not Unicode (at byte 94)""#,
        ],
    },
    Difference {
        dialects: V2,
        case: "lone_surrogate",
        why: "a string that is not Unicode is a parse error, -32700, when it comes in, not when it is sent back",
        lines: &[
            "1 - dropped",
            r#"1 + "rpc:<client 1>:0" failed: -32700 "Parse error: a string is not Unicode (at byte 80)""#,
        ],
    },
    Difference {
        dialects: V1,
        case: "malformed_json",
        why: TOLD,
        lines: &[
            "1 - dropped",
            "1 + close 1007 the message is not well-formed",
            "2 - dropped",
            "2 + close 1007 the message is not well-formed",
            "3 - dropped",
            "3 + close 1007 the message is not well-formed",
            "4 - dropped",
            "4 + close 1007 the message is not well-formed",
            "5 - dropped",
            "5 + close 1007 the message is not well-formed",
            "6 - dropped",
            "6 + close 1007 the message is not well-formed",
            "7 - dropped",
            r#"7 + "x" failed: -32700 "Parse error: unexpected byte (at byte 10)""#,
            "8 - dropped",
            r#"8 + "x" failed: -32700 "Parse error: unexpected byte (at byte 10)""#,
            "9 - dropped",
            "9 + close 1007 the message is not well-formed",
            "10 - dropped",
            "10 + close 1007 the message is not well-formed",
            "11 - dropped",
            "11 + close 1007 the message is not well-formed",
            "12 - dropped",
            "12 + close 1007 the message is not well-formed",
        ],
    },
    Difference {
        dialects: V2,
        case: "malformed_msgpack",
        why: "nesting is bounded, where upstream reads 400 levels and ignores the message",
        lines: &[
            r#"15 - "rpc:alive:0" failed: -32000 "Unauthorized: Skip message processing""#,
            "15 - close, answered as usual",
            "15 + close 1007 the message is not well-formed",
            r#"16 - "rpc:alive:0" = null"#,
            "16 - close, answered as usual",
            "16 + close 1007 the message is not well-formed",
        ],
    },
    Difference {
        dialects: V2,
        case: "malformed_msgpack",
        why: TOLD,
        lines: &[
            "1 - dropped",
            "1 + close 1007 the message is not well-formed",
            "2 - dropped",
            "2 + close 1007 the message is not well-formed",
            "3 - dropped",
            "3 + close 1007 the message is not well-formed",
            "4 - dropped",
            "4 + close 1007 the message is not well-formed",
            "5 - dropped",
            r#"5 + "system:c0:0" failed: -32700 "Parse error: something follows it (at byte 83)""#,
            "6 - dropped",
            r#"6 + "system:c0:0" failed: -32700 "Parse error: something follows it (at byte 83)""#,
            "7 - dropped",
            "7 + close 1007 the message is not well-formed",
            "8 - dropped",
            "8 + close 1007 the message is not well-formed",
            "9 - dropped",
            "9 + close 1002 a chunk of an empty message",
            "10 - dropped",
            "10 + close 1002 a chunk of an empty message",
            "11 - dropped",
            r#"11 + "system:c0:0" failed: -32700 "Parse error: a key is not a string (at byte 43)""#,
            "12 - dropped",
            r#"12 + "system:c0:0" failed: -32700 "Parse error: a key is not a string (at byte 43)""#,
        ],
    },
    Difference {
        dialects: BOTH,
        case: "message_too_big",
        why: "the Close says why",
        lines: &[
            "2 - close 1009",
            "2 + close 1009 message too big",
            "3 - close 1009",
            "3 + close 1009 message too big",
        ],
    },
    Difference {
        dialects: V1,
        case: "numbers_out_of_range",
        why: "integers beyond 64 bits are read as floats, also very long ones",
        lines: &["2 - dropped", r#"2 + "rpc:cx:0" = inf"#],
    },
    Difference {
        dialects: V1,
        case: "numbers_raw",
        why: "integers beyond 64 bits are read as floats",
        lines: &[
            r#"1 - "rpc:cx:0" = ["int 1000000000000000000000000000000"]"#,
            r#"1 - "rpc:cx:0" = 1000000000000000000000000000000"#,
            r#"1 + "rpc:cx:0" = ["float 1e+30"]"#,
            r#"1 + "rpc:cx:0" = 1e30"#,
        ],
    },
    Difference {
        dialects: BOTH,
        case: "ping_during_call",
        why: "a ping is answered while a call runs",
        lines: &[r#"1 - "rpc:cx:0" = "slept""#, r#"1 + "rpc:cx:0" = "slept""#],
    },
    Difference {
        dialects: BOTH,
        case: "publish_odd_topic",
        why: "a topic that the stock clients drop silently cannot be published; the handler is told",
        lines: &[
            r#"1 - "rpc:<client 1>:0" = "published""#,
            r#"1 - "publish:with-dash:0" = 1"#,
            r#"1 - "rpc:<client 1>:1" = "published""#,
            r#"1 - "publish:sp ace:0" = 1"#,
            r#"1 - "rpc:<client 1>:2" = "published""#,
            r#"1 - "publish:a:b:0" = 1"#,
            r#"1 - "rpc:<client 1>:3" = "published""#,
            r#"1 - "publish::0" = 1"#,
            r#"1 + "rpc:<client 1>:0" failed: -32001 "Exception raised" in "trace.publish""#,
            r#"1 + "rpc:<client 1>:1" failed: -32001 "Exception raised" in "trace.publish""#,
            r#"1 + "rpc:<client 1>:2" failed: -32001 "Exception raised" in "trace.publish""#,
            r#"1 + "rpc:<client 1>:3" failed: -32001 "Exception raised" in "trace.publish""#,
        ],
    },
    Difference {
        dialects: BOTH,
        case: "publish_skip_last_active",
        why: "each of the others is sent one copy; upstream sends one for each client that there is",
        lines: &[
            r#"2 - "publish:trace.topic:0" = "x""#,
            r#"2 - "publish:trace.topic:0" = "x""#,
            r#"3 - "publish:trace.topic:0" = "x""#,
            r#"3 - "publish:trace.topic:0" = "x""#,
        ],
    },
    Difference {
        dialects: BOTH,
        case: "publish_unserializable",
        why: "what cannot be published is told to the handler that publishes, not to clients",
        lines: &[
            r#"1 - "rpc:<client 1>:0" = "published""#,
            r#"1 - "publish:trace.topic:0" failed: -32002 "Method result cannot be serialized""#,
            r#"1 + "rpc:<client 1>:0" failed: -32001 "Exception raised" in "trace.publish_unserializable""#,
        ],
    },
    Difference {
        dialects: V1,
        case: "result_map_with_other_keys",
        why: "keys that are floats or null are refused; upstream's 1.x writes them as strings, its 2.x in a way that the JavaScript client cannot read",
        lines: &[
            r#"1 - "rpc:<client 1>:0" = {"1": "true", "2.5": "float", "null": "none"}"#,
            r#"1 + "rpc:<client 1>:0" failed: -32002 "Method result cannot be serialized", data "trace.int_keys""#,
        ],
    },
    Difference {
        dialects: V2,
        case: "result_map_with_other_keys",
        why: "keys that are floats or null are refused; upstream's 1.x writes them as strings, its 2.x in a way that the JavaScript client cannot read",
        lines: &[
            r#"1 - "rpc:<client 1>:0" = {1: "true", 2.5: "float", null: "none"}"#,
            r#"1 + "rpc:<client 1>:0" failed: -32002 "Method result cannot be serialized", data "trace.int_keys""#,
        ],
    },
    Difference {
        dialects: V1,
        case: "result_unserializable",
        why: "bytes that were not attached are sent as an attachment, as 2.x does; upstream cannot serialize them",
        lines: &[
            r#"1 - "rpc:<client 1>:1" failed: -32002 "Method result cannot be serialized", data "trace.raw_bytes""#,
            r#"1 + "rpc:<client 1>:1" = {"raw": <16 bytes 6e6f206164644174746163686d656e74>}"#,
        ],
    },
    Difference {
        dialects: V1,
        case: "same_attachment_twice",
        why: "each place that names an attachment has a key of its own, since the clients replace one place for each key",
        lines: &[
            r#"1 - "rpc:<client 1>:0" = [<5 bytes 7477696365>, {"again": "wslink_bin0"}]"#,
            r#"1 + "rpc:<client 1>:0" = [<5 bytes 7477696365>, {"again": <5 bytes 7477696365>}]"#,
        ],
    },
    Difference {
        dialects: V1,
        case: "text_frame_not_utf8",
        why: "the Close says why",
        lines: &["1 - close 1007", "1 + close 1007 text is not UTF-8"],
    },
    Difference {
        dialects: V2,
        case: "text_frame_to_v2",
        why: "a text frame before hello is one of 1.x, and settles the dialect; upstream's 2.x ignores it",
        lines: &[
            r#"1 - "system:c0:0" = {"clientID": "<client 1>", "maxMsgSize": 4194304}"#,
            r#"1 - "rpc:alive:0" = null"#,
            "1 - close, answered as usual",
            r#"1 + "system:c0:0" = {"clientID": "<client 1>"}"#,
            "1 + close 1007 the message is not well-formed",
        ],
    },
];
