//! What the compiler says of each mistake; see `tests/ui/README.md`.

#[test]
fn every_mistake_is_one_error_on_the_right_token() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("ui/*/*.rs");
}
