//! The macros of wslink services. Use them through the crate `wslink`: what they make refers to
//! it.

mod check;
mod client;
mod expand;
mod join;
mod method;
mod service;
mod slots;
mod text;
mod topic;

use proc_macro::TokenStream;

#[doc = include_str!("service.md")]
#[proc_macro_attribute]
pub fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    service::expand(options.into(), item.into()).into()
}

#[doc = include_str!("join.md")]
#[proc_macro_derive(Service, attributes(service))]
pub fn join(item: TokenStream) -> TokenStream {
    join::expand(item.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
