//! Gzips the instrument's page, and tells the linker where the memory is.

use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Beside this package: the page, and the module that it imports.
const PAGE: &str = "../instrument/page";
const MODULE: &str = "../../adapters/browser/wslink.js";

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    println!("cargo:rustc-link-search={}", here.display());
    println!("cargo:rerun-if-changed=memory.x");
    if env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo:rustc-link-arg=-Tdefmt.x");
    }
    println!("cargo:rerun-if-changed={PAGE}");
    println!("cargo:rerun-if-changed={MODULE}");
    println!("cargo:rerun-if-env-changed=WSLINK_AUTH_KEY");

    let mut files = BTreeMap::from([("/wslink.js".to_owned(), here.join(MODULE))]);
    for entry in fs::read_dir(here.join(PAGE)).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
        files.insert(path, entry.path());
    }
    let pages: String = files.iter().filter_map(|(path, file)| page(path, file, &out)).collect();
    fs::write(out.join("pages.rs"), format!("&[\n{pages}]\n")).unwrap();
}

/// The source of a page, whose gzipped content lies in the directory `out`.
fn page(path: &str, file: &Path, out: &Path) -> Option<String> {
    let content_type = match file.extension()?.to_str()? {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        _ => return None,
    };
    let content = fs::read(file).unwrap();
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let etag = hasher.finish();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&content).unwrap();
    let gzipped = out.join(format!("{}.gz", file.file_name()?.to_str()?));
    fs::write(&gzipped, encoder.finish().unwrap()).unwrap();
    Some(format!(
        "    Page::new({path:?}, {content_type:?}, include_bytes!({gzipped:?})).gzipped().with_etag(\"{etag:016x}\"),\n"
    ))
}
