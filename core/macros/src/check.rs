//! What is looked for before anything is made of it, and the errors that say so.

use syn::visit::{self, Visit};
use syn::{
    Error, GenericParam, Generics, Ident, Lifetime, LitStr, Path, PathArguments, Type,
    TypeReference,
};

/// Collects all mistakes of a block, so that they are reported together.
#[derive(Default)]
pub(crate) struct Mistakes(Option<Error>);

impl Mistakes {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// The value, or `None` with one more mistake.
    pub(crate) fn keep<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn into_error(self) -> Option<Error> {
        self.0
    }
}

/// Refuses what the stock clients could not receive, and what is the protocol's own. `what` is
/// "a method" or "a topic".
pub(crate) fn name(name: &LitStr, what: &str) -> syn::Result<()> {
    let text = name.value();
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !text.split('.').all(is_word) {
        return Err(Error::new_spanned(
            name,
            format!("{what}'s name is words of [A-Za-z0-9_], separated by dots"),
        ));
    }
    if text.starts_with("wslink.") {
        return Err(Error::new_spanned(
            name,
            "names that begin with `wslink.` are the protocol's own",
        ));
    }
    Ok(())
}

/// The last name of a path type: `Option` of `core::option::Option<u8>`.
pub(crate) fn last_name(ty: &Type) -> Option<&Ident> {
    Some(&plain_path(ty)?.segments.last()?.ident)
}

/// The first type between the angle brackets of a path type: `u8` of `Option<u8>`.
pub(crate) fn first_argument(ty: &Type) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &plain_path(ty)?.segments.last()?.arguments
    else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn plain_path(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Path(ty) => Some(&ty.path),
        Type::Group(group) => plain_path(&group.elem),
        Type::Paren(paren) => plain_path(&paren.elem),
        _ => None,
    }
}

/// Whether there is a reference without a lifetime of its own in the type, or `'_`.
pub(crate) fn elides(ty: &Type) -> bool {
    find(ty).elided
}

/// Whether there is any reference or lifetime in the type.
pub(crate) fn borrows(ty: &Type) -> bool {
    let found = find(ty);
    found.elided || found.named
}

/// Whether there is an `impl Trait` in the type.
pub(crate) fn is_opaque(ty: &Type) -> bool {
    find(ty).opaque
}

/// Whether the type is said by `Self`, or by a parameter of the impl.
pub(crate) fn depends(ty: &Type, generics: &Generics) -> bool {
    let mut found = Depends { generics, found: false };
    found.visit_type(ty);
    found.found
}

struct Depends<'g> {
    generics: &'g Generics,
    found: bool,
}

impl<'ast> Visit<'ast> for Depends<'_> {
    /// Also the name of a lifetime.
    fn visit_ident(&mut self, ident: &'ast Ident) {
        self.found |= ident == "Self"
            || self.generics.params.iter().any(|param| match param {
                GenericParam::Type(param) => *ident == param.ident,
                GenericParam::Const(param) => *ident == param.ident,
                GenericParam::Lifetime(param) => *ident == param.lifetime.ident,
            });
    }
}

#[derive(Default)]
struct Found {
    elided: bool,
    named: bool,
    opaque: bool,
}

fn find(ty: &Type) -> Found {
    let mut found = Found::default();
    found.visit_type(ty);
    found
}

impl<'ast> Visit<'ast> for Found {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        self.elided |= reference.lifetime.is_none();
        visit::visit_type_reference(self, reference);
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident == "_" {
            self.elided = true;
        } else {
            self.named = true;
        }
    }

    fn visit_type_impl_trait(&mut self, opaque: &'ast syn::TypeImplTrait) {
        self.opaque = true;
        visit::visit_type_impl_trait(self, opaque);
    }
}
