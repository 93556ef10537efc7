//! Where the firmware calls one of the functions that panic. `cargo xtask panics` builds it and
//! calls this. What is left of our own code stands in `left.txt`, each with the reason; of other
//! crates their names.

use addr2line::Loader;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use std::collections::{BTreeMap, BTreeSet};
use std::env::var_os;
use std::path::Path;

/// Crates of this project, of which each place is listed.
const OURS: [&str; 4] = ["wslink_core", "wslink_embassy", "wslink_scope", "firmware_lm3s6965"];

#[test]
#[ignore = "needs a firmware: `cargo xtask panics`"]
fn what_is_left_has_a_reason() {
    let elf = var_os("WSLINK_ELF").unwrap();
    let found = found(Path::new(&elf));
    let mut left = include_str!("left.txt").lines().filter(|line| !line.starts_with('#'));
    let left: BTreeSet<_> = left.by_ref().filter(|line| !line.is_empty()).collect();
    let mut wrong = String::new();
    for (place, lines) in &found {
        println!("{:3} {place} {}", lines.len(), lines.join(" "));
        if !left.contains(place.as_str()) {
            wrong += &format!("{place} {}\n", lines.join(" "));
        }
    }
    // The optimizer finds more at one time than at another, which is no mistake.
    for place in left.into_iter().filter(|it| !found.contains_key(*it)) {
        println!("gone: {place}");
    }
    assert!(wrong.is_empty(), "without a reason in left.txt:\n{wrong}");
}

/// The functions with such calls, what these say, and where they are in our own files.
fn found(elf: &Path) -> BTreeMap<String, Vec<String>> {
    let bytes = std::fs::read(elf).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let mut panics = BTreeMap::new();
    for symbol in file.symbols().filter(|it| it.kind() == SymbolKind::Text) {
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name().unwrap()));
        if let Some(kind) = panics_as(&name) {
            // The lowest bit tells that it is Thumb.
            panics.insert(symbol.address() & !1, kind);
        }
    }
    assert!(panics.len() > 3, "a firmware without symbols");
    let loader = Loader::new(elf).unwrap();
    let text = file.section_by_name(".text").unwrap();
    let code = text.data().unwrap();
    let mut found = BTreeMap::<_, Vec<_>>::new();
    // Data lies between functions, so each halfword may begin an instruction: one that is none
    // hits the very address of such a function but by a rare accident.
    for at in (0..code.len().saturating_sub(3)).step_by(2) {
        let address = text.address() + at as u64;
        let Some(kind) = target(address, &code[at..at + 4]).and_then(|it| panics.get(&it)) else {
            continue;
        };
        let mut names = Vec::new();
        let mut frames = loader.find_frames(address).unwrap();
        while let Some(frame) = frames.next().unwrap() {
            let line =
                frame.location.and_then(|it| Some(format!("{}:{}", file_of(it.file?), it.line?)));
            let name = frame.function.map(|it| plain(&it.demangle().unwrap()));
            names.extend(name.map(|name| (name, line.unwrap_or_default())));
        }
        // The innermost that is not of the standard library.
        let of = names.iter().find(|(name, _)| crate_of(name) != "core");
        let (of, line) = of.map_or(("core", ""), |(name, line)| (name.as_str(), line.as_str()));
        match OURS.contains(&crate_of(of)) {
            true => found.entry(format!("{of}: {kind}")).or_default().push(line.to_owned()),
            // As many as there are: each adds an empty line.
            false => found.entry(crate_of(of).to_owned()).or_default().push(String::new()),
        }
    }
    found
}

/// Without the folder in which it was compiled.
fn file_of(path: &str) -> &str {
    let starts = ["core/src/", "adapters/", "examples/"];
    &path[starts.iter().filter_map(|it| path.rfind(it)).max().unwrap_or_default()..]
}

/// Where a BL or a B.W of Thumb-2 leads to.
fn target(address: u64, code: &[u8]) -> Option<u64> {
    let (first, second) =
        (u16::from_le_bytes([code[0], code[1]]), u16::from_le_bytes([code[2], code[3]]));
    if first >> 11 != 0b11110 || second & 0x9000 != 0x9000 {
        return None;
    }
    let bit = |of: u16, at: u16| i64::from(of >> at & 1);
    let sign = bit(first, 10);
    let (i1, i2) = (1 - (bit(second, 13) ^ sign), 1 - (bit(second, 11) ^ sign));
    let low = i64::from(first & 0x3ff) << 12 | i64::from(second & 0x7ff) << 1;
    let offset = -(sign << 24) + (i1 << 23) + (i2 << 22) + low;
    address.checked_add_signed(4 + offset)
}

