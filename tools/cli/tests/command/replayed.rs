//! `wslink call` and `watch` against `wslink proxy --replay`, of what was recorded with upstream's
//! servers.

use crate::common::{Proxy, Shell, recorded};

#[test]
fn recorded_servers_answer_the_command() {
    for (name, dialect) in [("v1.txt", 1), ("v2.txt", 2)] {
        let replay = Proxy::start(&["--replay", recorded(name).to_str().unwrap()]);
        let mut shell = Shell::new(&replay.url());
        shell.file("sevens", &[7; 1000]);
        // The first recorded client was refused, the second was not.
        shell.run(&format!("call URL x --dialect {dialect}"));
        for line in [
            "call URL scope.echo 1 2.5 null caf\u{e9} list=[true,[]]",
            "call URL judge.digest @sevens",
            "call URL judge.blob 10000",
            "call URL no.such.method",
            "call URL judge.blob 10001",
        ] {
            shell.run(&format!("{line} --dialect {dialect}"));
            // Whoever comes next is the first again.
            shell.command(&format!("call URL x --dialect {dialect}")).output().unwrap();
        }
        let log = shell.log().replace(&format!(" --dialect {dialect}"), "");
        insta::assert_snapshot!("recorded_servers", log);
        let other = shell.command(&format!("call URL x --dialect {}", 3 - dialect));
        let mut other = other;
        let output = other.output().unwrap();
        assert_eq!(output.status.code(), Some(5));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("the server closed it with 1002"), "{said}");
        replay.stop();
    }
}
