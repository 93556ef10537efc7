//! The enums of a service's requests and replies, which hold the types of its methods.

use crate::check::names_self;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Generics, Ident, Type};

/// The types that stand in an enum.
///
/// A plain impl gets an enum of plain types. The types of a generic impl may be said by its
/// parameters or by `Self`; there each becomes a parameter of the enum, which so needs none of
/// the impl's own parameters, bounds and lifetimes.
pub(crate) struct Slots {
    generic: bool,
    types: Vec<Type>,
}

impl Slots {
    /// No types yet, for an impl with these generics.
    pub(crate) fn new<'a>(generics: &Generics, types: impl IntoIterator<Item = &'a Type>) -> Self {
        let generic = !generics.params.is_empty() || types.into_iter().any(names_self);
        Self { generic, types: Vec::new() }
    }

    /// Puts a type in, and gives what stands for it in the enum.
    pub(crate) fn add(&mut self, ty: Type) -> TokenStream {
        let place = if self.generic {
            let param = Self::param(self.types.len());
            quote!(#param)
        } else {
            quote!(#ty)
        };
        self.types.push(ty);
        place
    }

    /// The parameters of the enum, with `bound` on each: `<T0: Serialize, T1: Serialize>`.
    pub(crate) fn params(&self, bound: Option<TokenStream>) -> TokenStream {
        if !self.generic {
            return TokenStream::new();
        }
        let params = (0..self.types.len()).map(Self::param);
        match bound {
            Some(bound) => quote!(<#(#params: #bound),*>),
            None => quote!(<#(#params),*>),
        }
    }

    /// The arguments of the enum: `<u32, Option<f32>>`.
    pub(crate) fn arguments(&self) -> TokenStream {
        if !self.generic {
            return TokenStream::new();
        }
        let types = &self.types;
        quote!(<#(#types),*>)
    }

    fn param(index: usize) -> Ident {
        format_ident!("__T{index}", span = Span::call_site())
    }
}
