//! The enums of a service's requests and replies, which hold the types of its methods.

use crate::check::depends;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::{Generics, Type};

/// The types that stand in an enum.
///
/// A type that is said by a parameter of the impl, or by `Self`, becomes a parameter of the enum,
/// which so needs none of the impl's own parameters, bounds and lifetimes.
pub(crate) struct Slots<'g> {
    generics: &'g Generics,
    dependent: Vec<Type>,
}

impl<'g> Slots<'g> {
    /// No types yet, for an impl with these generics.
    pub(crate) const fn new(generics: &'g Generics) -> Self {
        Self { generics, dependent: Vec::new() }
    }

    /// Puts a type in, and gives what stands for it in the enum.
    pub(crate) fn add(&mut self, ty: Type) -> TokenStream {
        if !depends(&ty, self.generics) {
            return quote!(#ty);
        }
        let param = param(self.dependent.len());
        self.dependent.push(ty);
        quote!(#param)
    }

    /// The parameters of the enum, with `bound` on each: `<__T0: Serialize, __T1: Serialize>`.
    pub(crate) fn params(&self, bound: Option<TokenStream>) -> TokenStream {
        let params = (0..self.dependent.len()).map(param);
        match bound {
            _ if self.dependent.is_empty() => TokenStream::new(),
            Some(bound) => quote!(<#(#params: #bound),*>),
            None => quote!(<#(#params),*>),
        }
    }

    /// The arguments of the enum: `<T, Vec<T>>`.
    pub(crate) fn arguments(&self) -> TokenStream {
        let types = &self.dependent;
        if types.is_empty() { TokenStream::new() } else { quote!(<#(#types),*>) }
    }
}

fn param(index: usize) -> Ident {
    format_ident!("__T{index}")
}
