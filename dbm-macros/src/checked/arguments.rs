//! The parameters that a statement is given, and the columns that are wanted, where they are written out.

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Expr, ExprLit, GenericArgument, Lit, LitStr, PathArguments, Token, Type};

/// What stands in the place of the parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Given {
    Positional(usize),
    Named(Vec<String>),
}

impl Given {
    /// Of what stands behind the SQL; none if it is not written out there.
    pub(super) fn read(arguments: TokenStream) -> Option<Self> {
        // Behind an attribute, it may not be there at all.
        if arguments
            .clone()
            .into_iter()
            .any(|token| has_attribute(&token))
        {
            return None;
        }
        let arguments = Punctuated::<Expr, Token![,]>::parse_terminated
            .parse2(arguments)
            .ok()?;
        Self::of(arguments.first()?)
    }

    fn of(expression: &Expr) -> Option<Self> {
        match expression {
            Expr::Tuple(tuple) => Self::of_all(&tuple.elems),
            Expr::Array(array) => Self::of_all(&array.elems),
            Expr::Reference(reference) => Self::of(&reference.expr),
            Expr::Group(group) => Self::of(&group.expr),
            Expr::Macro(call) => {
                let name = &call.mac.path.segments.last()?.ident;
                let tokens = call.mac.tokens.clone();
                if name == "params" {
                    let values = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(tokens);
                    Some(Self::Positional(values.ok()?.len()))
                } else if name == "named_params" {
                    let pairs = Punctuated::<String, Token![,]>::parse_terminated_with;
                    let pairs = (|input: ParseStream<'_>| pairs(input, pair)).parse2(tokens);
                    Some(Self::Named(pairs.ok()?.into_iter().collect()))
                } else {
                    None
                }
            }
            _ => None,
        }
    }

    /// Pairs of a name and a value, or values; a value that is a tuple is neither.
    fn of_all(elements: &Punctuated<Expr, Token![,]>) -> Option<Self> {
        let is_pair = |element: &Expr| matches!(element, Expr::Tuple(_));
        if !elements.iter().any(is_pair) {
            return Some(Self::Positional(elements.len()));
        }
        let names = elements.iter().map(|element| match element {
            Expr::Tuple(pair) if pair.elems.len() == 2 => match &pair.elems[0] {
                Expr::Lit(ExprLit {
                    lit: Lit::Str(name),
                    ..
                }) => Some(name.value()),
                _ => None,
            },
            _ => None,
        });
        names.collect::<Option<_>>().map(Self::Named)
    }
}

fn has_attribute(token: &TokenTree) -> bool {
    match token {
        TokenTree::Punct(punct) => punct.as_char() == '#',
        TokenTree::Group(group) => group
            .stream()
            .into_iter()
            .any(|token| has_attribute(&token)),
        _ => false,
    }
}

/// `":name": value`.
fn pair(input: ParseStream<'_>) -> syn::Result<String> {
    let name: LitStr = input.parse()?;
    input.parse::<Token![:]>()?;
    input.parse::<Expr>()?;
    Ok(name.value())
}

/// How many columns a row of this type has, if the type shows it: a tuple, or a scalar of the standard library.
pub(super) fn columns(ty: &Type) -> Option<usize> {
    match ty {
        Type::Tuple(tuple) if !tuple.elems.is_empty() => {
            let flat = |ty: &Type| matches!(ty, Type::Path(_));
            tuple.elems.iter().all(flat).then_some(tuple.elems.len())
        }
        Type::Paren(paren) => columns(&paren.elem),
        Type::Group(group) => columns(&group.elem),
        Type::Path(_) => {
            let scalar = "String bool char f32 f64 i128 i16 i32 i64 i8 u16 u32 u64 u8";
            let is_scalar = |ty: &Type| matches!(ty, Type::Path(path) if path.path.get_ident().is_some_and(|name| scalar.split(' ').any(|scalar| name == scalar)));
            let optional = argument(ty, "Option");
            is_scalar(optional.unwrap_or(ty)).then_some(1)
        }
        _ => None,
    }
}

/// The `T` of `wrapper<T>`.
pub(super) fn argument<'a>(ty: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    match &last.arguments {
        PathArguments::AngleBracketed(angled) if last.ident == wrapper => {
            match angled.args.first()? {
                GenericArgument::Type(ty) if angled.args.len() == 1 => Some(ty),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Option<Given> {
        Given::read(text.parse().unwrap())
    }

    #[test]
    fn parameters_that_are_written_out_are_counted() {
        for (text, count) in [
            ("()", 0),
            ("(a,)", 1),
            ("(f::<A, B>(x), y)", 2),
            ("[a, b, c,]", 3),
            ("&[a]", 1),
            ("params![a, b]", 2),
            ("dbm_core::params![]", 0),
            ("(a, b), |row| row.get(0)", 2),
            ("(Serde(Utc::now()), owner, Json(&meta), Item::Sword)", 4),
        ] {
            assert_eq!(given(text), Some(Given::Positional(count)), "{text}");
        }
    }

    #[test]
    fn names_are_read() {
        let names = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            Some(Given::Named(names))
        };
        assert_eq!(
            given("((\":a\", a), (\":b\", (1, 2)))"),
            names(&[":a", ":b"])
        );
        assert_eq!(
            given("named_params!{\":a\": a, \"$b\": b.c}"),
            names(&[":a", "$b"])
        );
        assert_eq!(given("&[(\":a\", a)]"), names(&[":a"]));
    }

    #[test]
    fn what_is_not_written_out_is_not_guessed() {
        for text in [
            "",
            "key",
            "(a)",
            "[a; 3]",
            "((name, a),)",
            "(#[cfg(x)] a, b)",
            "(a, b",
            "params_from(x)",
            "(a, (b, c))",
        ] {
            assert_eq!(
                text.parse::<TokenStream>().ok().and_then(Given::read),
                None,
                "{text}"
            );
        }
    }

    #[test]
    fn columns_are_counted_where_the_type_shows_them() {
        for (ty, expected) in [
            ("(i64, Option<String>)", Some(2)),
            ("i64", Some(1)),
            ("Option<bool>", Some(1)),
            ("()", None),
            ("User", None),
            ("Json<Meta>", None),
            ("(Json<Meta>, DateTime<Utc>)", Some(2)),
            ("Vec<u8>", None),
            ("(i64, (i64, i64))", None),
            ("_", None),
        ] {
            assert_eq!(columns(&syn::parse_str(ty).unwrap()), expected, "{ty}");
        }
    }
}