/// What is said of a function of `core` that panics.
fn panics_as(name: &str) -> Option<&'static str> {
    if !name.starts_with("core::") {
        return None;
    }
    Some(match name {
        _ if name.contains("panic_bounds_check") => "an index",
        _ if name.contains("slice_index_fail") => "a range",
        _ if name.contains("slice_error_fail") => "a range of a text",
        _ if name.contains("len_mismatch_fail") => "a copy between two lengths",
        _ if name.contains("unwrap_failed") => "an unwrap",
        _ if name.contains("expect_failed") => "an expect",
        _ if name.contains("panic_already") => "a RefCell",
        _ if name.contains("async_fn_resumed") => "a future polled after its end",
        _ if name.contains("div_by_zero") || name.contains("rem_by_zero") => "a division by zero",
        _ if name.starts_with("core::panicking::") => "a panic",
        _ => return None,
    })
}

/// The name of a function without types, closures and references.
fn plain(name: &str) -> String {
    let name = name.trim_start_matches(['&', '*']).trim_start_matches("mut ");
    let (mut depth, mut kept, mut arrow) = (0_u32, String::new(), false);
    if let Some(rest) = name.strip_prefix('<') {
        // `<Type as Trait>::function`: the type says whose it is.
        let end = closing(rest);
        let inner = &rest[..end];
        let of = top_level_as(inner).map_or(inner, |at| &inner[..at]);
        return plain(of) + &plain(rest.get(end + 1..).unwrap_or_default());
    }
    for letter in name.chars() {
        match letter {
            '<' | '{' => depth += 1,
            '>' if arrow => {}
            '>' | '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => kept.push(letter),
            _ => {}
        }
        arrow = letter == '-';
    }
    let parts: Vec<_> = kept.split("::").filter(|part| !part.is_empty()).collect();
    let prefix = if kept.starts_with("::") { "::" } else { "" };
    match parts.is_empty() {
        true => String::new(),
        false => format!("{prefix}{}", parts.join("::")),
    }
}

/// Where the bracket ends that was opened before `text`.
fn closing(text: &str) -> usize {
    let (mut depth, mut last) = (1_u32, ' ');
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' if last != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
        last = letter;
    }
    text.len()
}

fn top_level_as(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    text.char_indices().find_map(|(at, letter)| {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0 && text[at..].starts_with(" as ")).then_some(at)
    })
}

fn crate_of(name: &str) -> &str {
    let first = name.split("::").next().unwrap_or(name);
    match first.chars().all(|it| it.is_ascii_alphanumeric() || it == '_') {
        // Of types that are the language's own.
        true if !["str", "u8", "bool", "f64", "u32", "u64", "usize", ""].contains(&first) => first,
        _ => "core",
    }
}

#[test]
fn names_are_plain() {
    for (name, is) in [
        ("<wslink_core::hub::Hub<a::B<c::D>>>::evict", "wslink_core::hub::Hub::evict"),
        ("<&mut x::Y<T> as core::iter::Z<U>>::next::{closure#0}", "x::Y::next"),
        ("wslink_core::wire::json::clean::<[u8; 4]>", "wslink_core::wire::json::clean"),
        ("<[u8]>::copy_within::<r::Range<usize>>", "[u8]::copy_within"),
    ] {
        assert_eq!(plain(name), is);
    }
    assert_eq!(crate_of("[u8]::copy_within"), "core");
    assert_eq!(crate_of("x::Y::next"), "x");
}

#[test]
fn branches_lead_where_they_should() {
    // bl #8, bl #-4 and b.w #0.
    for (code, offset) in
        [([0x00, 0xf0, 0x04, 0xf8], 8), ([0xff, 0xf7, 0xfe, 0xff], -4), ([0, 0xf0, 0, 0xb8], 0)]
    {
        assert_eq!(target(1000, &code), 1004_u64.checked_add_signed(offset));
    }
    assert_eq!(target(1000, &[0x00, 0xbf, 0x00, 0xbf]), None);
}
