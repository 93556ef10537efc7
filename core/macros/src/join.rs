//! `#[derive(wslink::Service)]`.
use proc_macro2::TokenStream;
pub(crate) fn expand(_item: TokenStream) -> syn::Result<TokenStream> {
    Ok(TokenStream::new())
}
