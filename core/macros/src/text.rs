//! What is told to clients as text: doc comments, types and durations.

use core::time::Duration;
use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta};

/// The doc comment, line by line, without what is around it.
pub(crate) fn doc(attrs: &[Attribute]) -> String {
    let mut doc = String::new();
    for attr in attrs {
        let Meta::NameValue(meta) = &attr.meta else { continue };
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value else { continue };
        if !meta.path.is_ident("doc") {
            continue;
        }
        // A `/** */` is one text with all of its lines.
        for line in text.value().split('\n') {
            doc.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end());
            doc.push('\n');
        }
    }
    doc.trim_matches('\n').to_owned()
}

/// A type as people write it.
pub(crate) fn written(ty: &impl ToTokens) -> String {
    let mut text = String::new();
    write(ty.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    proc_macro2::Delimiter::Parenthesis => ("(", ")"),
                    proc_macro2::Delimiter::Brace => ("{", "}"),
                    proc_macro2::Delimiter::Bracket => ("[", "]"),
                    proc_macro2::Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => {
                if "+-=".contains(punct.as_char()) {
                    text.push(' ');
                }
                text.push(punct.as_char());
                let last = tokens.peek().is_none();
                let arrow = punct.as_char() == '>' && text.ends_with("->");
                if arrow || (!last && ",;+=".contains(punct.as_char())) {
                    text.push(' ');
                }
                let lifetime = punct.as_char() == '\'' && punct.spacing() == Spacing::Joint;
                if lifetime && let Some(name) = tokens.next() {
                    text.push_str(&name.to_string());
                    if matches!(tokens.peek(), Some(TokenTree::Ident(_) | TokenTree::Group(_))) {
                        text.push(' ');
                    }
                }
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                text.push_str(&token.to_string());
                if matches!(tokens.peek(), Some(TokenTree::Ident(_) | TokenTree::Literal(_))) {
                    text.push(' ');
                }
            }
        }
    }
}

/// The length of time in `"5s"`, `"1.5s"`, `"250ms"` or `"2min"`.
pub(crate) fn duration(text: &LitStr) -> syn::Result<Duration> {
    let value = text.value();
    let wrong =
        || Error::new_spanned(text, "a deadline is written like \"5s\", \"250ms\" or \"2min\"");
    let at = value.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = value.split_at(at);
    let seconds = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "min" => 60.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.trim_end().parse().map_err(|_| wrong())?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(Error::new_spanned(text, "a deadline is longer than nothing")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;
    use syn::parse_quote;

    #[test]
    fn types_read_as_they_are_written() {
        for ty in [
            "u32",
            "Option<f32>",
            "&'static str",
            "&'a [u8]",
            "heapless::Vec<u8, 16>",
            "[f64; 3]",
            "(u8, String)",
            "<T as Timer>::Instant",
            "fn(u8) -> bool",
            "Box<dyn Send + Sync + 'static>",
            "&'a mut Vec<Vec<u8>>",
            "()",
        ] {
            let tokens: TokenStream = ty.parse().unwrap();
            assert_eq!(written(&tokens), ty);
        }
    }

    #[test]
    fn doc_comments_lose_their_margin() {
        let item: syn::ItemStruct = parse_quote! {
            /// First.
            #[derive(Debug)]
            ///
            ///   - indented
            struct S;
        };
        assert_eq!(doc(&item.attrs), "First.\n\n  - indented");
        assert_eq!(doc(&[]), "");
    }

    #[test]
    fn durations_have_units() {
        let read = |text: &str| duration(&LitStr::new(text, proc_macro2::Span::call_site()));
        assert_eq!(read("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(read("1.5 s").unwrap(), Duration::from_millis(1500));
        assert_eq!(read("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(read("2min").unwrap(), Duration::from_secs(120));
        for wrong in ["", "5", "s", "5h", "-1s", "0s", "1e99s", "infs", "5s s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(written(&quote!(Vec<u8>)), "Vec<u8>");
    }
}
