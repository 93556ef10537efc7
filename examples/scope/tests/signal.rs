//! The generator makes the same bytes on any machine.

use sha2::{Digest as _, Sha256};
use wslink_core::Blob as _;
use wslink_scope::{Settings, Signal};

#[test]
fn a_mebibyte_is_what_the_firmware_sends() {
    let signal = Signal::new(&Settings::default(), 1 << 18);
    let mut bytes = vec![0; 1 << 20];
    assert_eq!(signal.read(0, &mut bytes), bytes.len());
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    // Compared in tests/stock/device.mjs.
    assert_eq!(digest, "8383b1ec577ca3c1653b7495b83ab251c7deeb4789076a2466f3754e99399c35");
}
